//! `sse-bench storm`: many subscribers reconnect at the same time, each some events behind, while others stay
//! connected.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{
    CATCH_UP_TIMEOUT, CONNECT_TIMEOUT, Target,
    crowd::Crowd,
    millis,
    probe::{Seen, watch},
};
use crate::usage::Moment;

/// Time limit until all returning subscribers have received the events that they missed.
const STORM_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args)]
pub(crate) struct Storm {
    /// The subscribers that stay connected
    #[command(flatten)]
    pub(crate) target: Target,
    /// Number of subscribers that reconnect at the same time
    #[arg(long, default_value_t = 10_000)]
    pub(crate) returning: usize,
    /// Number of events that each of them missed
    #[arg(long, default_value_t = 100)]
    pub(crate) behind: usize,
    /// Path with which the returning subscribers join instead, without an id: as new subscribers that missed
    /// nothing
    #[arg(long)]
    pub(crate) joining: Option<String>,
}

/// The results. The other subscribers are those that stay connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StormFigures {
    pub(crate) subscribers: usize,
    pub(crate) returning: usize,
    pub(crate) behind: usize,
    /// Time from the first reconnection until all returning subscribers had received the events that they
    /// missed.
    pub(crate) caught_up_ms: f64,
    /// CPU time of the server during `caught_up_ms`.
    pub(crate) cpu_ms: f64,
    /// The part of `cpu_ms` that the other subscribers would have cost without the storm, computed from their
    /// cost before it.
    pub(crate) others_cpu_ms: f64,
    /// Spread of a message among the other subscribers before the storm.
    pub(crate) spread_p50_before_ms: Option<f64>,
    pub(crate) spread_p99_before_ms: Option<f64>,
    /// Spread of a message among the other subscribers during the storm.
    pub(crate) spread_p50_during_ms: Option<f64>,
    pub(crate) spread_p99_during_ms: Option<f64>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) closed: u64,
    /// CPU of the load while the returning subscribers caught up, in percent of one core.
    pub(crate) load_cpu_percent: f64,
}

impl Storm {
    pub(crate) fn run(&self) -> anyhow::Result<StormFigures> {
        let subscribers = self.target.subscribers;
        let server = self.target.pid;
        let start = Instant::now();
        let mut others = self.target.crowd().connect(start, 0);
        others.wait_for_answers(CONNECT_TIMEOUT)?;
        // While these events are read, the cost and the spread before the storm are measured.
        let before = Moment::of(server)?;
        let seen = watch(&self.target.request(), subscribers, self.behind + 1)?;
        let (last, newest) = seen.first().zip(seen.last()).context("no event was seen")?;
        let goal = newest.number + 1;
        ensure!(
            newest.number - last.number == self.behind as u64,
            "the numbers of the server's events are not consecutive"
        );

        let own_begin = Moment::of(std::process::id())?;
        let begin = Moment::of(server)?;
        let mut storm = self.returning_after(last).connect(start, goal);
        let all = storm.wait_for(goal, STORM_TIMEOUT)?;
        let end = Moment::of(server)?;
        let own_end = Moment::of(std::process::id())?;
        ensure!(
            all,
            "not all subscribers caught up within {STORM_TIMEOUT:?}"
        );

        // After a pause, every subscriber must have received everything that was sent until then.
        sleep(Duration::from_millis(500));
        let goal = others.next().max(storm.next());
        storm.wait_for(goal, CATCH_UP_TIMEOUT)?;
        others.wait_for(goal, CATCH_UP_TIMEOUT)?;
        let returned = storm.leave()?;
        let totals = others.leave()?;
        let quiet = (before.at - start)..(begin.at - start);
        let spreads_before = totals.arrivals.spreads(subscribers, quiet);
        let stormy = (begin.at - start)..(end.at - start);
        let spreads_during = totals.arrivals.spreads(subscribers, stormy);
        let share = (end.at - begin.at).as_secs_f64() / (begin.at - before.at).as_secs_f64();
        Ok(StormFigures {
            subscribers,
            returning: self.returning,
            behind: self.behind,
            caught_up_ms: millis(end.at - begin.at),
            cpu_ms: millis(end.cpu_since(&begin)),
            others_cpu_ms: millis(begin.cpu_since(&before)) * share,
            spread_p50_before_ms: spreads_before.at(0.5),
            spread_p99_before_ms: spreads_before.at(0.99),
            spread_p50_during_ms: spreads_during.at(0.5),
            spread_p99_during_ms: spreads_during.at(0.99),
            lost: totals.lost + returned.lost,
            duplicated: totals.duplicated + returned.duplicated,
            closed: totals.closed + returned.closed,
            load_cpu_percent: own_end.cpu_percent_since(&own_begin),
        })
    }

    /// The subscribers that reconnect, each after this event.
    fn returning_after(&self, last: &Seen) -> Crowd {
        let mut request = self.target.request();
        let mut next = None;
        match &self.joining {
            Some(target) => request.target.clone_from(target),
            None => {
                request.last_event_id = Some(last.id.clone());
                next = Some(last.number + 1);
            }
        }
        Crowd {
            request,
            subscribers: self.returning,
            before: self.target.subscribers + 1,
            next,
            ..self.target.crowd()
        }
    }
}
