//! Opens a log of the kind that the config selects. A log in a file begins a new epoch (the first number of
//! each event id) if acknowledged events may have been lost.

use std::{
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::oneshot;

use super::{
    appender::{Appender, Listener, Opened},
    error::LogError,
    file::{FileMetadata, FileStore},
    kind::LogKind,
    memory::MemoryLog,
    read::Retention,
    record::millis_since_1970,
    redis,
    waiting::AckSender,
    writer::{Stored, Writer},
};
use crate::event::{Event, EventId, Topic};

/// Opens a log of this kind. If the file or Redis already has events, loads the newest of them into memory,
/// as many as `retention` allows. Fails if the file or Redis cannot be used.
pub(crate) fn open(
    kind: LogKind,
    retention: Retention,
    topic: Topic,
    listener: Listener,
) -> Result<Opened, LogError> {
    match kind {
        LogKind::Memory => {
            let epoch = millis_since_1970(SystemTime::now());
            let memory = Arc::new(MemoryLog::new(epoch, retention, topic));
            let log = memory.clone();
            Ok(Opened {
                memory,
                appender: Arc::new(MemoryAppender { log, listener }),
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
            let (memory, stored, store) = read_file(&path, retention, topic, now)?;
            let memory = Arc::new(memory);
            let writer = Writer::start(
                &path,
                (store, stored),
                memory.clone(),
                sync_interval,
                listener,
            );
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
        LogKind::Redis(settings) => redis::open(settings, retention, topic, listener),
    }
}

fn read_file(
    path: &Path,
    retention: Retention,
    topic: Topic,
    now: SystemTime,
) -> Result<(MemoryLog, Stored, FileStore), LogError> {
    let epoch = millis_since_1970(now);
    let mut store = FileStore::open(path, epoch)?;
    let damaged = |err: redb::Error| LogError::damaged(path, &err);
    let about = begin_epoch_after_loss(&mut store, epoch, path).map_err(damaged)?;
    let (memory, stored) = read(&store, about, retention, topic, now).map_err(damaged)?;
    Ok((memory, stored, store))
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
        store.begin_epoch(store.new_epoch(now))?;
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
    let records = store.events()?;
    let stored = Stored::of(about, &records);
    for (seq, record) in records {
        let age = record.age(now);
        let appended = moment.checked_sub(age).unwrap_or(moment);
        let event = record.event();
        memory.skip_presence_until(seq);
        memory.append(&event, appended);
    }
    memory.skip_presence_until(about.next);
    memory.set_ticks(about.ticks);
    Ok((memory, stored))
}

/// Appends to a log that is only in memory. Subscribers can read an event as soon as `append` returns.
#[derive(Debug)]
struct MemoryAppender {
    log: Arc<MemoryLog>,
    listener: Listener,
}

impl Appender for MemoryAppender {
    fn append(&self, event: Event, done: Option<AckSender>) {
        let id = self.log.append(&event, Instant::now());
        if let Some(number) = event.tick_number() {
            self.log.set_ticks(number + 1);
        }
        self.listener.appended(1);
        // Sending fails if the publisher no longer waits for the id, which is not an error.
        done.map(|done| done.send(Ok(id)));
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        done.send(()).ok();
        flushed
    }
}
