//! The tables of the storm and idle scenarios.

use super::text::{median, number, table, with_range};
use crate::{
    load::StormFigures,
    record::{Peer, Record},
};

pub(super) fn tables(record: &Record) -> String {
    let mut text = String::new();
    let storms: Vec<_> = Peer::ALL
        .into_iter()
        .filter(|peer| !record.storms(*peer).is_empty())
        .map(|peer| {
            let rounds = record.storms(peer);
            let all = |figure: fn(&StormFigures) -> Option<f64>| {
                rounds.iter().map(move |round| figure(round))
            };
            vec![
                peer.to_string(),
                with_range(all(|round| Some(round.cpu_ms))),
                median(all(|round| Some(round.others_cpu_ms))),
                with_range(all(|round| Some(round.caught_up_ms))),
                median(all(|round| round.spread_p99_before_ms)),
                with_range(all(|round| round.spread_p99_during_ms)),
                format!(
                    "{}, {}, {}",
                    rounds.iter().map(|round| round.lost).sum::<u64>(),
                    rounds.iter().map(|round| round.duplicated).sum::<u64>(),
                    rounds.iter().map(|round| round.closed).sum::<u64>()
                ),
            ]
        })
        .collect();
    if !storms.is_empty() {
        let head = [
            "server",
            "CPU ms, total",
            "of which for the others ms",
            "until all caught up ms",
            "others' p99 before ms",
            "others' p99 meanwhile ms",
            "lost, twice, closed",
        ];
        text.push_str(
            "**10,000 subscribers reconnect at the same time, each 100 events behind, while 9,000 others stay \
             connected**\n\n",
        );
        text.push_str(&table(&head, &storms));
        text.push('\n');
    }
    let idles: Vec<_> = Peer::ALL
        .into_iter()
        .flat_map(|peer| {
            record
                .idles(peer)
                .into_iter()
                .map(move |round| (peer, round))
        })
        .map(|(peer, round)| {
            vec![
                peer.to_string(),
                number(round.cpu_percent),
                number(round.resident_kb_per_subscriber),
                number(round.before_mb),
                number(round.during_mb),
                number(round.after_mb),
                round.back_after_ms.map_or_else(|| "never".into(), number),
            ]
        })
        .collect();
    if !idles.is_empty() {
        let head = [
            "server",
            "CPU % of a core",
            "KB a subscriber",
            "MB before",
            "MB with all",
            "MB after all left",
            "back within 20 % after ms",
        ];
        text.push_str("**10,000 idle subscribers, which receive heartbeats but no messages**\n\n");
        text.push_str(&table(&head, &idles));
    }
    text
}
