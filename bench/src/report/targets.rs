//! The performance targets of this server, and whether it meets them.

use super::{
    publish,
    summary::Spread,
    target::{Bound, Target},
    text::{number, table},
};
use crate::{
    load::{FanOutFigures, StormFigures},
    record::{Figures, Peer, Record, Scenario},
};

const OURS: Peer = Peer::Broadcaster;

/// A bound of at most `factor` times another server's figure.
fn times(factor: f64, other: Option<f64>) -> Bound {
    other.map_or(Bound::Unknown, |other| Bound::AtMost(other * factor))
}

fn middle(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    Spread::of(values.flatten()).map(|spread| spread.median)
}

fn cpu(round: &FanOutFigures) -> Option<f64> {
    round.cpu_us_per_delivery
}

fn p99(round: &FanOutFigures) -> Option<f64> {
    round.spread_p99_ms
}

pub(super) fn targets(record: &Record) -> String {
    let mut targets = a_delivery(record);
    targets.extend(high_rates(record));
    targets.extend(memory_and_connections(record));
    targets.extend(disturbances(record));
    targets.extend(publish::targets(record));
    let rows: Vec<_> = targets.iter().map(Target::row).collect();
    table(&["what", "target", "measured", "verdict"], &rows)
}

fn a_delivery(record: &Record) -> Vec<Target> {
    let at = |peer, subscribers| record.median(peer, subscribers, 10, cpu);
    let ours = at(OURS, 10_000);
    // NestJS is overloaded with 10,000 subscribers, so use its cost with 1,000 subscribers, which it can
    // serve.
    let nestjs = at(Peer::Nestjs, 1_000);
    let what = "CPU a delivery, 10,000 × 10/s";
    let mut targets = vec![
        Target::new(
            &format!("{what}: 1.20 × the bare writer's"),
            times(1.2, at(Peer::Bare, 10_000)),
            ours,
            "µs",
        ),
        Target::new(
            "CPU a delivery, 10,000 × 10/s, stretch: 1.10 × the bare writer's",
            times(1.1, at(Peer::Bare, 10_000)),
            ours,
            "µs",
        ),
        Target::new(
            &format!("{what}: 0.75 × nchan's"),
            times(0.75, at(Peer::Nchan, 10_000)),
            ours,
            "µs",
        ),
        Target::new(
            &format!("{what}: 0.30 × NestJS's with 1,000"),
            times(0.3, nestjs),
            ours,
            "µs",
        ),
    ];
    for subscribers in [1_000, 19_000] {
        let off = at(OURS, subscribers)
            .zip(ours)
            .map(|(one, other)| (one / other - 1.0).abs() * 100.0);
        targets.push(Target::new(
            &format!(
                "CPU a delivery, {} × 10/s: difference from that at 10,000",
                number(subscribers as f64)
            ),
            Bound::AtMost(15.0),
            off,
            "%",
        ));
    }
    targets.push(Target::new(
        "Spread p99, 10,000 × 10/s: 1.25 × the bare writer's",
        times(1.25, record.median(Peer::Bare, 10_000, 10, p99)),
        record.median(OURS, 10_000, 10, p99),
        "ms",
    ));
    let rounds = record.runs.iter().filter(|run| run.case.peer == OURS);
    let faults = rounds.map(|run| match &run.figures {
        Figures::FanOut(figures) => {
            let slow = figures.laggards.unwrap_or_default();
            figures.lost + figures.duplicated + slow.slow_lost + slow.slow_duplicated
        }
        Figures::Storm(figures) => figures.lost + figures.duplicated,
        Figures::Publish(figures) => figures.lost + figures.duplicated,
        _ => 0,
    });
    let faults = faults.sum::<u64>() as f64;
    targets.push(Target::new(
        "Lost or delivered twice, in all runs",
        Bound::AtMost(0.0),
        Some(faults),
        "",
    ));
    targets
}

fn high_rates(record: &Record) -> Vec<Target> {
    let rate = |subscribers| {
        record.median(OURS, subscribers, 1_000, |round| {
            Some(round.deliveries_per_second)
        })
    };
    let mut targets = vec![
        // Allow 1% less, because the last tick may come just after the measured time.
        Target::new(
            "Deliveries/s, 1,000 × 1,000/s (1,000,000, within 1 %)",
            Bound::AtLeast(990_000.0),
            rate(1_000),
            "",
        ),
        Target::new(
            "CPU a delivery, 1,000 × 1,000/s",
            Bound::AtMost(0.8),
            record.median(OURS, 1_000, 1_000, cpu),
            "µs",
        ),
        Target::new(
            "CPU a delivery, 1,000 × 1,000/s, stretch",
            Bound::AtMost(0.4),
            record.median(OURS, 1_000, 1_000, cpu),
            "µs",
        ),
        Target::new(
            "Deliveries/s, 5,000 × 1,000/s",
            Bound::AtLeast(4_500_000.0),
            rate(5_000),
            "",
        ),
        Target::new(
            "Deliveries/s, 10,000 × 1,000/s",
            Bound::AtLeast(8_000_000.0),
            rate(10_000),
            "",
        ),
    ];
    for subscribers in [5_000, 10_000] {
        let of = |figure: fn(&FanOutFigures) -> Option<f64>| {
            record.median(OURS, subscribers, 1_000, figure)
        };
        let load = number(subscribers as f64);
        targets.push(Target::new(
            &format!("Ticks at most 5 ms late, {load} × 1,000/s"),
            Bound::AtLeast(99.0),
            of(|round| round.ticks_on_time_percent),
            "%",
        ));
        // 64 MB for the history of 20,000 events, and 20 KB for each subscriber, twice the bound for idle
        // ones.
        let bound = 64.0 + subscribers as f64 * 20.0 / 1024.0;
        targets.push(Target::new(
            &format!("Peak memory, {load} × 1,000/s"),
            Bound::AtMost(bound),
            of(|round| Some(round.peak_mb)),
            "MB",
        ));
    }
    targets
}

fn memory_and_connections(record: &Record) -> Vec<Target> {
    let idles = record.idles(OURS);
    let resident = middle(
        idles
            .iter()
            .map(|idle| Some(idle.resident_kb_per_subscriber)),
    );
    let left = middle(
        idles
            .iter()
            .map(|idle| Some((idle.after_mb / idle.before_mb - 1.0) * 100.0)),
    );
    let connect = |peer| record.median(peer, 10_000, 10, |round| Some(round.connect_ms));
    vec![
        Target::new(
            "Resident memory an idle subscriber",
            Bound::AtMost(10.0),
            resident,
            "KB",
        ),
        Target::new(
            "Resident memory an idle subscriber, stretch",
            Bound::AtMost(6.0),
            resident,
            "KB",
        ),
        Target::new(
            "Memory above that at the start, 30 s after 10,000 subscribers left",
            Bound::AtMost(20.0),
            left,
            "%",
        ),
        Target::new(
            "Opening 10,000 subscribers: 1.2 × nchan's time",
            times(1.2, connect(Peer::Nchan)),
            connect(OURS),
            "ms",
        ),
        Target::new(
            "CPU of a core, 10,000 idle subscribers",
            Bound::AtMost(1.0),
            middle(idles.iter().map(|idle| Some(idle.cpu_percent))),
            "%",
        ),
    ]
}

fn disturbances(record: &Record) -> Vec<Target> {
    let storms = record.storms(OURS);
    let of =
        |figure: fn(&StormFigures) -> Option<f64>| middle(storms.iter().map(|storm| figure(storm)));
    let of_laggards = |scenario, figure: fn(&FanOutFigures) -> Option<f64>| {
        middle(
            record
                .fan_out(scenario, OURS, 10_000, 10)
                .into_iter()
                .map(figure),
        )
    };
    let change = |figure: fn(&FanOutFigures) -> Option<f64>| {
        let without = of_laggards(Scenario::Large, figure)?;
        let with = of_laggards(Scenario::Laggards, figure)?;
        Some((with / without - 1.0) * 100.0)
    };
    vec![
        Target::new(
            "CPU until 10,000 subscribers, 100 events behind, caught up: all subscribers",
            Bound::AtMost(1_000.0),
            of(|storm| Some(storm.cpu_ms)),
            "ms",
        ),
        Target::new(
            "CPU until 10,000 subscribers, 100 events behind, caught up: without the others",
            Bound::AtMost(1_000.0),
            of(|storm| Some(storm.cpu_ms - storm.others_cpu_ms)),
            "ms",
        ),
        Target::new(
            "Spread p99 of the other subscribers meanwhile: 2 × that before",
            times(2.0, of(|storm| storm.spread_p99_before_ms)),
            of(|storm| storm.spread_p99_during_ms),
            "ms",
        ),
        // These bounds allow for noise: two equal runs on a shared machine differ by about as much.
        Target::new(
            "CPU a delivery with 1 stalled and 100 slow readers: increase",
            Bound::AtMost(15.0),
            change(cpu),
            "%",
        ),
        Target::new(
            "Spread p99 with 1 stalled and 100 slow readers: increase",
            Bound::AtMost(25.0),
            change(p99),
            "%",
        ),
    ]
}
