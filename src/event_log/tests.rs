//! What an event log promises.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    event::{Event, EventId},
    gap::{Gap, GapReason},
    resume::ResumeFrom,
    wire,
};

const EPOCH: u64 = 1000;

fn log_with(events: u64, retention: Retention) -> MemoryLog {
    let log = MemoryLog::new(EPOCH, retention);
    for n in 0..events {
        log.append(&Event::message(n.to_string()), Instant::now());
    }
    log
}

fn keeping(events: usize) -> Retention {
    Retention {
        events,
        bytes: usize::MAX,
        queue: 1,
    }
}

fn after(epoch: u64, seq: u64) -> ResumeFrom {
    ResumeFrom::After(EventId { epoch, seq })
}

#[test]
fn numbers_count_from_zero_without_holes() {
    let log = MemoryLog::new(EPOCH, keeping(2));

    let numbers: Vec<_> = (0..5)
        .map(|_| log.append(&Event::message("x"), Instant::now()).seq)
        .collect();

    assert_eq!(numbers, [0, 1, 2, 3, 4]);
}

#[test]
fn a_new_subscriber_starts_at_the_head_and_earliest_at_the_oldest() {
    let log = log_with(10, keeping(4));

    assert_eq!(log.place(&ResumeFrom::Now).cursor, 10);
    assert_eq!(log.place(&ResumeFrom::Earliest).cursor, 6);
    assert_eq!(log.place(&ResumeFrom::Earliest).gap, None);
}

#[test]
fn every_retained_id_and_the_one_before_resume_without_a_gap() {
    let log = log_with(10, keeping(4));

    for seq in 5..10 {
        let placement = log.place(&after(EPOCH, seq));

        assert_eq!(
            placement,
            Placement {
                cursor: seq + 1,
                gap: None
            }
        );
    }
}

#[test]
fn what_cannot_be_placed_gets_everything_and_the_reason() {
    let log = log_with(10, keeping(4));
    let cases = [
        (after(EPOCH, 4), GapReason::Evicted, "1000-4", Some(1)),
        (after(EPOCH, 0), GapReason::Evicted, "1000-0", Some(5)),
        (after(EPOCH, 10), GapReason::Unknown, "1000-10", None),
        (
            after(EPOCH, u64::MAX),
            GapReason::Unknown,
            "1000-18446744073709551615",
            None,
        ),
        (after(EPOCH - 1, 7), GapReason::Epoch, "999-7", None),
        (after(EPOCH + 1, 7), GapReason::Epoch, "1001-7", None),
        (
            ResumeFrom::Unknown("?".into()),
            GapReason::Unknown,
            "?",
            None,
        ),
    ];
    for (from, reason, requested, missed) in cases {
        let placement = log.place(&from);

        assert_eq!(
            placement,
            Placement {
                cursor: 6,
                gap: Some(Gap {
                    reason,
                    requested: requested.into(),
                    resumed_after: Some(log.id(5)),
                    missed,
                }),
            }
        );
    }
}

#[test]
fn nothing_evicted_means_resuming_before_the_first() {
    let log = log_with(0, keeping(4));

    let gap = log.place(&after(1, 1)).gap.unwrap();

    assert_eq!(gap.resumed_after, None);
}

#[test]
fn the_byte_bound_evicts_too_but_never_the_newest() {
    let log = MemoryLog::new(
        EPOCH,
        Retention {
            events: 100,
            bytes: 200,
            queue: 1,
        },
    );

    for _ in 0..10 {
        log.append(&Event::message("x".repeat(60)), Instant::now());
    }
    let small = log.extent();
    log.append(&Event::message("x".repeat(1000)), Instant::now());
    let large = log.extent();

    assert!(
        small.bytes <= 200 && small.next - small.oldest == 2,
        "{small:?}"
    );
    assert_eq!((large.oldest, large.next), (10, 11));
}

#[test]
fn a_reader_that_fell_out_is_told_what_it_lost() {
    let log = log_with(10, keeping(4));

    assert_eq!(
        log.read(2, 100, |_| ()),
        Read::Evicted {
            cursor: 6,
            gap: Gap {
                reason: GapReason::Evicted,
                requested: "1000-1".into(),
                resumed_after: Some(log.id(5)),
                missed: Some(4),
            },
        }
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

    let read = log.read(4, usize::MAX, |entry| numbers.push(entry.frame.clone()));
    let evicted = log.read(3, usize::MAX, |_| ());

    assert_eq!(read, Read::Events(6));
    assert_eq!(numbers[0], wire::event(log.id(4), &Event::message("4")));
    assert!(matches!(evicted, Read::Evicted { cursor: 4, .. }));
    assert_eq!(log.place(&ResumeFrom::Earliest).cursor, 6);
    assert_eq!(log.extent().oldest, 6);
    assert!(log.place(&after(EPOCH, 4)).gap.is_some());
}

#[test]
fn an_event_larger_than_a_batch_is_read_whole() {
    let log = MemoryLog::new(EPOCH, keeping(4));
    let event = Event::message("x".repeat(1000));
    let id = log.append(&event, Instant::now());
    let mut frames = Vec::new();

    let read = log.read(0, 10, |entry| frames.push(entry.frame.clone()));

    assert_eq!(read, Read::Events(1));
    assert_eq!(frames, [wire::event(id, &event)]);
}

#[test]
fn the_age_of_the_oldest_is_that_of_what_is_retained() {
    let start = Instant::now();
    let log = MemoryLog::new(EPOCH, keeping(2));
    assert_eq!(log.extent().since, None);

    for seconds in 0..3 {
        log.append(&Event::message("x"), start + Duration::from_secs(seconds));
    }

    assert_eq!(log.extent().since, Some(start + Duration::from_secs(1)));
}

proptest! {
    #[test]
    fn reading_to_the_head_gives_each_retained_event_once_in_order(
        events in 0..200_u64,
        keep in 1..100_usize,
        start in 0..200_u64,
        max_bytes in 1..2000_usize,
    ) {
        let log = log_with(events, keeping(keep));
        let mut cursor = start;
        let mut got = Vec::new();
        let mut missed = 0;

        loop {
            match log.read(cursor, max_bytes, |entry| got.push(entry.frame.clone())) {
                Read::Events(events) => cursor += events,
                Read::Evicted { cursor: oldest, gap } => {
                    missed += gap.missed.unwrap();
                    cursor = oldest;
                }
                Read::Head => break,
            }
        }

        let first = start.max(events.saturating_sub(keep as u64));
        let expected: Vec<_> = (first..events)
            .map(|n| wire::event(log.id(n), &Event::message(n.to_string())))
            .collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(missed, first.min(events).saturating_sub(start));
    }
}
