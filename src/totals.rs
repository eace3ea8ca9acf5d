//! What happened since the start, counted where it happens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use serde::Serialize;

/// Counters that only rise. Each is its own: a reader may see one event in one and not yet in
/// another.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) events: Counter,
    pub(crate) delivered: Counter,
    pub(crate) caught_up: Counter,
    pub(crate) gaps: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) turned_away: Counter,
    live: Arc<AtomicUsize>,
}

/// One live subscriber, for as long as it is kept.
#[derive(Debug)]
pub(crate) struct LiveMark(Arc<AtomicUsize>);

impl Drop for LiveMark {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What the counters stood at, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TotalsSnapshot {
    /// Events taken into the log.
    pub events: u64,
    /// Events handed to subscribers, one for each subscriber and event, live or from history.
    pub delivered: u64,
    /// Times that a subscriber read history up to the newest event and became live.
    pub caught_up: u64,
    /// Gaps that subscribers were told of.
    pub gaps: u64,
    /// Connections closed because their socket took nothing for `server.write_timeout`, or their
    /// host acknowledged nothing for twice as long.
    pub timed_out: u64,
    /// Event-stream requests turned away, for lack of room or because the server was draining.
    pub turned_away: u64,
}

impl Totals {
    pub(crate) fn mark_live(&self) -> LiveMark {
        self.live.fetch_add(1, Relaxed);
        LiveMark(self.live.clone())
    }

    /// Subscribers that were sent everything there is.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> TotalsSnapshot {
        TotalsSnapshot {
            events: self.events.get(),
            delivered: self.delivered.get(),
            caught_up: self.caught_up.get(),
            gaps: self.gaps.get(),
            timed_out: self.timed_out.get(),
            turned_away: self.turned_away.get(),
        }
    }
}
