//! The tables of the scenarios in which all subscribers receive all messages.

use std::fmt::Write as _;

use super::text::{median, number, table, thousands, with_range};
use crate::{
    load::FanOutFigures,
    record::{Case, Peer, Record, Scenario},
};

const HEAD: [&str; 10] = [
    "server",
    "deliveries/s",
    "CPU µs a delivery",
    "CPU %",
    "KB a subscriber",
    "spread p50 ms",
    "p99 ms",
    "max ms",
    "connect ms",
    "lost, twice, closed",
];

/// One table for each load, with one row for each server.
pub(super) fn tables(record: &Record) -> String {
    let mut loads: Vec<(Scenario, usize, u64)> = Vec::new();
    for run in &record.runs {
        let Case {
            scenario,
            subscribers,
            per_second,
            ..
        } = run.case;
        let load = (scenario, subscribers, per_second);
        let shown = matches!(
            scenario,
            Scenario::FanOut | Scenario::Large | Scenario::Laggards
        );
        if shown && !loads.contains(&load) {
            loads.push(load);
        }
    }
    let mut text = String::new();
    for (scenario, subscribers, per_second) in loads {
        let mut rows = Vec::new();
        let mut load_cpu: f64 = 0.0;
        for peer in Peer::ALL {
            let rounds = record.fan_out(scenario, peer, subscribers, per_second);
            load_cpu = rounds
                .iter()
                .map(|round| round.load_cpu_percent)
                .fold(load_cpu, f64::max);
            if !rounds.is_empty() {
                rows.push(row(peer, &rounds));
            }
        }
        if rows.is_empty() {
            continue;
        }
        let what = match scenario {
            Scenario::Large => ", messages of a kilobyte",
            Scenario::Laggards => {
                ", messages of a kilobyte, with 1 stalled and 100 slow readers (2 KB/s) in addition"
            }
            _ => "",
        };
        writeln!(
            text,
            "**{} subscribers, {} messages/s{what}** (the load took up to {load_cpu:.0} % of a core)\n\n{}",
            number(subscribers as f64),
            thousands(per_second as f64),
            table(&HEAD, &rows)
        )
        .expect("writing to a string never fails");
    }
    text
}

fn row(peer: Peer, rounds: &[&FanOutFigures]) -> Vec<String> {
    let all =
        |figure: fn(&FanOutFigures) -> Option<f64>| rounds.iter().map(move |round| figure(round));
    let sum =
        |figure: fn(&FanOutFigures) -> u64| rounds.iter().map(|round| figure(round)).sum::<u64>();
    vec![
        peer.to_string(),
        median(all(|round| Some(round.deliveries_per_second))),
        with_range(all(|round| round.cpu_us_per_delivery)),
        median(all(|round| Some(round.cpu_percent))),
        median(all(|round| Some(round.resident_kb_per_subscriber))),
        median(all(|round| round.spread_p50_ms)),
        with_range(all(|round| round.spread_p99_ms)),
        median(all(|round| round.spread_max_ms)),
        with_range(all(|round| Some(round.connect_ms))),
        format!(
            "{}, {}, {}",
            sum(|round| round.lost),
            sum(|round| round.duplicated),
            sum(|round| round.closed)
        ),
    ]
}
