//! Tests the log in memory with holes, which are points where events are missing.

use super::tests::{keeping, read, selection, topic};
use super::*;
use crate::event::{Event, EventId, Gap, GapReason};
use std::time::Instant;

fn event_id(epoch: u64, seq: u64) -> EventId {
    EventId { epoch, seq }
}

/// A log with the events 5-3 and 5-4, then 6-1 without missing events, then 6-9 after missing events.
fn log_with_a_hole(retention: Retention) -> MemoryLog {
    let log = MemoryLog::starting_at(event_id(5, 3), retention, topic("own"));
    let append = |n: u64| log.append(&Event::message(n.to_string()), Instant::now());
    assert_eq!([append(0), append(1)], [event_id(5, 3), event_id(5, 4)]);
    log.begin_span(event_id(6, 1));
    assert_eq!(append(2), event_id(6, 1));
    log.begin_span_after_hole(event_id(6, 9), None);
    assert_eq!(append(3), event_id(6, 9));
    log
}

#[test]
fn a_reader_at_a_hole_receives_a_gap_and_continues_after_the_hole() {
    let log = log_with_a_hole(keeping(100));
    let from = log.resume(&event_id(5, 3).into(), &selection("own"));
    assert_eq!((from.cursor, from.gap), (4, None));
    let mut ids = Vec::new();

    assert_eq!(
        read(&log, 4, usize::MAX, |entry| ids.push(entry.clone())),
        Read::Events { end: 6 }
    );
    assert_eq!(read(&log, 6, usize::MAX, |_| ()), Read::Missing);
    let gap = log.gap(6..7, &selection("own")).unwrap();
    assert_eq!(read(&log, 7, usize::MAX, |_| ()), Read::Events { end: 8 });

    assert_eq!(ids.len(), 2);
    assert_eq!(
        gap,
        Gap::new(GapReason::Evicted, &"#6-1", Some(event_id(6, 8)), None)
    );
    log.begin_span_after_hole(event_id(7, 1), None);
    let gap = log.gap(8..9, &selection("own")).unwrap();
    assert_eq!(
        gap,
        Gap::new(GapReason::Epoch, &"#6-9", Some(event_id(7, 0)), None)
    );
    assert_eq!(log.id_before(log.next()), Some(event_id(7, 0)));
}

#[test]
fn a_subscriber_that_resumes_at_a_hole_receives_a_gap() {
    let log = log_with_a_hole(keeping(100));

    let before = log.resume(&event_id(6, 1).into(), &selection("own"));
    assert_eq!(before.gap.unwrap().reason, GapReason::Evicted);
    for unknown in [event_id(6, 4), event_id(5, 5), event_id(6, 10)] {
        let point = log.resume(&unknown.into(), &selection("own"));
        assert!(point.gap.is_some(), "{unknown}");
        assert_eq!(log.cursor_after(unknown, &selection("own")), None);
    }
    let behind = log.resume(&event_id(6, 8).into(), &selection("own"));
    assert_eq!((behind.cursor, behind.gap), (7, None));
}

#[test]
fn a_hole_is_not_retained_as_an_event() {
    let log = log_with_a_hole(keeping(1));

    assert_eq!(log.extent().oldest, 7);
    assert_eq!(log.id(7), event_id(6, 9));
    log.begin_span_after_hole(event_id(7, 1), None);
    log.append(&Event::message("4"), Instant::now());
    assert_eq!((log.extent().oldest, log.id(9)), (9, event_id(7, 1)));
}
