//! The interface of a log kind: how events are appended, and what opening a log returns. Every kind delivers
//! events through a [`MemoryLog`], which subscribers read.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use tokio::sync::{oneshot, watch};

use super::{
    append::Append,
    archive::Archive,
    memory::MemoryLog,
    revocations::{RevocationChange, Revocations},
    ticker::TickerSettings,
    waiting::MAX_QUEUED_BYTES,
};
use crate::{event::PresenceChange, metrics::Metrics};

/// Appends events to a log. Subscribers read them from the [`MemoryLog`] that every log kind has.
pub(crate) trait Appender: Send + Sync + fmt::Debug {
    /// Appends an event, unless it is in the log already.
    fn append(&self, append: Append) {
        self.append_all(vec![append]);
    }

    /// Appends events in order, except those that are in the log already.
    fn append_all(&self, appends: Vec<Append>);

    /// Appends a presence event, which tells subscribers that a subscription became active or ended. A log in
    /// Redis also updates its list of active subscriptions.
    fn announce(&self, change: PresenceChange) {
        self.append(Append::new(change.event, None));
    }

    /// Requests the active subscriptions of all servers that share the log. `None` if the log is not shared.
    fn subscriptions(&self) -> Option<Subscriptions> {
        None
    }

    /// Approximate memory of the events that are not appended yet, in bytes. 0 if the log kind has no queue.
    fn queued_bytes(&self) -> usize {
        0
    }

    /// Whether the events that wait to be appended have reached [`MAX_QUEUED_BYTES`]. If so, callers refuse
    /// publish requests, and new subscribers whose subscriptions would be published. Their clients can retry
    /// later.
    fn is_full(&self) -> bool {
        self.queued_bytes() >= MAX_QUEUED_BYTES
    }

    /// Minimum time between two appends of the ticker's numbered messages. Only used if the server, and not
    /// the log, schedules these messages.
    fn tick_pause(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the log accepts events, as far as is known. Becomes false when a write to the file or to Redis
    /// fails, or a read from Redis. Becomes true when the log works again.
    fn is_writable(&self) -> bool;

    /// Number of idempotency keys that are remembered, and when the oldest was first used, in milliseconds
    /// since 1970.
    fn remembered_keys(&self) -> (usize, Option<u64>);

    /// The list of revoked tokens, of all servers that share the log, and its changes.
    fn revocations(&self) -> watch::Receiver<Arc<Revocations>>;

    /// Changes the list of revoked tokens. If the log's thread has ended, the request is dropped.
    fn revoke(&self, change: RevocationChange);

    /// Resolves when every event that was appended before this call is refused, or stored as durably as the
    /// log kind allows. If a log file cannot be written, resolves without a sync. If the log's thread has
    /// ended, resolves with an error.
    fn flush(&self) -> oneshot::Receiver<()>;
}

/// Resolves to the path and the JSON document of each active subscription, or to an error if they cannot be
/// read.
pub(crate) type Subscriptions = oneshot::Receiver<Vec<(String, String)>>;

/// Minimum time between two appends of the ticker's numbered messages to a file; half of it in Redis.
/// Messages that become due between them are appended together, in one transaction. With one transaction for
/// each message, at 1,000 messages a second to 1,000 subscribers, a delivery cost 0.50 to 0.55 µs of CPU
/// instead of 0.38 (docs/explain/performance.md).
pub(super) const TICK_PAUSE: Duration = Duration::from_millis(4);

/// An open log, with everything that the server needs to use it.
pub(crate) struct Opened {
    /// The newest events of the log. Subscribers read events from this memory.
    pub(crate) memory: Arc<MemoryLog>,
    pub(crate) appender: Arc<dyn Appender>,
    /// Only for a log that appends the ticker's numbered messages itself, once for all servers that share it
    /// (Redis). Passes it the ticker's settings, or `None` while this server requests no messages.
    pub(crate) ticking: Option<watch::Sender<Option<TickerSettings>>>,
    /// Reads events that are older than those in memory. `None` for logs in memory or in a file: they retain
    /// no older events.
    pub(crate) archive: Option<Archive>,
    /// Resolves when the log's thread has ended. From then on, no event can be appended. `None` if the log
    /// has no thread.
    pub(crate) gone: Option<oneshot::Receiver<Infallible>>,
}

/// Counts appended events in the metrics, and signals that subscribers can read them.
pub(crate) struct Listener {
    pub(crate) metrics: Arc<Metrics>,
    /// Called after subscribers can read new events, or after something else changed in the log, such as its
    /// epoch.
    pub(crate) notify: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    /// Reports that subscribers can read this number of new events. 0 if only something else changed, such as
    /// the epoch.
    pub(super) fn appended(&self, events: usize) {
        self.metrics.events.inc_by(events as u64);
        (self.notify)();
    }
}
