//! What every kind of log offers to those who append to it.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::{
    archive::Archive,
    memory::MemoryLog,
    ticker::TickerSettings,
    waiting::{AckSender, MAX_QUEUED_BYTES},
};
use crate::{
    event::{Event, PresenceChange},
    metrics::Metrics,
};

/// Takes events in, wherever a log lives. What was appended is delivered by way of the memory that
/// every log has in front.
pub(crate) trait Appender: Send + Sync + fmt::Debug {
    /// Appends an event, and tells whoever waits for it.
    fn append(&self, event: Event, waits: Option<AckSender>);

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
        self.queued_bytes() >= MAX_QUEUED_BYTES
    }

    /// The shortest time from one append of ticker messages to the next.
    fn tick_pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether events are taken in, as far as is known.
    fn is_writable(&self) -> bool;

    /// Resolves when all that was appended before is as safe as it can be.
    fn flush(&self) -> oneshot::Receiver<()>;
}

/// Resolves to the paths and the JSON documents of subscriptions, unless they cannot be had.
pub(crate) type Subscriptions = oneshot::Receiver<Vec<(String, String)>>;

/// A log that is kept takes in numbered messages no more often than this: what came due meanwhile goes
/// in together, at one transaction. At 1,000 a second to 1,000 subscribers a transaction for each took
/// half as much again as sending them (docs/explain/performance.md).
pub(super) const TICK_PAUSE: Duration = Duration::from_millis(4);

/// A log that is open.
pub(crate) struct Opened {
    /// What subscribers read.
    pub(crate) memory: Arc<MemoryLog>,
    pub(crate) appender: Arc<dyn Appender>,
    /// Present if the log numbers and appends the ticker's messages itself, for all who share it: takes the
    /// ticker's settings, `None` while there are to be no messages from this process.
    pub(crate) ticking: Option<watch::Sender<Option<TickerSettings>>>,
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
