//! The event log, the one source of truth: nothing reaches a subscriber that is not in it.
//!
//! A subscriber's place is a *cursor*: the number of the next event it is to get. A cursor that
//! equals the log's [`next`](MemoryLog::next) is at the head.

mod file;
mod given_ids;
#[cfg(test)]
mod kinds_tests;
mod memory;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::oneshot;

pub(crate) use self::memory::MemoryLog;
pub(crate) use self::writer::Done;
use self::{
    file::FileStore,
    writer::{Listener, Writer},
};
pub use self::{
    file::LogError,
    writer::{LogSync, LogUnavailable},
};
use crate::{
    event::{Audience, Event, EventId},
    gap::Gap,
    metrics::Metrics,
    topic::Topic,
    wire::Frame,
};

/// How much a log retains: reaching the bound on events or on bytes evicts the oldest event; the
/// newest is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Number of events.
    pub events: usize,
    /// Size of the encoded events, in bytes.
    pub bytes: usize,
    /// How old an event may be when the next one comes; `None`: of any age.
    pub age: Option<Duration>,
    /// Number of events that those who are connected may still read, beyond what is given to those
    /// who come; so many are kept whatever the other bounds.
    pub queue: usize,
}

/// Where a new subscriber starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The number of the first event it gets.
    pub(crate) cursor: u64,
    /// Whether it knows its place: by the id that it asked for, or by the gap.
    pub(crate) told: bool,
    /// What it is to be told first, where it asked for something that cannot be given.
    pub(crate) gap: Option<Gap>,
}

/// One event that is retained. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) frame: Frame,
    pub(crate) appended: Instant,
    pub(crate) audience: Arc<Audience>,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Size of the encoded events that are taken, in bytes, about; at least one is taken.
    pub(crate) bytes: usize,
    /// How many events are looked at, whether they are taken or not.
    pub(crate) events: usize,
}

/// What the log has for a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many events were looked at.
    Events(u64),
    /// Nothing: the cursor is at the head.
    Head,
    /// The event at the cursor is no longer retained, nor are the others before this one.
    Evicted { oldest: u64 },
}

/// What a log holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The number of the oldest event retained; equals `next` if there is none.
    pub(crate) oldest: u64,
    /// The number that the next event will get.
    pub(crate) next: u64,
    /// Size of the encoded events that are retained, in bytes.
    pub(crate) bytes: usize,
    /// When the oldest event retained was appended.
    pub(crate) since: Option<Instant>,
}

/// Where a log lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogKind {
    /// In memory alone: it is gone with the process.
    #[default]
    Memory,
    /// In a file, too, from which the next process goes on.
    File {
        /// The file. Its folder has to be there.
        path: PathBuf,
        /// When what is appended is safe.
        sync: LogSync,
    },
}

/// A log that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What subscribers read.
    pub(crate) memory: Arc<MemoryLog>,
    pub(crate) appender: Appender,
    /// How many numbered messages are in it, or were.
    pub(crate) ticks: u64,
}

/// Opens a log, and reads what is in it. `told` is called after events became readable.
pub(crate) fn open(
    kind: LogKind,
    retention: Retention,
    topic: Topic,
    metrics: Arc<Metrics>,
    told: impl Fn() + Send + Sync + 'static,
) -> Result<Opened, LogError> {
    let now = SystemTime::now();
    let epoch = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    match kind {
        LogKind::Memory => {
            let memory = Arc::new(MemoryLog::new(epoch, retention, topic));
            Ok(Opened {
                appender: Appender::Memory {
                    log: memory.clone(),
                    metrics,
                    told: Arc::new(told),
                },
                memory,
                ticks: 0,
            })
        }
        LogKind::File { path, sync } => {
            let mut store = FileStore::open(&path, epoch)?;
            let error = |err: redb::Error| LogError::damaged(&path, &err);
            let mut about = store.about().map_err(error)?;
            if about.unsynced {
                log::warn!(
                    "the log in {} was not synced when its last process ended: what was \
                     acknowledged then may be lost, so a new epoch begins, and every subscriber that \
                     resumes is told of a gap",
                    path.display()
                );
                about.epoch = epoch.max(about.epoch + 1);
                store.begin_epoch(about.epoch).map_err(error)?;
            }
            let records = store.events(0).map_err(error)?;
            let first = records.first().map_or(about.next, |(seq, _)| *seq);
            let expected = first..about.next;
            if !expected.eq(records.iter().map(|(seq, _)| *seq)) {
                return Err(LogError::damaged(&path, &"some of its events are missing"));
            }
            let memory = MemoryLog::starting_at(about.epoch, retention, topic, first);
            let moment = Instant::now();
            for (_, record) in records {
                let age = record.age(now);
                let appended = moment.checked_sub(age).unwrap_or(moment);
                memory.append(&record.event(), appended);
            }
            let memory = Arc::new(memory);
            let appended = Listener {
                metrics,
                told: Box::new(told),
            };
            let writer = Writer::start(&path, store, memory.clone(), about.ticks, sync, appended)
                .map_err(|err| {
                LogError::new(&path, format!("has no thread to write it: {err}"))
            })?;
            Ok(Opened {
                memory,
                appender: Appender::Store(writer),
                ticks: about.ticks,
            })
        }
    }
}

/// Takes events in.
#[derive(Clone)]
pub(crate) enum Appender {
    Memory {
        log: Arc<MemoryLog>,
        metrics: Arc<Metrics>,
        told: Arc<dyn Fn() + Send + Sync>,
    },
    Store(Writer),
}

/// What becomes of an event.
#[derive(Debug)]
pub(crate) enum Appended {
    /// It is in the log.
    Now(EventId),
    /// It will be, or not.
    Later(Later),
}

/// Resolves when it is known whether an event is in the log.
pub(crate) type Later = oneshot::Receiver<Result<EventId, LogUnavailable>>;

impl Appender {
    /// Appends an event; `is_tick`: one of the numbered messages.
    pub(crate) fn append(&self, event: Event, is_tick: bool, now: Instant) -> Appended {
        match self {
            Self::Memory { log, metrics, told } => {
                let id = log.append(&event, now);
                metrics.events.inc();
                told();
                Appended::Now(id)
            }
            Self::Store(writer) => {
                let (done, later) = oneshot::channel();
                writer.append(event, is_tick, Some(done));
                Appended::Later(later)
            }
        }
    }

    /// The same for whoever waits for it, if anybody does.
    pub(crate) fn append_for(&self, event: Event, waits: Option<Done>) {
        match self {
            Self::Memory { .. } => {
                if let (Appended::Now(id), Some(waits)) =
                    (self.append(event, false, Instant::now()), waits)
                {
                    waits.send(Ok(id)).ok();
                }
            }
            Self::Store(writer) => writer.append(event, false, waits),
        }
    }

    /// Whether events are taken in, as far as is known.
    pub(crate) fn is_writable(&self) -> bool {
        match self {
            Self::Memory { .. } => true,
            Self::Store(writer) => writer.is_writable(),
        }
    }

    /// Waits until all that was appended before is as safe as it can be.
    pub(crate) async fn flush(&self) {
        if let Self::Store(writer) = self {
            let (done, flushed) = oneshot::channel();
            writer.flush(done);
            // A thread that is gone has nothing left to do.
            flushed.await.ok();
        }
    }
}

impl std::fmt::Debug for Appender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Appender")
    }
}
