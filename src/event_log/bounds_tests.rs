//! Tests that the bounds of a log in memory cover everything in it, and that presence events evict no other
//! events.

use proptest::prelude::*;
use std::time::{Duration, Instant};

use super::tests::{keeping, selection, topic};
use super::*;
use crate::{
    event::{Audience, Event, EventName, GapReason, GivenId, ResumeFrom, Since, Topic},
    matching::{HubUrl, Matcher, Selection},
};

const EPOCH: u64 = 1000;

fn log(retention: Retention) -> MemoryLog {
    MemoryLog::new(EPOCH, retention, topic("own"))
}

fn presence() -> Event {
    let mut event = Event::of_hub("{}".to_owned());
    event.audience = Some(Audience {
        topics: vec![topic("/.well-known/mercure/subscriptions/exact/a/b")],
        private: true,
    });
    event
}

fn append(log: &MemoryLog, event: &Event) -> u64 {
    log.append(event, Instant::now()).seq
}

/// Reads from this start until no more events can be read. Returns their positions and the result of the last
/// read.
fn read_from(log: &MemoryLog, from: ReadFrom) -> (Vec<u64>, Read) {
    let (mut from, mut positions) = (from, Vec::new());
    let portion = Portion {
        bytes: usize::MAX,
        topics: 3,
    };
    loop {
        let read = log.read(from, portion, |entry| {
            positions.push(entry.position);
            true
        });
        match read {
            Read::Events { end } => from.cursor = end,
            end => return (positions, end),
        }
    }
}

#[test]
fn the_byte_bound_covers_topics_ids_and_names() {
    let long = |n: usize| Topic::parse(format!("{n:04}").repeat(1000)).unwrap();
    let topics = (0..100).fold(Event::message("x"), |event, n| event.on(long(n)));
    let id = GivenId::parse(&"x".repeat(255)).unwrap();
    let name = EventName::parse("x".repeat(256)).unwrap();
    for (event, at_least) in [
        (Event::message(""), 1),
        (topics, 400_000),
        (Event::message("x").with_id(id), 255),
        (Event::message("x").named(name), 256),
    ] {
        let log = log(keeping(10));
        append(&log, &event);
        let one = log.extent().bytes;
        assert!(
            (at_least..2 * at_least + 2000).contains(&one),
            "{one} {at_least}"
        );

        // The bound in bytes includes evicted events that connected subscribers may still read.
        let retention = Retention {
            bytes: 5 * one,
            queue: 100,
            values: ValueRetention::default(),
            ..keeping(10_000)
        };
        let log = self::log(retention);
        for _ in 0..50 {
            append(&log, &event);
            assert!(log.extent().bytes <= 5 * one);
        }
        assert!((4..=5).contains(&log.extent().events));
    }
}

#[test]
fn presence_events_evict_no_other_events() {
    let retention = Retention {
        presence: 3,
        ..keeping(100)
    };
    let log = log(retention);
    let first = append(&log, &Event::message("1"));
    for _ in 0..1000 {
        append(&log, &presence());
    }
    let last = append(&log, &Event::message("2"));

    let unaware = ReadFrom {
        cursor: first,
        presence: u64::MAX,
    };
    let (positions, end) = read_from(&log, unaware);
    assert_eq!(
        (positions, end),
        (vec![1, 999, 1000, 1001, 1002], Read::Head)
    );
    assert_eq!((log.extent().events, last), (5, 1002));
    assert_eq!(log.id(last).seq, 1002);

    let (positions, end) = read_from(&log, ReadFrom::everything(first));
    assert_eq!(
        (positions, end),
        (vec![], Read::PresenceEvicted { before: 999 })
    );
    let gap = log.gap_of_presence(first);
    assert_eq!((gap.reason, gap.missed), (GapReason::Evicted, None));
    assert_eq!(gap.resumed_after, log.id_before(first));

    // A subscriber that resumes before the evicted presence events, or at one of them, misses no other event.
    for seq in [1, 2, 500, 998, 1001] {
        let from = ResumeFrom::from(log.id(seq));
        let point = log.resume(&from, &selection("own"));
        assert_eq!((point.cursor, point.gap), (seq + 1, None));
    }
}

#[test]
fn a_stream_that_begins_before_evicted_presence_events_begins_with_a_gap() {
    let retention = Retention {
        presence: 1,
        queue: 1,
        ..keeping(100)
    };
    let log = log(retention);
    let ago = |seconds| Instant::now() - Duration::from_secs(seconds);
    log.append(&Event::message("1"), ago(100));
    for seconds in [80, 60, 40] {
        log.append(&presence(), ago(seconds));
    }
    let hub = HubUrl::parse("https://hub.example/.well-known/mercure").unwrap();
    let own = || vec![Matcher::exact(&topic("own"))];
    let all = Matcher::compile(crate::matching::MatcherText::wildcard(), &hub).unwrap();
    let without = Selection::new(hub.clone(), own(), Vec::new());
    let with = Selection::new(hub, vec![all.clone()], vec![all]);
    let gap = |seconds, selection: &Selection| {
        let since = Since::Age(Duration::from_secs(seconds));
        let point = log.resume(&ResumeFrom::Since(since), selection);
        point.gap.map(|gap| gap.reason)
    };

    assert_eq!(gap(70, &with), Some(GapReason::Evicted));
    assert_eq!(gap(70, &without), None);
    assert_eq!(gap(50, &with), None);
    // The subscriber then reads from the first event on, and receives the gap before the presence events.
    assert_eq!(gap(110, &with), None);
}

#[test]
fn presence_is_evicted_first_where_memory_is_short() {
    let one = {
        let log = log(keeping(10));
        append(&log, &presence());
        log.extent().bytes
    };
    let retention = Retention {
        bytes: 20 * one,
        ..keeping(100)
    };
    let log = log(retention);
    let first = append(&log, &Event::message("1"));
    for _ in 0..100 {
        append(&log, &presence());
    }
    for _ in 0..10 {
        append(&log, &Event::message("2"));
    }

    assert_eq!(log.extent().oldest, first);
    assert!(log.extent().bytes <= 20 * one);

    // The reverse: other events do not evict all presence events.
    for _ in 0..1000 {
        append(&log, &Event::message("2"));
        append(&log, &presence());
    }
    let Extent { events, oldest, .. } = log.extent();
    let kept = log.next() - oldest.max(log.oldest_presence());
    assert!(kept >= 2 && events >= 10, "{kept} {events}");
}

#[test]
fn a_selection_may_select_presence_only_with_a_grant_and_a_matcher_that_can_match() {
    let hub = HubUrl::parse("https://hub.example/.well-known/mercure").unwrap();
    let matcher = |kind, text: &str| {
        let written = crate::matching::MatcherText::parse(kind, text, 200).unwrap();
        Matcher::compile(written, &hub).unwrap()
    };
    let may = |kind, received: &str| {
        let all = vec![Matcher::compile(crate::matching::MatcherText::wildcard(), &hub).unwrap()];
        let received = vec![matcher(kind, received)];
        let with_grant = Selection::new(hub.clone(), received.clone(), all);
        let without = Selection::new(hub.clone(), received, Vec::new());
        assert!(!without.may_select_presence());
        with_grant.may_select_presence()
    };
    let list = "/.well-known/mercure/subscriptions";
    use crate::matching::MatcherType::{Exact, Selector, UrlPattern};

    assert!(may(Exact, "*"));
    assert!(may(Exact, &format!("{list}/exact/a/b")));
    assert!(!may(Exact, "/books/1") && !may(Exact, list));
    assert!(may(UrlPattern, &format!("{list}/:type/:match/:subscriber")));
    assert!(may(UrlPattern, &format!("{list}/exact/a/b")));
    assert!(may(
        UrlPattern,
        &format!("https://hub.example{list}/exact/*")
    ));
    assert!(may(UrlPattern, "/*") && may(UrlPattern, "/:a/mercure/*"));
    assert!(!may(UrlPattern, "/books/:id") && !may(UrlPattern, "/books/1"));
    assert!(!may(UrlPattern, "https://other.example/*"));
    assert!(may(Selector, &format!("{list}{{/topic}}{{/subscriber}}")));
    assert!(!may(Selector, "/books/{id}"));
}

proptest! {
    /// For any order of events, each event is read once and in order, unless a read reported that events, or
    /// presence events, are missing.
    #[test]
    fn events_and_presence_are_read_once_and_in_order(
        kinds in proptest::collection::vec(any::<bool>(), 0..200),
        keep in 1..60_usize,
        keep_presence in 1..20_usize,
        start in 1..200_u64,
    ) {
        let retention = Retention { presence: keep_presence, ..keeping(keep) };
        let log = log(retention);
        for is_presence in &kinds {
            let event = if *is_presence { presence() } else { Event::message("x") };
            append(&log, &event);
        }
        let is_presence = |position: &u64| kinds[*position as usize - 1];
        let mut from = ReadFrom::everything(start);
        let (mut got, mut lost, mut lost_presence) = (Vec::new(), start, start);
        loop {
            let (positions, end) = read_from(&log, from);
            got.extend(positions);
            match end {
                Read::Evicted { oldest } => (from.cursor, lost) = (oldest, oldest),
                Read::PresenceEvicted { before } => {
                    (from.presence, lost_presence) = (before, before);
                    from.cursor = got.last().map_or(from.cursor, |last| last + 1);
                }
                Read::Head => break,
                other => panic!("{other:?}"),
            }
        }
        let all: Vec<_> = (start..=kinds.len() as u64).collect();
        let (presence, events): (Vec<_>, Vec<_>) = all.into_iter().partition(is_presence);
        let (got_presence, got_events): (Vec<_>, Vec<_>) = got.iter().copied().partition(is_presence);
        prop_assert!(got.is_sorted());
        let expected: Vec<_> = events.into_iter().filter(|position| *position >= lost).collect();
        prop_assert_eq!(got_events, expected);
        let mut expected = presence.into_iter().filter(|position| *position >= lost.max(lost_presence));
        prop_assert!(expected.all(|position| got_presence.contains(&position)));
        let kept = log.extent().events;
        prop_assert!(kept <= keep + keep_presence);
    }
}
