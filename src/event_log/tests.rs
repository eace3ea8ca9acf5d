//! Tests what the log in memory promises.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Event, EventId, Gap, GapReason, GivenId, ResumeFrom, Topic, wire},
    matching::{HubUrl, Matcher, Selection},
};

const EPOCH: u64 = 1000;

pub(super) fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

fn log(retention: Retention) -> MemoryLog {
    MemoryLog::new(EPOCH, retention, topic("own"))
}

/// The selection of a subscriber of this topic.
pub(super) fn selection(topic: &str) -> Selection {
    let hub = HubUrl::parse("http://localhost/.well-known/mercure").unwrap();
    let matcher = Matcher::exact(&Topic::parse(topic).unwrap());
    Selection::new(hub, vec![matcher], Vec::new())
}

fn position(log: &MemoryLog, from: &ResumeFrom) -> ResumePoint<u64> {
    log.resume(from, &selection("own"))
}

/// Reads about this number of bytes, and accepts every event.
pub(super) fn read(
    log: &MemoryLog,
    cursor: u64,
    bytes: usize,
    mut each: impl FnMut(&Entry),
) -> Read {
    let portion = Portion {
        bytes,
        topics: usize::MAX,
    };
    log.read(ReadFrom::everything(cursor), portion, |entry| {
        each(entry);
        true
    })
}

fn log_with(events: u64, retention: Retention) -> MemoryLog {
    let log = log(retention);
    for n in 1..=events {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    log
}

pub(super) fn keeping(events: usize) -> Retention {
    Retention {
        events,
        presence: 1000,
        bytes: usize::MAX,
        age: None,
        queue: 1,
    }
}

fn after(epoch: u64, seq: u64) -> ResumeFrom {
    EventId { epoch, seq }.into()
}

#[test]
fn numbers_count_from_one_without_holes() {
    let log = log(keeping(2));

    let numbers: Vec<_> = (0..5)
        .map(|_| log.append(&Event::message("x"), Instant::now()).seq)
        .collect();

    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn a_new_subscriber_starts_at_the_head_and_earliest_at_the_oldest() {
    let log = log_with(10, keeping(4));

    assert_eq!(position(&log, &ResumeFrom::Now).cursor, 11);
    assert_eq!(position(&log, &ResumeFrom::Earliest).cursor, 7);
    assert_eq!(position(&log, &ResumeFrom::Earliest).gap, None);
}

#[test]
fn every_retained_id_and_the_one_before_resume_without_a_gap() {
    let log = log_with(10, keeping(4));

    for seq in 6..=10 {
        let placement = position(&log, &after(EPOCH, seq));

        assert_eq!(
            placement,
            ResumePoint {
                cursor: seq + 1,
                is_announced: true,
                gap: None
            }
        );
    }
}

#[test]
fn what_cannot_be_placed_gets_everything_and_the_reason() {
    let log = log_with(10, keeping(4));
    let cases = [
        (after(EPOCH, 5), GapReason::Evicted, "#1000-5", Some(1)),
        (after(EPOCH, 0), GapReason::Evicted, "#1000-0", Some(6)),
        (after(EPOCH, 11), GapReason::Unknown, "#1000-11", None),
        (
            after(EPOCH, u64::MAX),
            GapReason::Unknown,
            "#1000-18446744073709551615",
            None,
        ),
        (after(EPOCH - 1, 7), GapReason::Epoch, "#999-7", None),
        (after(EPOCH + 1, 7), GapReason::Epoch, "#1001-7", None),
        (
            ResumeFrom::Unknown("?".into()),
            GapReason::Unknown,
            "?",
            None,
        ),
    ];
    for (from, reason, requested, missed) in cases {
        let placement = position(&log, &from);

        assert_eq!(
            placement,
            ResumePoint {
                cursor: 7,
                is_announced: true,
                gap: Some(Gap {
                    reason,
                    requested: requested.into(),
                    resumed_after: Some(log.id(6)),
                    missed,
                }),
            }
        );
    }
}

#[test]
fn nothing_evicted_means_resuming_before_the_first() {
    let log = log_with(0, keeping(4));

    let gap = position(&log, &after(1, 1)).gap.unwrap();

    let before_the_first = EventId {
        epoch: EPOCH,
        seq: 0,
    };
    assert_eq!(gap.resumed_after, Some(before_the_first));
}

#[test]
fn the_byte_bound_evicts_too_but_never_the_newest() {
    let log = log(Retention {
        bytes: 800,
        ..keeping(100)
    });

    for _ in 0..10 {
        log.append(&Event::message("x".repeat(60)), Instant::now());
    }
    let small = log.extent();
    log.append(&Event::message("x".repeat(1000)), Instant::now());
    let large = log.extent();

    assert!(small.bytes <= 800 && small.events == 2, "{small:?}");
    assert_eq!((large.oldest, large.next), (11, 12));
    assert!(large.bytes > 1000, "{large:?}");
}

#[test]
fn a_reader_that_fell_out_is_told_what_it_lost() {
    let log = log_with(10, keeping(4));

    assert_eq!(read(&log, 3, 100, |_| ()), Read::Evicted { oldest: 7 });
    assert_eq!(
        log.gap(3..7, &selection("own")),
        Some(Gap {
            reason: GapReason::Evicted,
            requested: "#1000-2".into(),
            resumed_after: Some(log.id(6)),
            missed: Some(4),
        })
    );
}

#[test]
fn whoever_is_connected_may_read_a_little_more_than_whoever_comes() {
    let retention = Retention {
        queue: 6,
        ..keeping(4)
    };
    let log = log_with(10, retention);
    let mut numbers = Vec::new();

    let all = read(&log, 5, usize::MAX, |entry| {
        numbers.push(entry.frame.clone())
    });
    let evicted = read(&log, 4, usize::MAX, |_| ());

    assert_eq!(all, Read::Events { end: 11 });
    assert_eq!(numbers[0], wire::event(log.id(5), &Event::message("5")));
    assert!(matches!(evicted, Read::Evicted { oldest: 5 }));
    assert_eq!(position(&log, &ResumeFrom::Earliest).cursor, 7);
    assert_eq!(log.extent().oldest, 7);
    assert!(position(&log, &after(EPOCH, 5)).gap.is_some());
}

#[test]
fn an_event_larger_than_a_batch_is_read_whole() {
    let log = log(keeping(4));
    let event = Event::message("x".repeat(1000));
    let id = log.append(&event, Instant::now());
    let mut frames = Vec::new();

    let one = read(&log, 1, 10, |entry| frames.push(entry.frame.clone()));

    assert_eq!(one, Read::Events { end: 2 });
    assert_eq!(frames, [wire::event(id, &event)]);
}

#[test]
fn the_age_of_the_oldest_is_that_of_what_is_retained() {
    let start = Instant::now();
    let log = log(keeping(2));
    assert_eq!(log.extent().since, None);

    for seconds in 0..3 {
        log.append(&Event::message("x"), start + Duration::from_secs(seconds));
    }

    assert_eq!(log.extent().since, Some(start + Duration::from_secs(1)));
}

#[test]
fn what_is_missing_is_counted_where_it_is_known_whom_it_was_for() {
    let log = log_with(4, keeping(4));
    let gap = |log: &MemoryLog, lost, topic: &str| log.gap(lost, &selection(topic));

    for n in 5..9 {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    assert_eq!(gap(&log, 2..5, "own").unwrap().missed, Some(3));
    assert_eq!(gap(&log, 2..5, "other"), None, "nothing was for it");
    assert_eq!(log.resume(&after(EPOCH, 1), &selection("other")).gap, None);

    log.append(&Event::message("9").on(topic("other")), Instant::now());
    for n in 10..15 {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    for topic in ["own", "other"] {
        assert_eq!(gap(&log, 5..11, topic).unwrap().missed, None, "{topic}");
        let placement = log.resume(&after(EPOCH, 7), &selection(topic));
        assert_eq!(placement.gap.unwrap().missed, None, "{topic}");
    }
    assert_eq!(gap(&log, 10..11, "own").unwrap().missed, Some(1));
}

#[test]
fn a_given_id_resumes_after_its_event_for_as_long_as_that_is_retained() {
    let log = log(keeping(4));
    let given = GivenId::parse("urn:x:1").unwrap();
    let from = ResumeFrom::AfterGiven(given.clone());
    log.append(&Event::message("0"), Instant::now());
    log.append(&Event::message("1").with_id(given), Instant::now());

    assert_eq!(position(&log, &from).cursor, 3);
    for n in 2..5 {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    assert_eq!(position(&log, &from).gap, None);
    log.append(&Event::message("5"), Instant::now());
    let gap = position(&log, &from).gap.unwrap();
    assert_eq!(
        (gap.reason, gap.requested),
        (GapReason::Unknown, "urn:x:1".into())
    );
}

#[test]
fn an_event_that_was_stored_with_an_id_like_the_hubs_hides_no_gap() {
    let log = log(keeping(4));
    let given = GivenId::stored("999-7");
    log.append(&Event::message("0").with_id(given), Instant::now());

    let placement = position(&log, &after(999, 7));

    assert_eq!(placement.cursor, 1);
    assert_eq!(placement.gap.unwrap().reason, GapReason::Epoch);
}

#[test]
fn only_so_many_are_looked_at_and_those_not_taken_count_no_bytes() {
    let log = log_with(10, keeping(10));
    let portion = Portion {
        bytes: 1,
        topics: 6,
    };
    let mut looked_at = 0;

    let none = log.read(ReadFrom::everything(1), portion, |_| {
        looked_at += 1;
        false
    });
    let one = log.read(ReadFrom::everything(1), portion, |_| true);

    assert_eq!((none, looked_at), (Read::Events { end: 7 }, 6));
    assert_eq!(one, Read::Events { end: 2 });
}

#[test]
fn what_is_looked_at_of_events_is_their_topics() {
    let log = log(keeping(10));
    let topics = ["a", "b", "c", "d"].map(|topic| Topic::parse(topic).unwrap());
    for _ in 0..10 {
        let event = topics
            .iter()
            .fold(Event::message("x"), |event, topic| event.on(topic.clone()));
        log.append(&event, Instant::now());
    }

    for (topics, events) in [(1, 1), (4, 1), (5, 2), (9, 3), (400, 10)] {
        let portion = Portion { bytes: 1, topics };
        assert_eq!(
            log.read(ReadFrom::everything(1), portion, |_| false),
            Read::Events { end: 1 + events }
        );
    }
}

proptest! {
    #[test]
    fn reading_to_the_head_gives_each_retained_event_once_in_order(
        events in 0..200_u64,
        keep in 1..100_usize,
        start in 1..200_u64,
        max_bytes in 1..2000_usize,
    ) {
        let log = log_with(events, keeping(keep));
        let mut cursor = start;
        let mut got = Vec::new();
        let mut missed = 0;

        loop {
            match read(&log, cursor, max_bytes, |entry| got.push(entry.frame.clone())) {
                Read::Events { end } => cursor = end,
                Read::PresenceEvicted { .. } => panic!("there is no presence"),
                Read::Evicted { oldest } => {
                    let gap = log.gap(cursor..oldest, &selection("own")).unwrap();
                    missed += gap.missed.unwrap();
                    cursor = oldest;
                }
                Read::Missing => panic!("nothing is missing"),
                Read::Head => break,
            }
        }

        let end = events + 1;
        let first = start.max(end.saturating_sub(keep as u64));
        let expected: Vec<_> = (first..end)
            .map(|n| wire::event(log.id(n), &Event::message(n.to_string())))
            .collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(missed, first.min(end).saturating_sub(start));
    }
}
