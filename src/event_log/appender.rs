//! Where a log lives, which is chosen here alone, and what takes events in there.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::oneshot;

use super::{
    LogError, LogSync, MemoryLog, Retention,
    file::{About, FileStore},
    record::millis_since_1970,
    waiting::{Done, Waits},
    writer::{Listener, Writer},
};
use crate::{
    event::{Event, EventId},
    metrics::Metrics,
    topic::Topic,
};

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

impl LogKind {
    /// Looks whether there is a place for it, without opening or making anything.
    pub fn check(&self) -> Result<(), LogError> {
        let Self::File { path, .. } = self else {
            return Ok(());
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if folder.is_dir() {
            return Ok(());
        }
        let reason = format!("has no place: {} is not there", folder.display());
        Err(LogError::new(path, reason))
    }
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
    let epoch = millis_since_1970(now);
    match kind {
        LogKind::Memory => {
            let memory = Arc::new(MemoryLog::new(epoch, retention, topic));
            Ok(Opened {
                appender: Appender::Memory(ToMemory {
                    log: memory.clone(),
                    metrics,
                    told: Arc::new(told),
                }),
                memory,
                ticks: 0,
            })
        }
        LogKind::File { path, sync } => {
            let mut store = FileStore::open(&path, epoch)?;
            let about =
                begin(&mut store, epoch, &path).map_err(|err| LogError::damaged(&path, &err))?;
            let memory = read(&store, about, retention, topic, now);
            let memory = memory.map_err(|err| LogError::damaged(&path, &err))?;
            let memory = Arc::new(memory);
            let listener = Listener {
                metrics,
                told: Box::new(told),
            };
            let writer = Writer::start(&path, (store, about), memory.clone(), sync, listener)
                .map_err(|err| LogError::new(&path, format!("has no thread to write it: {err}")))?;
            Ok(Opened {
                memory,
                appender: Appender::Store(writer),
                ticks: about.ticks,
            })
        }
    }
}

/// What a store says of its log, in an epoch of its own if events of the last one may be lost.
fn begin(store: &mut FileStore, now: u64, path: &Path) -> Result<About, redb::Error> {
    let mut about = store.about()?;
    if about.unsynced {
        log::warn!(
            "the log in {} was not synced when its last process ended: what was acknowledged then \
             may be lost, so a new epoch begins, and every subscriber that resumes is told of a gap",
            path.display()
        );
        about.epoch = now.max(about.epoch + 1);
        store.begin_epoch(about.epoch)?;
    }
    Ok(about)
}

/// The events of a store, in memory.
fn read(
    store: &FileStore,
    about: About,
    retention: Retention,
    topic: Topic,
    now: SystemTime,
) -> Result<MemoryLog, redb::Error> {
    let memory = MemoryLog::starting_at(about.epoch, retention, topic, about.first);
    let moment = Instant::now();
    for (_, record) in store.events(0)? {
        let age = record.age(now);
        let appended = moment.checked_sub(age).unwrap_or(moment);
        memory.append(&record.event(), appended);
    }
    Ok(memory)
}

/// Takes events in.
#[derive(Clone)]
pub(crate) enum Appender {
    Memory(ToMemory),
    Store(Writer),
}

/// Appends at once.
#[derive(Clone)]
pub(crate) struct ToMemory {
    log: Arc<MemoryLog>,
    metrics: Arc<Metrics>,
    told: Arc<dyn Fn() + Send + Sync>,
}

impl ToMemory {
    fn append(&self, event: &Event, now: Instant) -> EventId {
        let id = self.log.append(event, now);
        self.metrics.events.inc();
        (self.told)();
        id
    }
}

/// Resolves when it is known whether a numbered message is in the log; if it is not, to the number that
/// is to come next.
pub(crate) type Later = oneshot::Receiver<Result<(), u64>>;

impl Appender {
    /// Appends an event, and tells whoever waits for it.
    pub(crate) fn append(&self, event: Event, waits: Option<Done>) {
        match self {
            Self::Memory(memory) => {
                let id = memory.append(&event, Instant::now());
                // Nobody may wait for it any more.
                waits.map(|waits| waits.send(Ok(id)));
            }
            Self::Store(writer) => writer.append(event, Waits::Publisher(waits)),
        }
    }

    /// Appends the numbered message of this number; `None`: it is in the log.
    pub(crate) fn append_tick(&self, event: Event, number: u64, now: Instant) -> Option<Later> {
        match self {
            Self::Memory(memory) => {
                memory.append(&event, now);
                None
            }
            Self::Store(writer) => {
                let (done, later) = oneshot::channel();
                writer.append(event, Waits::Ticker { number, done });
                Some(later)
            }
        }
    }

    /// Whether events are taken in, as far as is known.
    pub(crate) fn is_writable(&self) -> bool {
        match self {
            Self::Memory(_) => true,
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
