//! The table and the targets of events that are published by HTTP.

use super::{
    target::{Bound, Target},
    text::{median, number, table, with_range},
};
use crate::{
    publish::PublishFigures,
    record::{Case, Figures, Peer, Record, Scenario},
};

const HEAD: [&str; 8] = [
    "server",
    "load",
    "acknowledged/s",
    "deliveries/s",
    "CPU µs an update",
    "CPU % of a core",
    "acknowledged after p50, p99 ms",
    "lost, twice",
];

/// The table with one row for each case in which events are published by HTTP. Empty if there is no such
/// case.
pub(super) fn table_of(record: &Record) -> String {
    let mut cases: Vec<Case> = Vec::new();
    for run in &record.runs {
        if run.case.scenario.publishes() && !cases.contains(&run.case) {
            cases.push(run.case);
        }
    }
    let rows: Vec<_> = cases
        .iter()
        .filter_map(|case| row(case, &rounds(record, case)))
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "\n## Publishing\n\n32 keep-alive connections, each of which waits for an acknowledgement before its next update; \
         sse-broadcaster verifies tokens signed with EdDSA.\n\n{}",
        table(&HEAD, &rows)
    )
}

fn rounds<'a>(record: &'a Record, case: &Case) -> Vec<&'a PublishFigures> {
    let runs = record.runs.iter().filter(|run| run.case == *case);
    runs.filter_map(|run| match &run.figures {
        Figures::Publish(figures) => Some(figures),
        _ => None,
    })
    .collect()
}

fn row(case: &Case, rounds: &[&PublishFigures]) -> Option<Vec<String>> {
    let first = rounds.first()?;
    let all =
        |figure: fn(&PublishFigures) -> f64| rounds.iter().map(move |round| Some(figure(round)));
    let count =
        |figure: fn(&PublishFigures) -> u64| rounds.iter().map(|round| figure(round)).sum::<u64>();
    let [topics, subscribers, per_second] = [
        first.topics as f64,
        first.subscribers as f64,
        case.per_second as f64,
    ]
    .map(number);
    let load = match case.scenario {
        Scenario::Topics => format!("{per_second}/s on {topics} topics, each with a subscriber"),
        Scenario::Patterns => {
            format!(
                "{per_second}/s on {topics} topics, {subscribers} subscribers with a URL Pattern each"
            )
        }
        _ => "no rate limit, one subscriber".to_owned(),
    };
    Some(vec![
        case.peer.to_string(),
        load,
        with_range(all(|round| round.updates_per_second)),
        median(all(|round| round.deliveries_per_second)),
        with_range(all(|round| round.cpu_us_per_update)),
        with_range(all(|round| round.cpu_percent)),
        format!(
            "{}, {}",
            median(all(|round| round.acknowledged_p50_ms)),
            median(all(|round| round.acknowledged_p99_ms))
        ),
        format!(
            "{}, {}",
            count(|round| round.lost),
            count(|round| round.duplicated)
        ),
    ])
}

pub(super) fn targets(record: &Record) -> Vec<Target> {
    let ours = |scenario, figure: fn(&PublishFigures) -> f64| {
        let runs = record
            .runs
            .iter()
            .filter(|run| run.case.peer == Peer::Broadcaster && run.case.scenario == scenario);
        super::summary::Spread::of(runs.filter_map(|run| match &run.figures {
            Figures::Publish(figures) => Some(figure(figures)),
            _ => None,
        }))
        .map(|spread| spread.median)
    };
    vec![
        Target::new(
            "Acknowledged updates/s, 32 connections, EdDSA tokens",
            Bound::AtLeast(20_000.0),
            ours(Scenario::Publish, |round| round.updates_per_second),
            "",
        ),
        Target::new(
            "Deliveries/s, 10,000/s on 10,000 topics (10,000, within 1 %)",
            Bound::AtLeast(9_900.0),
            ours(Scenario::Topics, |round| round.deliveries_per_second),
            "",
        ),
        Target::new(
            "CPU of a core, 1,000/s on 100 topics, 1,000 URL Patterns",
            Bound::AtMost(50.0),
            ours(Scenario::Patterns, |round| round.cpu_percent),
            "%",
        ),
    ]
}
