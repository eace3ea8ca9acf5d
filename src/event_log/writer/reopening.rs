//! Recovers from a store that failed. It is closed, and opened again every [`RETRY_INTERVAL`], until it and
//! memory have the same events. Nothing is appended before that.

use std::{sync::atomic::Ordering, time::Instant};

use super::{
    super::{
        file::{Batch, FileMetadata, FileStore},
        once,
    },
    RETRY_INTERVAL, Stored, Thread,
    sync_state::SyncState,
};

impl Thread {
    /// Closes the store, which has failed, and schedules a retry.
    pub(super) fn fail(&mut self, err: &redb::Error) {
        let path = self.path.display();
        // Only the first failure is logged as an error, not each retry.
        let is_first = !std::mem::replace(&mut self.is_failing, true);
        log::log!(
            once::level(is_first),
            "the log in {path} cannot be written, so publishing is refused until it can: {err}"
        );
        self.store = None;
        self.retry_at = Instant::now() + RETRY_INTERVAL;
        self.is_writable.store(false, Ordering::Relaxed);
    }

    /// Tries to open the failed store again and to give it and memory the same events.
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
                log::debug!("the log can still not be written: {reason}");
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
            return Err("it is another log".to_owned());
        }
        // Events whose eviction was not synced may be in the file again.
        let records = store.events().map_err(text)?;
        self.stored = Stored::of(about, &records);
        let nothing = self.stored.from..self.stored.from;
        let trial = |first, records| Batch {
            first,
            records,
            evicted: nothing,
            evicted_presence: &[],
            ticks: ticks.max(self.memory.ticks()),
            unsynced: about.unsynced,
        };
        if next >= known {
            store.commit(trial(next, &[]), true).map_err(text)?;
            // The write that reported a failure reached the file after all.
            let done = records.into_iter().filter(|(seq, _)| *seq >= known);
            let events: Vec<_> = done.map(|(_, record)| record.event()).collect();
            let now = Instant::now();
            self.memory
                .append_all(events.iter().map(|event| (event, now)));
            self.appended(events.len());
            self.memory.set_ticks(ticks);
        } else {
            let lost = (known - next) as usize;
            let kept = self.sync_state.records().len().checked_sub(lost);
            let kept = kept.ok_or("it has lost events, as if a backup was put in its place")?;
            let lost = &self.sync_state.records()[kept..];
            store.commit(trial(next, lost), true).map_err(text)?;
            for (seq, record) in (next..).zip(lost) {
                self.stored.add(seq, record);
            }
        }
        self.sync_state = if about.unsynced {
            SyncState::Marked
        } else {
            SyncState::AtRest
        };
        Ok(store)
    }
}
