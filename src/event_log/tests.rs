//! Tests the guarantees of the log in memory.

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

/// The selection of a subscriber with an exact matcher for this topic.
pub(super) fn selection(topic: &str) -> Selection {
    let hub = HubUrl::parse("http://localhost/.well-known/mercure").unwrap();
    let matcher = Matcher::exact(&Topic::parse(topic).unwrap());
    Selection::new(hub, vec![matcher], Vec::new())
}

fn position(log: &MemoryLog, from: &ResumeFrom) -> ResumePoint<u64> {
    log.resume(from, &selection("own"))
}

/// Reads at most this number of bytes, or a single larger event, and accepts every event.
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
        values: ValueRetention::default(),
    }
}

fn after(epoch: u64, seq: u64) -> ResumeFrom {
    EventId { epoch, seq }.into()
}

#[test]
fn numbers_count_from_one_without_a_jump() {
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
        let point = position(&log, &after(EPOCH, seq));

        assert_eq!(
            point,
            ResumePoint {
                cursor: seq + 1,
                is_announced: true,
                gap: None
            }
        );
    }
}

#[test]
fn an_id_that_is_not_retained_resumes_at_the_oldest_event_after_a_gap() {
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
        let point = position(&log, &from);

        assert_eq!(
            point,
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
fn a_gap_in_an_empty_log_resumes_before_the_first_event() {
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
fn a_reader_of_evicted_events_receives_a_gap() {
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
fn only_connected_subscribers_may_read_evicted_events() {
    let retention = Retention {
        queue: 6,
        values: ValueRetention::default(),
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
fn the_extent_has_the_time_of_the_oldest_retained_event() {
    let start = Instant::now();
    let log = log(keeping(2));
    assert_eq!(log.extent().since, None);

    for seconds in 0..3 {
        log.append(&Event::message("x"), start + Duration::from_secs(seconds));
    }

    assert_eq!(log.extent().since, Some(start + Duration::from_secs(1)));
}

#[test]
fn missed_events_are_counted_if_their_audience_is_known() {
    let log = log_with(4, keeping(4));
    let gap = |log: &MemoryLog, lost, topic: &str| log.gap(lost, &selection(topic));

    for n in 5..9 {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    assert_eq!(gap(&log, 2..5, "own").unwrap().missed, Some(3));
    assert_eq!(gap(&log, 2..5, "other"), None, "it was for another topic");
    assert_eq!(log.resume(&after(EPOCH, 1), &selection("other")).gap, None);

    log.append(&Event::message("9").on(topic("other")), Instant::now());
    for n in 10..15 {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    for topic in ["own", "other"] {
        assert_eq!(gap(&log, 5..11, topic).unwrap().missed, None, "{topic}");
        let point = log.resume(&after(EPOCH, 7), &selection(topic));
        assert_eq!(point.gap.unwrap().missed, None, "{topic}");
    }
    assert_eq!(gap(&log, 10..11, "own").unwrap().missed, Some(1));
}

#[test]
fn a_given_id_resumes_after_its_event_while_the_event_is_retained() {
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
fn a_stored_given_id_that_looks_like_an_event_id_hides_no_gap() {
    let log = log(keeping(4));
    let given = GivenId::stored("999-7");
    log.append(&Event::message("0").with_id(given), Instant::now());

    let point = position(&log, &after(999, 7));

    assert_eq!(point.cursor, 1);
    assert_eq!(point.gap.unwrap().reason, GapReason::Epoch);
}

#[test]
fn a_read_checks_a_limited_number_of_events_and_counts_the_bytes_of_accepted_ones() {
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
fn the_limit_of_a_read_counts_the_topics_of_events() {
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
