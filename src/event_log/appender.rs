//! The interface of a log kind: how events are appended, and what opening a log returns. Every kind delivers
//! events through a [`MemoryLog`], which subscribers read.

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

/// Appends events to a log. Subscribers read them from the [`MemoryLog`] that every log kind has.
pub(crate) trait Appender: Send + Sync + fmt::Debug {
    /// Appends an event. Sends its id, or an error, to `waits`.
    fn append(&self, event: Event, waits: Option<AckSender>);

    /// Announces that a subscription became active or ended.
    fn announce(&self, change: PresenceChange) {
        self.append(change.event, None);
    }

    /// The active subscriptions of all nodes that share the log. `None` if the log is not shared.
    fn subscriptions(&self) -> Option<Subscriptions> {
        None
    }

    /// Approximate size of the events that wait to be appended, in bytes.
    fn queued_bytes(&self) -> usize {
        0
    }

    /// Whether the queue has reached [`MAX_QUEUED_BYTES`]. Callers then refuse requests that clients can
    /// retry later.
    fn is_full(&self) -> bool {
        self.queued_bytes() >= MAX_QUEUED_BYTES
    }

    /// Minimum time between two appends of numbered messages.
    fn tick_pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the log accepts events, as far as is known without trying.
    fn is_writable(&self) -> bool;

    /// Resolves when all events that were appended before are as durable as the log can make them, or were
    /// refused.
    fn flush(&self) -> oneshot::Receiver<()>;
}

/// Resolves to the path and the JSON document of each subscription, or to an error if they cannot be read.
pub(crate) type Subscriptions = oneshot::Receiver<Vec<(String, String)>>;

/// Minimum time between two appends of numbered messages to a file or Redis. Messages that become due
/// meanwhile are appended together, in one transaction. With one transaction for each message, at 1,000
/// messages a second to 1,000 subscribers, a delivery cost 0.50 to 0.55 µs of CPU instead of 0.38
/// (docs/explain/performance.md).
pub(super) const TICK_PAUSE: Duration = Duration::from_millis(4);

/// An open log.
pub(crate) struct Opened {
    /// The part of the log that subscribers read.
    pub(crate) memory: Arc<MemoryLog>,
    pub(crate) appender: Arc<dyn Appender>,
    /// Set if the log appends the numbered messages itself, once for all nodes that share it. Send it the
    /// ticker's settings, or `None` while this process requests no messages.
    pub(crate) ticking: Option<watch::Sender<Option<TickerSettings>>>,
    /// Reads events that are older than those in memory. `None` if the log retains no older events.
    pub(crate) archive: Option<Archive>,
    /// Resolves when the log's thread has ended. From then on, nothing can be appended.
    pub(crate) gone: Option<oneshot::Receiver<Infallible>>,
}

/// Counts appended events and notifies their readers.
pub(crate) struct Listener {
    pub(crate) metrics: Arc<Metrics>,
    /// Called after events became readable.
    pub(crate) notify: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// Reports the number of events that became readable. 0 means that something else changed, such as the
    /// epoch.
    pub(super) fn appended(&self, events: usize) {
        self.metrics.events.inc_by(events as u64);
        (self.notify)();
    }
}
