//! Opens a log of the kind that the config selects. A log in a file begins a new epoch (the first number of
//! each event id) if acknowledged events may have been lost.

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    append::{Append, PublishSettings},
    appender::{Appender, Listener, Opened},
    duplicates::Duplicates,
    error::LogError,
    file::{FileMetadata, FileStore},
    key_index::KeyIndex,
    kind::LogKind,
    memory::MemoryLog,
    read::Retention,
    record::{age_of, millis_since_1970},
    redis,
    revocations::{RevocationChange, RevocationList, Revocations},
    writer::{OpenFile, Stored, Writer},
};
use crate::event::{Event, EventId, Topic};

/// Opens a log of this kind. If the file or Redis already has events, loads the newest of them into memory,
/// as many as `retention` allows. Fails if the file or Redis cannot be used.
pub(crate) fn open(
    kind: LogKind,
    retention: Retention,
    topic: Topic,
    publishing: PublishSettings,
    listener: Listener,
) -> Result<Opened, LogError> {
    match kind {
        LogKind::Memory => {
            let epoch = millis_since_1970(SystemTime::now());
            let memory = MemoryLog::new(epoch, retention, topic);
            // The events of an earlier process are lost.
            memory.set_loss_times(Some(Instant::now()), None);
            let memory = Arc::new(memory);
            let duplicates = Duplicates::new(publishing, KeyIndex::new(publishing));
            let appender = MemoryAppender {
                log: memory.clone(),
                listener,
                duplicates: Mutex::new(duplicates),
                revocations: Mutex::new(RevocationList::new(Revocations::new())),
            };
            Ok(Opened {
                memory,
                appender: Arc::new(appender),
                ticking: None,
                archive: None,
                gone: None,
            })
        }
        LogKind::File {
            path,
            sync_interval,
        } => {
            let now = SystemTime::now();
            let (memory, file) = read_file(&path, retention, topic, publishing, now)?;
            let memory = Arc::new(memory);
            let writer = Writer::start(&path, file, memory.clone(), sync_interval, listener);
            let (writer, gone) = writer.map_err(|err| {
                LogError::in_file(
                    &path,
                    format!("cannot be written, because no thread can be started: {err}"),
                )
            })?;
            Ok(Opened {
                memory,
                appender: Arc::new(writer),
                ticking: None,
                archive: None,
                gone: Some(gone),
            })
        }
        LogKind::Redis(settings) => redis::open(settings, retention, topic, publishing, listener),
    }
}

fn read_file(
    path: &Path,
    retention: Retention,
    topic: Topic,
    publishing: PublishSettings,
    now: SystemTime,
) -> Result<(MemoryLog, OpenFile), LogError> {
    let epoch = millis_since_1970(now);
    let mut store = FileStore::open(path, epoch)?;
    let damaged = |err: redb::Error| LogError::damaged(path, &err);
    let about = begin_epoch_after_loss(&mut store, epoch, path).map_err(damaged)?;
    let (memory, mut stored) = read(&store, about, retention, topic, now).map_err(damaged)?;
    let keys = store.keys().map_err(damaged)?;
    stored.keys_from = keys.first;
    // If a new epoch began, the events have its ids now.
    let used = keys.used.into_iter().map(|mut key| {
        key.id.epoch = about.epoch;
        key
    });
    let keys = KeyIndex::restored(publishing, keys.first, used);
    let duplicates = Duplicates::new(publishing, keys);
    let revocations = store.revocations().map_err(damaged)?;
    let file = OpenFile {
        store,
        stored,
        duplicates,
        revocations: RevocationList::new(revocations),
    };
    Ok((memory, file))
}

/// If acknowledged events may be missing from the file, logs a warning and begins a new epoch (the first
/// number of each event id). Returns the metadata of the file.
fn begin_epoch_after_loss(
    store: &mut FileStore,
    now: u64,
    path: &Path,
) -> Result<FileMetadata, redb::Error> {
    if let Some(loss) = store.loss(path)? {
        log::warn!(
            "the log in {} {loss}: a new epoch begins, and every subscriber that resumes receives a gap",
            path.display()
        );
        store.begin_epoch(store.new_epoch(now), now)?;
    }
    store.about()
}

/// Creates a log in memory with the newest events of the file, as many as `retention` allows. Also returns
/// which events the file has, so that the writer can remove evicted ones.
fn read(
    store: &FileStore,
    about: FileMetadata,
    retention: Retention,
    topic: Topic,
    now: SystemTime,
) -> Result<(MemoryLog, Stored), redb::Error> {
    let first = EventId {
        epoch: about.epoch,
        seq: about.first,
    };
    let memory = MemoryLog::starting_at(first, retention, topic);
    let moment = Instant::now();
    let moment_of = |at| moment.checked_sub(age_of(at, now)).unwrap_or(moment);
    restore_values(store, about, &memory)?;
    let records = store.events()?;
    // A version that did not store the time has evicted events. They were older than the oldest one.
    let oldest = || {
        records
            .first()
            .map_or(moment, |(_, record)| moment_of(record.at()))
    };
    let evicted_at = about.evicted_at.map(moment_of);
    memory.set_loss_times(
        about.lost_at.map(moment_of),
        evicted_at.or_else(|| (about.first > 1).then(oldest)),
    );
    let stored = Stored::of(about, &records);
    for (seq, record) in records {
        let appended = moment_of(record.at());
        let event = record.event();
        memory.skip_presence_until(seq, appended);
        memory.append(&event, appended);
    }
    memory.skip_presence_until(about.next, moment);
    memory.set_ticks(about.ticks);
    Ok((memory, stored))
}

/// Restores the values of topics whose events were evicted from the file.
fn restore_values(
    store: &FileStore,
    about: FileMetadata,
    memory: &MemoryLog,
) -> Result<(), redb::Error> {
    let stored = store.values()?;
    memory.set_values_stored_before(about.first);
    memory.restore_values(&stored.values);
    if stored.has_dropped {
        memory.set_values_dropped();
    }
    memory.set_values_uncertain_before(stored.uncertain_before);
    Ok(())
}

/// The appender of a log that is only in memory. It appends an event before [`Appender::append`] returns.
#[derive(Debug)]
struct MemoryAppender {
    log: Arc<MemoryLog>,
    listener: Listener,
    /// Locked while events are appended, so that of two equal updates only one is.
    duplicates: Mutex<Duplicates>,
    revocations: Mutex<RevocationList>,
}

impl Appender for MemoryAppender {
    fn append_all(&self, appends: Vec<Append>) {
        let mut duplicates = self.duplicates.lock();
        let plan = duplicates.plan(appends, &self.log);
        let now = Instant::now();
        let ids = self
            .log
            .append_all(plan.events.iter().map(|event| (event, now)));
        let mut ticks = plan.events.iter().rev().filter_map(Event::tick_number);
        if let Some(number) = ticks.next() {
            self.log.set_ticks(number + 1);
        }
        let at = millis_since_1970(SystemTime::now());
        for key in plan.used_keys(|index| ids[index], at) {
            duplicates.keys.insert(key);
        }
        drop(duplicates);
        if !ids.is_empty() {
            self.listener.appended(ids.len());
        }
        self.listener.metrics.replays.inc_by(plan.replays() as u64);
        plan.acknowledge(&ids);
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn remembered_keys(&self) -> (usize, Option<u64>) {
        self.duplicates.lock().keys.extent()
    }

    fn revocations(&self) -> watch::Receiver<Arc<Revocations>> {
        self.revocations.lock().subscribe()
    }

    fn revoke(&self, change: RevocationChange) {
        self.revocations.lock().change(change, |_| Ok(()));
    }

    fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        done.send(()).ok();
        flushed
    }
}
