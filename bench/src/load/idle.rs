//! `sse-bench idle`: subscribers that receive no messages, and the memory that remains after they left.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{CONNECT_TIMEOUT, Target, millis};
use crate::usage::Moment;

/// The memory has been released when it is at most this multiple of the memory before the subscribers
/// connected.
const RELEASED_FACTOR: f64 = 1.2;
/// How often the memory is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Seconds between the last response and the start of the measurement
    #[arg(long, default_value_t = 2.0)]
    pub(crate) settle: f64,
    /// Seconds in which the server's CPU time is measured; the default covers more than two heartbeats
    #[arg(long, default_value_t = 32.0)]
    pub(crate) measure: f64,
    /// Seconds to wait until the memory is released after all subscribers left
    #[arg(long, default_value_t = 30.0)]
    pub(crate) patience: f64,
}

/// The results. Memory is the resident memory of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdleFigures {
    pub(crate) subscribers: usize,
    pub(crate) connect_ms: f64,
    /// CPU of the server, in percent of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) resident_kb_per_subscriber: f64,
    pub(crate) before_mb: f64,
    pub(crate) during_mb: f64,
    /// Memory at the end: when it was released, or after `--patience` seconds.
    pub(crate) after_mb: f64,
    /// Time from when the subscribers left until memory was at most 20% above `before_mb`. `null` if that did
    /// not happen within `--patience` seconds.
    pub(crate) back_after_ms: Option<f64>,
    pub(crate) closed: u64,
}

impl Idle {
    pub(crate) fn run(&self) -> anyhow::Result<IdleFigures> {
        let server = self.target.pid;
        let before = Moment::of(server)?;
        let start = Instant::now();
        let mut present = self.target.crowd().connect(start, 0);
        present.wait_for_answers(CONNECT_TIMEOUT)?;
        let connected = start.elapsed();
        sleep(Duration::from_secs_f64(self.settle));
        let begin = Moment::of(server)?;
        sleep(Duration::from_secs_f64(self.measure));
        let end = Moment::of(server)?;
        let totals = present.leave()?;
        let left = Instant::now();
        let (after, back) = loop {
            let now = Moment::of(server)?;
            let back =
                now.usage.resident_kb as f64 <= before.usage.resident_kb as f64 * RELEASED_FACTOR;
            if back || left.elapsed().as_secs_f64() > self.patience {
                break (now, back);
            }
            sleep(POLL_INTERVAL);
        };
        let megabytes = |moment: &Moment| moment.usage.resident_kb as f64 / 1024.0;
        let grown = end.usage.resident_kb as f64 - before.usage.resident_kb as f64;
        Ok(IdleFigures {
            subscribers: self.target.subscribers,
            connect_ms: millis(connected),
            cpu_percent: end.cpu_percent_since(&begin),
            resident_kb_per_subscriber: grown / self.target.subscribers as f64,
            before_mb: megabytes(&before),
            during_mb: megabytes(&end),
            after_mb: megabytes(&after),
            back_after_ms: back.then(|| millis(after.at.saturating_duration_since(left))),
            closed: totals.closed,
        })
    }
}
