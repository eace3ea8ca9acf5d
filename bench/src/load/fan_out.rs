//! `sse-bench load`: messages to many subscribers, with or without laggards (subscribers that read slowly or
//! not at all).

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    CATCH_UP_TIMEOUT, CONNECT_TIMEOUT, Target,
    laggards::{LaggardFigures, Laggards},
    millis,
    probe::Ticks,
};
use crate::usage::Moment;

#[derive(Debug, Clone, Args)]
pub(crate) struct FanOut {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Seconds between the last response and the start of the measurement
    #[arg(long, default_value_t = 3.0)]
    pub(crate) settle: f64,
    /// Seconds in which deliveries are counted
    #[arg(long, default_value_t = 8.0)]
    pub(crate) measure: f64,
    #[command(flatten)]
    pub(crate) laggards: Laggards,
    /// The server reports the delay of its ticker at /metrics
    #[arg(long)]
    pub(crate) metrics: bool,
}

/// The results. A value is `null` if it could not be measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FanOutFigures {
    pub(crate) subscribers: usize,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    /// CPU time of the server.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// CPU of the server, in percent of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) resident_kb_per_subscriber: f64,
    /// The server's largest resident memory, in MB.
    pub(crate) peak_mb: f64,
    /// Time from the first connection until every response had begun.
    pub(crate) connect_ms: f64,
    /// Time from the first to the last subscriber that received a message.
    pub(crate) spread_p50_ms: Option<f64>,
    pub(crate) spread_p99_ms: Option<f64>,
    pub(crate) spread_max_ms: Option<f64>,
    /// Message numbers that were skipped, or that had not arrived within `CATCH_UP_TIMEOUT` after the
    /// measurement.
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Streams that the server ended.
    pub(crate) closed: u64,
    /// CPU of the load, in percent of one core. If this is near 100 for each thread of the load, the load and
    /// not the server was the bottleneck.
    pub(crate) load_cpu_percent: f64,
    /// Percentage of the ticks of the server's ticker that were at most 5 ms late.
    pub(crate) ticks_on_time_percent: Option<f64>,
    pub(crate) laggards: Option<LaggardFigures>,
}

impl FanOut {
    pub(crate) fn run(&self) -> anyhow::Result<FanOutFigures> {
        let subscribers = self.target.subscribers;
        let server = self.target.pid;
        let idle = Moment::of(server)?;
        let start = Instant::now();
        let mut present = self.target.crowd().connect(start, 0);
        present.wait_for_answers(CONNECT_TIMEOUT)?;
        let connected = start.elapsed();
        let lagging = self.laggards.stalled + self.laggards.slow > 0;
        let laggards = lagging
            .then(|| self.laggards.connect(&self.target.request(), subscribers))
            .transpose()?;
        sleep(Duration::from_secs_f64(self.settle));

        let ticks_before = self.ticks();
        let own_before = Moment::of(std::process::id())?;
        let before = Moment::of(server)?;
        let delivered_before = present.deliveries();
        sleep(Duration::from_secs_f64(self.measure));
        let deliveries = present.deliveries() - delivered_before;
        let after = Moment::of(server)?;
        let own_after = Moment::of(std::process::id())?;
        let ticks_after = self.ticks();

        // Wait for messages that were already sent, because at the end, missing messages are counted as lost.
        if !self.target.own_numbers {
            present.wait_for(present.next(), CATCH_UP_TIMEOUT)?;
        }
        let laggards = laggards.map(|laggards| laggards.leave()).transpose()?;
        let totals = present.leave()?;
        let spreads = totals
            .arrivals
            .spreads(subscribers, before.at - start..after.at - start);
        let took = (after.at - before.at).as_secs_f64();
        let cpu_us = after.cpu_since(&before).as_secs_f64() * 1e6;
        let grown = after.usage.resident_kb as f64 - idle.usage.resident_kb as f64;
        Ok(FanOutFigures {
            subscribers,
            deliveries,
            deliveries_per_second: deliveries as f64 / took,
            cpu_us_per_delivery: (deliveries > 0).then(|| cpu_us / deliveries as f64),
            cpu_percent: after.cpu_percent_since(&before),
            resident_kb_per_subscriber: grown / subscribers as f64,
            peak_mb: after.usage.peak_kb as f64 / 1024.0,
            connect_ms: millis(connected),
            spread_p50_ms: spreads.at(0.5),
            spread_p99_ms: spreads.at(0.99),
            spread_max_ms: spreads.at(1.0),
            lost: totals.lost,
            duplicated: totals.duplicated,
            closed: totals.closed,
            load_cpu_percent: own_after.cpu_percent_since(&own_before),
            ticks_on_time_percent: ticks_before
                .zip(ticks_after)
                .and_then(|(before, after)| after.on_time_percent_since(&before)),
            laggards,
        })
    }

    fn ticks(&self) -> Option<Ticks> {
        self.metrics.then(|| Ticks::of(self.target.addr)).flatten()
    }
}
