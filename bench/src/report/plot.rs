//! Plots the CPU time of a delivery against the number of subscribers, as SVG. No plotting library is used,
//! because two logarithmic axes and some lines need little code, and the SVG can follow the light or dark
//! color scheme of the reader.

use std::fmt::Write as _;

use super::{summary::Spread, text::number};
use crate::record::{Peer, Record, Scenario};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 626.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 404.0;
/// Minimum vertical distance between the names at the ends of the curves, in pixels.
const LINE: f64 = 17.0;

const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.grid { stroke: #d0d7de; stroke-width: 1 }
.background { fill: #ffffff }
.broadcaster { --c: #c6372c } .bare { --c: #6e7781 } .nchan { --c: #1a7f37 }
.axum { --c: #8250df } .actix { --c: #9a6700 } .nestjs { --c: #0969da }
.curve { fill: none; stroke: var(--c); stroke-width: 2 }
.broadcaster.curve { stroke-width: 3.5 } .bare.curve { stroke-dasharray: 6 4 }
.dot { fill: var(--c) } .range { stroke: var(--c); stroke-width: 1.5 }
.name { fill: var(--c); font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .background { fill: #0d1117 } .grid { stroke: #30363d }
.broadcaster { --c: #ff7b72 } .bare { --c: #9198a1 } .nchan { --c: #56d364 }
.axum { --c: #d2a8ff } .actix { --c: #e3b341 } .nestjs { --c: #79c0ff }
.name { fill: var(--c) }
}";

/// A logarithmic axis: the values from `low` to `high` are drawn from the coordinate `from` to `to`.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let share = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + share * (self.to - self.from)
    }
}

fn class(peer: Peer) -> &'static str {
    match peer {
        Peer::Broadcaster => "broadcaster",
        Peer::Bare => "bare",
        Peer::Nchan => "nchan",
        Peer::Nestjs => "nestjs",
        Peer::Actix => "actix",
        Peer::Axum => "axum",
    }
}

/// The curve of one server: for each number of subscribers, the CPU time of a delivery at 10 messages per
/// second.
fn curve(record: &Record, peer: Peer) -> Vec<(usize, Spread)> {
    let mut subscribers: Vec<_> = record.runs.iter().map(|run| run.case.subscribers).collect();
    subscribers.sort_unstable();
    subscribers.dedup();
    let point = |subscribers| {
        let rounds = record.fan_out(Scenario::FanOut, peer, subscribers, 10);
        let spread = Spread::of(rounds.iter().filter_map(|round| round.cpu_us_per_delivery))?;
        Some((subscribers, spread))
    };
    subscribers.into_iter().filter_map(point).collect()
}

pub(super) fn plot(record: &Record) -> String {
    let curves: Vec<_> = Peer::ALL
        .map(|peer| (peer, curve(record, peer)))
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .collect();
    let values = || {
        let points = curves.iter().flat_map(|(_, points)| points);
        points
            .flat_map(|(_, spread)| [spread.min, spread.max])
            .filter(|value| *value > 0.0)
    };
    let y = Axis {
        low: values().fold(4.0, f64::min) * 0.9,
        high: values().fold(20.0, f64::max) * 1.1,
        from: BOTTOM,
        to: TOP,
    };
    let x = Axis {
        low: 90.0,
        high: 21_000.0,
        from: LEFT,
        to: RIGHT,
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Server CPU a delivery against subscribers\">\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"background\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"26\">Server CPU a delivery, in µs, at 10 messages/s; \
         both axes logarithmic</text>\n"
    );
    put_axes(&mut svg, &x, &y);
    put_curves(&mut svg, &curves, &x, &y);
    svg.push_str("</svg>\n");
    svg
}

/// Draws the grid lines with their values.
fn put_axes(svg: &mut String, x: &Axis, y: &Axis) {
    let mut put = |line: String| writeln!(svg, "{line}").expect("writing to a string never fails");
    for value in [
        1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0, 200.0,
    ] {
        if value < y.low || value > y.high {
            continue;
        }
        let at = y.at(value);
        put(format!(
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>"
        ));
        put(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            LEFT - 8.0,
            at + 4.0
        ));
    }
    for value in [100, 1_000, 5_000, 10_000, 19_000] {
        let at = x.at(value as f64);
        put(format!(
            "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>"
        ));
        put(format!(
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 20.0,
            number(value as f64)
        ));
    }
    put(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">subscribers</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 42.0
    ));
}

/// Draws the curves, and the name of each server at the end of its curve.
fn put_curves(svg: &mut String, curves: &[(Peer, Vec<(usize, Spread)>)], x: &Axis, y: &Axis) {
    let mut put = |line: String| writeln!(svg, "{line}").expect("writing to a string never fails");
    let mut names = Vec::new();
    for (peer, points) in curves {
        let class = class(*peer);
        let place = |(subscribers, spread): &(usize, Spread)| {
            (x.at(*subscribers as f64), y.at(spread.median))
        };
        let path: Vec<_> = points
            .iter()
            .map(|point| {
                let (x, y) = place(point);
                format!("{x:.1} {y:.1}")
            })
            .collect();
        put(format!(
            "<path class=\"{class} curve\" d=\"M{}\"/>",
            path.join("L")
        ));
        for point in points {
            let (across, down) = place(point);
            let (from, to) = (y.at(point.1.min), y.at(point.1.max));
            put(format!(
                "<path class=\"{class} range\" d=\"M{across:.1} {from:.1}V{to:.1}\"/>"
            ));
            put(format!(
                "<circle class=\"{class} dot\" cx=\"{across:.1}\" cy=\"{down:.1}\" r=\"3.5\"/>"
            ));
        }
        if let Some(last) = points.last() {
            names.push((place(last).1, *peer));
        }
    }
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = TOP;
    for (at, peer) in names {
        let at = at.max(free);
        free = at + LINE;
        put(format!(
            "<text class=\"{} name\" x=\"{:.1}\" y=\"{:.1}\">{peer}</text>",
            class(peer),
            RIGHT + 10.0,
            at + 4.0
        ));
    }
}
