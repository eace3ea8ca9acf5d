//! `sse-bench idle`: subscribers to whom nothing is sent, and what is left when they are gone.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{CONNECT_PATIENCE, Target, millis};
use crate::usage::Moment;

/// Memory is back when there is at most this much more than at the start.
const BACK: f64 = 1.2;
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Seconds between the last answer and the measurement
    #[arg(long, default_value_t = 2.0)]
    pub(crate) settle: f64,
    /// Seconds in which the server's CPU time counts: more than two heartbeats
    #[arg(long, default_value_t = 32.0)]
    pub(crate) measure: f64,
    /// Seconds that memory has to come back after all left
    #[arg(long, default_value_t = 30.0)]
    pub(crate) patience: f64,
}

/// What came of it. Memory is resident, of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IdleFigures {
    pub(crate) subscribers: usize,
    pub(crate) connect_ms: f64,
    /// Of one core.
    pub(crate) cpu_percent: f64,
    pub(crate) resident_kb_per_subscriber: f64,
    pub(crate) before_mb: f64,
    pub(crate) during_mb: f64,
    /// When it was back, or else when the patience was over.
    pub(crate) after_mb: f64,
    /// How long after all left it was within 20 % of what it was before; `null`: never.
    pub(crate) back_after_ms: Option<f64>,
    pub(crate) closed: u64,
}

impl Idle {
    pub(crate) fn run(&self) -> anyhow::Result<IdleFigures> {
        let server = self.target.pid;
        let before = Moment::of(server)?;
        let start = Instant::now();
        let mut present = self.target.crowd().come(start, 0);
        present.wait_for_answers(CONNECT_PATIENCE)?;
        let connected = start.elapsed();
        sleep(Duration::from_secs_f64(self.settle));
        let begin = Moment::of(server)?;
        sleep(Duration::from_secs_f64(self.measure));
        let end = Moment::of(server)?;
        let tally = present.leave()?;
        let left = Instant::now();
        let (after, back) = loop {
            let now = Moment::of(server)?;
            let back = now.usage.resident_kb as f64 <= before.usage.resident_kb as f64 * BACK;
            if back || left.elapsed().as_secs_f64() > self.patience {
                break (now, back);
            }
            sleep(LOOK);
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
            closed: tally.closed,
        })
    }
}
