//! Owns the counters, gauges and histograms of the hub. Deliveries are added up for each batch of events, not
//! counted one by one, so that counting stays cheap.

use std::{ops::AddAssign, time::Duration};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use serde::Serialize;

mod reasons;

pub(crate) use self::reasons::{Close, Rejection};
use self::reasons::{Label, gap_label};
use crate::event::GapReason;

/// Bucket bounds of all histograms, in seconds: 0.1 ms to 10 s.
const BUCKET_BOUNDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// The metrics that are updated when something happens. Each is updated on its own: a reader may see an event
/// in one metric and not yet in another.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Events appended to the log since the hub started. If servers share a log, those of all servers.
    pub(crate) events: Counter,
    /// Events sent to subscribers, counted once for each subscriber.
    pub(crate) deliveries: Counter,
    /// Bytes of event streams that sockets accepted, including response heads and HTTP chunk headers. For the
    /// streams of an application that embeds the hub: the bytes that their response bodies yielded. Does not
    /// include rejected streams.
    pub(crate) sent_bytes: Counter,
    /// Times that a subscriber that was reading older events reached the newest event and became live.
    pub(crate) catch_ups: Counter,
    /// Times that the socket of a live subscriber did not accept all bytes of new events or of a heartbeat.
    fell_behind: Counter,
    /// Publish requests and lines of bulk requests that were answered with an event that was in the log
    /// already.
    pub(crate) replays: Counter,
    gaps: Family<Label, Counter>,
    closes: Family<Label, Counter>,
    rejections: Family<Label, Counter>,
    tick_lateness: Histogram,
    fan_out: Histogram,
    log_commit: Histogram,
    /// Number of live subscribers: those that have read up to the newest event and wait for the next one.
    live: Gauge,
    /// Number of requests to the Broadcaster that have not been answered yet.
    mailbox: Gauge,
}

/// What the sockets of live subscribers (those that wait for new events) accepted when events or heartbeats
/// were written to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DeliveryStats {
    /// Events that sockets accepted, counted once for each subscriber.
    pub(crate) delivered: u64,
    /// Bytes that sockets accepted.
    pub(crate) bytes: u64,
    /// Live subscribers whose socket did not accept everything. They are no longer live: they are sent the
    /// remaining bytes, and then read from the log.
    pub(crate) fell_behind: u64,
}

impl AddAssign for DeliveryStats {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.bytes += other.bytes;
        self.fell_behind += other.fell_behind;
    }
}

/// Increments a gauge when it is created, and decrements the gauge when it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
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
            replays: Counter::default(),
            gaps: Family::default(),
            closes: Family::default(),
            rejections: Family::default(),
            tick_lateness: Histogram::new(BUCKET_BOUNDS),
            fan_out: Histogram::new(BUCKET_BOUNDS),
            log_commit: Histogram::new(BUCKET_BOUNDS),
            live: Gauge::default(),
            mailbox: Gauge::default(),
        };
        // Create the counter of every label value now, with 0. If a counter appeared only with its first
        // increment, a monitoring system would not notice that increment.
        for reason in GapReason::ALL {
            drop(metrics.gaps.get_or_create(&gap_label(reason)));
        }
        for reason in Close::ALL {
            drop(metrics.closes.get_or_create(&reason.label()));
        }
        for reason in Rejection::ALL {
            drop(metrics.rejections.get_or_create(&reason.label()));
        }
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let Self { registry, .. } = self;
        registry.register(
            "events",
            "Events appended to the log, in a cluster by any of its servers",
            self.events.clone(),
        );
        registry.register(
            "deliveries",
            "Events sent to subscribers, counted once for each subscriber",
            self.deliveries.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Bytes of event streams that sockets accepted",
            Unit::Bytes,
            self.sent_bytes.clone(),
        );
        registry.register(
            "catch_ups",
            "Times that a subscriber that was reading older events reached the newest event",
            self.catch_ups.clone(),
        );
        registry.register(
            "fell_behind",
            "Times that the socket of a live subscriber did not accept all bytes of new events",
            self.fell_behind.clone(),
        );
        registry.register(
            "publish_replays",
            "Updates that were not appended, because the publisher repeated them and the first one is in the log",
            self.replays.clone(),
        );
        registry.register(
            "gaps",
            "Gap events sent to subscribers because events were missing, by reason",
            self.gaps.clone(),
        );
        registry.register(
            "closes",
            "Event streams that ended, by reason",
            self.closes.clone(),
        );
        registry.register(
            "rejections",
            "Event streams that were rejected, by reason",
            self.rejections.clone(),
        );
        registry.register_with_unit(
            "tick_lateness",
            "Delay from when a ticker message was due until it was passed to the log",
            Unit::Seconds,
            self.tick_lateness.clone(),
        );
        registry.register_with_unit(
            "fan_out",
            "Time from the arrival of an event until it was written to the last live subscriber of \
             a worker thread",
            Unit::Seconds,
            self.fan_out.clone(),
        );
        registry.register_with_unit(
            "log_commit",
            "Duration of one append to the file or to Redis, of all events appended together",
            Unit::Seconds,
            self.log_commit.clone(),
        );
        registry.register(
            "mailbox_messages",
            "Requests to the Broadcaster that have not been answered yet",
            self.mailbox.clone(),
        );
    }

    pub(crate) fn count_deliveries(&self, handed_over: &DeliveryStats) {
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
        self.rejections.get_or_create(&reason.label()).inc();
    }

    pub(crate) fn observe_tick(&self, lateness: Duration) {
        self.tick_lateness.observe(lateness.as_secs_f64());
    }

    /// Records the delay of a batch of events: from the append of its oldest event until the batch was
    /// written to the last live subscriber of a worker thread.
    pub(crate) fn observe_fan_out(&self, took: Duration) {
        self.fan_out.observe(took.as_secs_f64());
    }

    /// Records the duration of one append to the file or to Redis, of all events that were appended together.
    pub(crate) fn observe_commit(&self, took: Duration) {
        self.log_commit.observe(took.as_secs_f64());
    }

    /// Counts one live subscriber until the returned guard is dropped.
    pub(crate) fn mark_live(&self) -> GaugeGuard {
        GaugeGuard::new(&self.live)
    }

    /// Counts one unanswered request to the Broadcaster until the returned guard is dropped.
    pub(crate) fn mark_message(&self) -> GaugeGuard {
        GaugeGuard::new(&self.mailbox)
    }

    /// Number of live subscribers.
    pub(crate) fn live(&self) -> usize {
        usize::try_from(self.live.get()).unwrap_or(0)
    }

    /// Encodes these metrics and those of the registries `others` in the OpenMetrics text format.
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
            rejected: sum(&self.rejections, &Rejection::ALL.map(Rejection::label)),
        }
    }
}

/// Sums of the counters since the hub started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Events appended to the log since the hub started. If servers share a log, those of all servers.
    pub events: u64,
    /// Events sent to subscribers, counted once for each subscriber. Includes events from the history.
    pub delivered: u64,
    /// Times that a subscriber that was reading older events reached the newest event and became live.
    pub caught_up: u64,
    /// Gap events sent to subscribers, which report that events are missing.
    pub gaps: u64,
    /// Event streams closed because the socket accepted no bytes for `server.write_timeout`, or because the
    /// kernel gave up on the client: it did not answer TCP keepalive probes or, on Linux, acknowledged
    /// nothing for twice that time.
    pub timed_out: u64,
    /// Event streams that were rejected, for any reason.
    pub rejected: u64,
}
