//! What happened since the start, counted where it happens: for a round or a batch of deliveries at
//! once, never for a single one.

use std::{ops::AddAssign, time::Duration};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use serde::Serialize;

use crate::event::GapReason;

/// A label and its value.
type Label = [(&'static str, &'static str); 1];

/// From a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Every figure that is kept all the time. Each is its own: a reader may see an event in one and
/// not yet in another.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Events taken into the log.
    pub(crate) events: Counter,
    /// Events sent, counted once for each subscriber.
    pub(crate) deliveries: Counter,
    /// Bytes that the sockets of streams took.
    pub(crate) sent_bytes: Counter,
    /// Times that a subscriber had read up to the newest event and became live.
    pub(crate) catch_ups: Counter,
    /// Times that a live subscriber's socket could not take everything at once.
    fell_behind: Counter,
    gaps: Family<Label, Counter>,
    closes: Family<Label, Counter>,
    turned_away: Family<Label, Counter>,
    tick_lateness: Histogram,
    fan_out: Histogram,
    log_commit: Histogram,
    live: Gauge,
    /// Requests to the Broadcaster that wait for it.
    mailbox: Gauge,
}

/// Why a stream was closed, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The server drained.
    Drained,
    /// Its access token expired, or `stream.max_lifetime` was over.
    Expired,
    /// The key that signed its access token is trusted no more.
    Revoked,
    /// The client closed it.
    Left,
    /// Its socket took nothing for `server.write_timeout`.
    Stalled,
    /// Its host acknowledged nothing.
    Vanished,
    /// The client sent more than a subscriber has to say.
    Intruded,
    /// Any other failure.
    Failed,
}

impl Close {
    const ALL: [Self; 8] = [
        Self::Drained,
        Self::Expired,
        Self::Revoked,
        Self::Left,
        Self::Stalled,
        Self::Vanished,
        Self::Intruded,
        Self::Failed,
    ];

    fn label(self) -> Label {
        let reason = match self {
            Self::Drained => "drained",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Left => "left",
            Self::Stalled => "stalled",
            Self::Vanished => "vanished",
            Self::Intruded => "intruded",
            Self::Failed => "failed",
        };
        [("reason", reason)]
    }
}

/// Why a subscriber was told to come again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// There are as many as there may be.
    Full,
    /// There are as many with its token as there may be.
    Token,
    /// What all subscribers ask for takes as much memory as it may.
    Matchers,
    /// The server is about to stop.
    Draining,
    /// It asked for events that are not in memory, and the log cannot be read.
    Log,
}

impl Rejection {
    const ALL: [Self; 5] = [
        Self::Full,
        Self::Token,
        Self::Matchers,
        Self::Draining,
        Self::Log,
    ];

    fn label(self) -> Label {
        let reason = match self {
            Self::Full => "full",
            Self::Token => "token",
            Self::Matchers => "matchers",
            Self::Draining => "draining",
            Self::Log => "log",
        };
        [("reason", reason)]
    }
}

/// What became of a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeliveryStats {
    /// Events taken, counted once for each client.
    pub(crate) delivered: u64,
    /// Bytes taken.
    pub(crate) bytes: u64,
    /// Clients that could not take everything: they catch up from here on.
    pub(crate) fell_behind: u64,
}

impl AddAssign for DeliveryStats {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.bytes += other.bytes;
        self.fell_behind += other.fell_behind;
    }
}

fn gap_label(reason: GapReason) -> Label {
    [("reason", reason.name())]
}

/// Counts one of something for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Mark(Gauge);

impl Mark {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("broadcaster"),
            events: Counter::default(),
            deliveries: Counter::default(),
            sent_bytes: Counter::default(),
            catch_ups: Counter::default(),
            fell_behind: Counter::default(),
            gaps: Family::default(),
            closes: Family::default(),
            turned_away: Family::default(),
            tick_lateness: Histogram::new(SECONDS),
            fan_out: Histogram::new(SECONDS),
            log_commit: Histogram::new(SECONDS),
            live: Gauge::default(),
            mailbox: Gauge::default(),
        };
        // Each is there from the start, as 0: what appears only when it happens cannot be seen to
        // rise.
        for reason in GapReason::ALL {
            drop(metrics.gaps.get_or_create(&gap_label(reason)));
        }
        for reason in Close::ALL {
            drop(metrics.closes.get_or_create(&reason.label()));
        }
        for reason in Rejection::ALL {
            drop(metrics.turned_away.get_or_create(&reason.label()));
        }
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, .. } = self;
        registry.register("events", "Events taken into the log", self.events.clone());
        registry.register(
            "deliveries",
            "Events handed over, counted once for each subscriber",
            self.deliveries.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Bytes of event streams that sockets took",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        registry.register(
            "catch_ups",
            "Times that a subscriber had read up to the newest event",
            self.catch_ups.clone(),
        );
        registry.register(
            "fell_behind",
            "Times that a socket could not take an event at once",
            self.fell_behind.clone(),
        );
        registry.register(
            "gaps",
            "Gaps that subscribers were told of",
            self.gaps.clone(),
        );
        registry.register(
            "closes",
            "Event streams that were closed",
            self.closes.clone(),
        );
        registry.register(
            "turned_away",
            "Event streams that were refused with the advice to come again",
            self.turned_away.clone(),
        );
        registry.register_with_unit(
            "tick_lateness",
            "From when a numbered message was due to when it was sent",
            Unit::Seconds,
            self.tick_lateness.clone(),
        );
        registry.register_with_unit(
            "fan_out",
            "From an event's arrival to its hand-over to the last live subscriber of a thread",
            Unit::Seconds,
            self.fan_out.clone(),
        );
        registry.register_with_unit(
            "log_commit",
            "What a wait for the log's store took, for all that was appended at once",
            Unit::Seconds,
            self.log_commit.clone(),
        );
        registry.register(
            "mailbox_messages",
            "Requests to the Broadcaster that wait for it",
            self.mailbox.clone(),
        );
    }

    pub(crate) fn count_hand_over(&self, handed_over: &DeliveryStats) {
        self.deliveries.inc_by(handed_over.delivered);
        self.sent_bytes.inc_by(handed_over.bytes);
        self.fell_behind.inc_by(handed_over.fell_behind);
    }

    pub(crate) fn count_gap(&self, reason: GapReason) {
        self.gaps.get_or_create(&gap_label(reason)).inc();
    }

    pub(crate) fn count_close(&self, reason: Close) {
        self.closes.get_or_create(&reason.label()).inc();
    }

    pub(crate) fn count_rejection(&self, reason: Rejection) {
        self.turned_away.get_or_create(&reason.label()).inc();
    }

    pub(crate) fn observe_tick(&self, lateness: Duration) {
        self.tick_lateness.observe(lateness.as_secs_f64());
    }

    /// The time from an event's arrival to its last hand-over.
    pub(crate) fn observe_fan_out(&self, took: Duration) {
        self.fan_out.observe(took.as_secs_f64());
    }

    /// What it took to append to the log's store.
    pub(crate) fn observe_commit(&self, took: Duration) {
        self.log_commit.observe(took.as_secs_f64());
    }

    /// A subscriber that was sent everything there is.
    pub(crate) fn mark_live(&self) -> Mark {
        Mark::new(&self.live)
    }

    /// A message on its way to the Broadcaster.
    pub(crate) fn mark_message(&self) -> Mark {
        Mark::new(&self.mailbox)
    }

    /// How many subscribers are live.
    pub(crate) fn live(&self) -> usize {
        usize::try_from(self.live.get()).unwrap_or(0)
    }

    /// All of it in the OpenMetrics text format, together with what others know.
    pub(crate) fn encode(&self, others: &[&Registry]) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        for other in others {
            encode_registry(&mut text, other)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }

    pub(crate) fn totals(&self) -> Totals {
        let closed = |reason: Close| self.closes.get_or_create(&reason.label()).get();
        let sum = |family: &Family<Label, Counter>, labels: &[Label]| {
            let count = |label| family.get_or_create(label).get();
            labels.iter().map(count).sum()
        };
        Totals {
            events: self.events.get(),
            delivered: self.deliveries.get(),
            caught_up: self.catch_ups.get(),
            gaps: sum(&self.gaps, &GapReason::ALL.map(gap_label)),
            timed_out: closed(Close::Stalled) + closed(Close::Vanished),
            turned_away: sum(&self.turned_away, &Rejection::ALL.map(Rejection::label)),
        }
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Events taken into the log.
    pub events: u64,
    /// Events sent to subscribers, one for each subscriber and event, live or from history.
    pub delivered: u64,
    /// Times that a subscriber read history up to the newest event and became live.
    pub caught_up: u64,
    /// Gaps that subscribers were told of.
    pub gaps: u64,
    /// Event streams closed because their socket took nothing for `server.write_timeout`, or their
    /// host acknowledged nothing for twice as long.
    pub timed_out: u64,
    /// Event-stream requests turned away, for lack of room or because the server was draining.
    pub turned_away: u64,
}
