//! Recovers from a failed write to the log file. The file is closed. Every [`RETRY_INTERVAL`], the thread
//! tries to open it again and to bring it and memory to the same events. Until that succeeds, events are
//! refused.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    super::{
        file::{Batch, FileMetadata, FileStore, KeyBatch},
        once,
    },
    RETRY_INTERVAL, Stored, Thread,
    sync_state::SyncState,
};
use crate::event::Event;

impl Thread {
    /// Closes the log file after a failed write, and schedules the next attempt to open it.
    pub(super) fn fail(&mut self, err: &redb::Error) {
        let path = self.path.display();
        // Only the first failed write of an outage is logged as an error. Later ones are logged as debug.
        let is_first = !std::mem::replace(&mut self.is_failing, true);
        log::log!(
            once::level(is_first),
            "the log in {path} cannot be written, so publishing is refused until it can: {err}"
        );
        self.store = None;
        self.retry_at = Instant::now() + RETRY_INTERVAL;
        self.is_writable.store(false, Ordering::Relaxed);
    }

    /// Tries to open the log file again. Then writes to the file the events that only memory has, or adds to
    /// memory the newer events that only the file has. Evicted events that reappeared in the file stay there
    /// until a later commit. If anything fails, schedules the next attempt.
    pub(super) fn reopen(&mut self) {
        let tried = FileStore::open_again(&self.path)
            .map_err(|err| err.to_string())
            .and_then(|store| self.reconcile(store));
        match tried {
            Ok(store) => {
                self.store = Some(store);
                self.is_writable.store(true, Ordering::Relaxed);
            }
            Err(reason) => {
                self.retry_at = Instant::now() + RETRY_INTERVAL;
                log::debug!("the log still cannot be written: {reason}");
            }
        }
    }

    fn reconcile(&mut self, mut store: FileStore) -> Result<FileStore, String> {
        let text = |err: redb::Error| err.to_string();
        let about = store.about().map_err(text)?;
        let FileMetadata {
            epoch, next, ticks, ..
        } = about;
        let known = self.memory.next();
        if epoch != self.memory.epoch() {
            return Err("the file is a different log".to_owned());
        }
        // Read again which events the file has. Evicted events may have reappeared in it, if their removal
        // was not synced.
        let records = store.events().map_err(text)?;
        self.stored = Stored::of(about, &records);
        let keys = store.keys().map_err(text)?;
        self.stored.keys_from = keys.first;
        let next_key = keys.first + keys.used.len() as u64;
        // Keys that the file has lost, and keys whose commit succeeded although it reported a failure.
        let lost_keys = self.duplicates.keys.since(next_key);
        let known_keys = self.duplicates.keys.next().saturating_sub(keys.first);
        let found_keys = keys.used.into_iter().skip(known_keys as usize);
        let values = store.values().map_err(text)?;
        let nothing = self.stored.from..self.stored.from;
        let trial = |first, records| Batch {
            first,
            records,
            evicted: nothing,
            evicted_presence: &[],
            ticks: ticks.max(self.memory.ticks()),
            unsynced: about.unsynced,
            keys: KeyBatch {
                first: next_key,
                used: &lost_keys,
                forgotten: 0..0,
            },
            values: values.reduced_to(&self.memory.values_in(0..about.first)),
            evicted_at: None,
        };
        self.memory.take_outdated_values();
        self.memory.set_values_stored_before(about.first);
        if next >= known {
            store.commit(trial(next, &[]), true).map_err(text)?;
            let done = records.into_iter().filter(|(seq, _)| *seq >= known);
            self.append_found(done.map(|(_, record)| record.event()).collect());
            self.memory.set_ticks(ticks);
        } else {
            let lost = (known - next) as usize;
            let kept = self.sync_state.records().len().checked_sub(lost);
            let kept = kept.ok_or("the file lacks synced events, as if a backup replaced it")?;
            let lost = &self.sync_state.records()[kept..];
            store.commit(trial(next, lost), true).map_err(text)?;
            for (seq, record) in (next..).zip(lost) {
                self.stored.add(seq, record);
            }
        }
        for key in found_keys {
            self.duplicates.keys.insert(key);
        }
        self.sync_state = if about.unsynced {
            SyncState::Marked
        } else {
            SyncState::AtRest
        };
        Ok(store)
    }

    /// Adds to memory the events that only the file has. Their write succeeded although it reported a
    /// failure, and their publishers received an error.
    fn append_found(&self, events: Vec<Event>) {
        let now = Instant::now();
        self.memory
            .append_all(events.iter().map(|event| (event, now)));
        self.appended(events.len());
    }
}
