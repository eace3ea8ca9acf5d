//! `sse-bench compare`: measures one server after another under the same load. This is repeated in several
//! rounds, so that other activity on the machine affects all servers alike.

mod peers;
mod plan;
mod process;
mod publisher;
mod surroundings;

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context as _;
use clap::Args;

pub(crate) use self::peers::LONG_HISTORY;
use self::{
    peers::Paths,
    plan::Pace,
    process::{Interruption, Process},
};
use crate::{
    record::{Case, Figures, Peer, Record, Run, Scenario},
    report,
};

/// Time limit of one run. Every run needs less.
const TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Args)]
pub(crate) struct Compare {
    /// Root folder of the project
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Measure only this server and the bare writer at two loads, without a report
    #[arg(long)]
    quick: bool,
    /// Number of rounds [default: 3; quick: 2]
    #[arg(long)]
    rounds: Option<usize>,
    /// Measure only these servers, without a report
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
}

impl Compare {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let paths = Paths::find(&self.root)?;
        let interruption = Interruption::watch()?;
        let rounds = self.rounds.unwrap_or(if self.quick { 2 } else { 3 });
        let peers = match self.peers.as_slice() {
            [] if self.quick => &[Peer::Broadcaster, Peer::Bare],
            [] => Peer::ALL.as_slice(),
            peers => peers,
        };
        let mut groups = if self.quick {
            plan::quick(peers)
        } else {
            plan::whole(peers)
        };
        let mut not_run = Vec::new();
        for &peer in peers {
            if let Some(reason) = peers::missing(peer, &paths) {
                eprintln!("not run: {peer}, {reason}");
                not_run.push((peer, reason));
                for group in &mut groups {
                    group.retain(|case| case.peer != peer);
                }
            }
        }
        let pace = if self.quick { Pace::QUICK } else { Pace::WHOLE };
        let mut record = Record {
            surroundings: surroundings::look(&paths, rounds, not_run),
            runs: Vec::new(),
        };
        for (round, case) in in_order(groups, rounds) {
            let figures = match measure(&case, &paths, pace, &interruption) {
                Err(err) if interruption.has_happened() => return Err(err),
                Err(err) => Figures::NotRun(reason(&err)),
                Ok(figures) => figures,
            };
            let run = Run {
                case,
                round,
                figures,
            };
            eprintln!("{}", report::line(&run));
            record.runs.push(run);
        }
        println!("{}", report::terminal(&record));
        if !self.quick && self.peers.is_empty() {
            record.save(&report::figures_path(&paths.root))?;
            report::write(&paths.root)?;
        }
        Ok(())
    }
}

/// The cases in the order in which they are measured, each with its round: every round of a group before the next
/// group.
fn in_order(groups: Vec<Vec<Case>>, rounds: usize) -> Vec<(usize, Case)> {
    let mut all = Vec::new();
    for group in groups {
        for round in 0..rounds {
            let cases = group.iter().cloned();
            let cases = cases.filter(|case| round < plan::rounds_of(case, rounds));
            let mut cases: Vec<_> = cases.map(|case| (round, case)).collect();
            // Reverse the order in every second round, so that no server always runs after the same server.
            if round % 2 == 1 {
                cases.reverse();
            }
            all.extend(cases);
        }
    }
    all
}

/// Measures one server under one load. The server and the load are separate processes.
fn measure(
    case: &Case,
    paths: &Paths,
    pace: Pace,
    interruption: &Interruption,
) -> anyhow::Result<Figures> {
    let server = peers::start(case, paths, interruption)
        .with_context(|| format!("{} did not start", case.peer))?;
    // Let the server finish its start-up work.
    std::thread::sleep(Duration::from_millis(500));
    let mut command = Command::new(&paths.bench);
    command.args(plan::load(case, pace));
    command.arg("--addr").arg(server.addr.to_string());
    command.arg("--pid").arg(server.process.id().to_string());
    if let Some(token) = &server.token {
        command.env("SSE_BENCH_TOKEN", token);
    }
    let output = Process::start(&mut command)?.output(TIMEOUT, interruption)?;
    Ok(match case.scenario {
        Scenario::FanOut | Scenario::Large | Scenario::Laggards => {
            Figures::FanOut(serde_json::from_str(&output)?)
        }
        Scenario::Storm => Figures::Storm(serde_json::from_str(&output)?),
        Scenario::Idle => Figures::Idle(serde_json::from_str(&output)?),
        Scenario::Publish | Scenario::Topics | Scenario::Patterns => {
            Figures::Publish(serde_json::from_str(&output)?)
        }
    })
}

fn reason(err: &anyhow::Error) -> String {
    let reason = format!("{err:#}");
    reason.trim_start_matches("sse-bench: ").to_owned()
}
