//! Opens a log, wherever it is to live, which is chosen here alone.

use std::{
    convert::Infallible,
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{oneshot, watch};

use super::{
    archive::Archive,
    error::LogError,
    file::{About, FileStore},
    kind::LogKind,
    memory::MemoryLog,
    read::Retention,
    record::millis_since_1970,
    redis,
    ticker::TickerSettings,
    waiting::{Done, MOST_QUEUED_BYTES, Waits},
    writer::{Stored, Writer},
};
use crate::{
    event::{Event, EventId, PresenceChange, Topic},
    metrics::Metrics,
};

/// Takes events in, wherever a log lives. What was appended is delivered by way of the memory that
/// every log has in front.
pub(crate) trait Appender: Send + Sync + fmt::Debug {
    /// Appends an event, and tells whoever waits for it.
    fn append(&self, event: Event, waits: Option<Done>);

    /// Tells of a change among the active subscriptions.
    fn announce(&self, change: PresenceChange) {
        self.append(change.event, None);
    }

    /// The active subscriptions of all who share the log; `None`: nobody else does.
    fn subscriptions(&self) -> Option<Subscriptions> {
        None
    }

    /// How much waits to be appended, in bytes, about.
    fn queued_bytes(&self) -> usize {
        0
    }

    /// Whether so much waits that whoever can come again later is to.
    fn is_full(&self) -> bool {
        self.queued_bytes() >= MOST_QUEUED_BYTES
    }

    /// Whether events are taken in, as far as is known.
    fn is_writable(&self) -> bool;

    /// Resolves when all that was appended before is as safe as it can be.
    fn flush(&self) -> oneshot::Receiver<()>;
}

/// Resolves to the documents of subscriptions, unless they cannot be had.
pub(crate) type Subscriptions = oneshot::Receiver<Vec<serde_json::Value>>;

/// Who numbers the messages of the ticker.
#[derive(Debug)]
pub(crate) enum Numbering {
    /// The ticker, which begins with this number.
    Here { next: u64, appender: TickAppender },
    /// The log, for all who share it. It is told how.
    ByLog(watch::Sender<Option<TickerSettings>>),
}

/// A log that is open.
pub(crate) struct Opened {
    /// What subscribers read.
    pub(crate) memory: Arc<MemoryLog>,
    pub(crate) appender: Arc<dyn Appender>,
    pub(crate) numbering: Numbering,
    /// Where older events are than those in memory.
    pub(crate) archive: Option<Archive>,
    /// Resolves when a thread has ended without which nothing is appended any more.
    pub(crate) gone: Option<oneshot::Receiver<Infallible>>,
}

/// Is told of what was appended.
pub(crate) struct Listener {
    pub(crate) metrics: Arc<Metrics>,
    /// Called after events became readable.
    pub(crate) told: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// So many events became readable. Where it is none, something else is new.
    pub(super) fn appended(&self, events: usize) {
        self.metrics.events.inc_by(events as u64);
        (self.told)();
    }
}

/// Opens a log, and reads what is in it.
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
            let appender = Arc::new(ToMemory { log, listener });
            Ok(Opened {
                memory,
                numbering: Numbering::Here {
                    next: 0,
                    appender: TickAppender::Memory(appender.clone()),
                },
                appender,
                archive: None,
                gone: None,
            })
        }
        LogKind::File { path, sync } => {
            let now = SystemTime::now();
            let (memory, stored, ticks, store) = read_file(&path, retention, topic, now)?;
            let memory = Arc::new(memory);
            let log = (store, stored, ticks);
            let writer = Writer::start(&path, log, memory.clone(), sync, listener);
            let (writer, gone) = writer.map_err(|err| {
                LogError::in_file(&path, format!("has no thread to write it: {err}"))
            })?;
            Ok(Opened {
                memory,
                appender: Arc::new(writer.clone()),
                numbering: Numbering::Here {
                    next: ticks,
                    appender: TickAppender::Store(writer),
                },
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
) -> Result<(MemoryLog, Stored, u64, FileStore), LogError> {
    let epoch = millis_since_1970(now);
    let mut store = FileStore::open(path, epoch)?;
    let damaged = |err: redb::Error| LogError::damaged(path, &err);
    let about = begin(&mut store, epoch, path).map_err(damaged)?;
    let (memory, stored) = read(&store, about, retention, topic, now).map_err(damaged)?;
    Ok((memory, stored, about.ticks, store))
}

/// What a store says of its log, in an epoch of its own if events of the last one may be lost.
fn begin(store: &mut FileStore, now: u64, path: &Path) -> Result<About, redb::Error> {
    if let Some(loss) = store.loss(path)? {
        log::warn!(
            "the log in {} {loss}: a new epoch begins, and every subscriber that resumes receives a gap",
            path.display()
        );
        store.begin_epoch(store.new_epoch(now))?;
    }
    store.about()
}

/// The events of a store, in memory, and which they are.
fn read(
    store: &FileStore,
    about: About,
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
    Ok((memory, stored))
}

/// Appends at once.
#[derive(Debug)]
pub(crate) struct ToMemory {
    log: Arc<MemoryLog>,
    listener: Listener,
}

impl ToMemory {
    fn take(&self, event: &Event, now: Instant) -> EventId {
        let id = self.log.append(event, now);
        self.listener.appended(1);
        id
    }
}

impl Appender for ToMemory {
    fn append(&self, event: Event, waits: Option<Done>) {
        let id = self.take(&event, Instant::now());
        // Nobody may wait for it any more.
        waits.map(|waits| waits.send(Ok(id)));
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

/// Appends numbered messages to a log of which this process is the only one.
#[derive(Debug, Clone)]
pub(crate) enum TickAppender {
    Memory(Arc<ToMemory>),
    Store(Writer),
}

/// A log that is kept takes in numbered messages no more often than this: what came due meanwhile goes
/// in together, at one transaction. At 1,000 a second to 1,000 subscribers a transaction for each took
/// half as much again as sending them (docs/PERFORMANCE.md).
pub(super) const REST: Duration = Duration::from_millis(4);

/// Resolves when it is known whether a numbered message is in the log; if it is not, to the number that
/// is to come next.
pub(crate) type Later = oneshot::Receiver<Result<(), u64>>;

impl TickAppender {
    /// How long to wait at least before the next is appended.
    pub(crate) fn rest(&self) -> Duration {
        match self {
            Self::Memory(_) => Duration::ZERO,
            Self::Store(_) => REST,
        }
    }

    /// Appends the numbered message of this number; `None`: it is in the log.
    pub(crate) fn append(&self, event: Event, number: u64, now: Instant) -> Option<Later> {
        match self {
            Self::Memory(memory) => {
                memory.take(&event, now);
                None
            }
            Self::Store(writer) => {
                let (done, later) = oneshot::channel();
                writer.enqueue(event, Waits::Ticker { number, done });
                Some(later)
            }
        }
    }
}
