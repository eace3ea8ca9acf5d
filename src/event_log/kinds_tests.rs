//! Tests the guarantees of every log kind.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::{TempDir, tempdir};

use self::server::Redis;
use super::tests::{keeping, selection, topic};
use super::*;
use crate::{
    event::{Event, EventId, EventName, Frame, GapReason, GivenId},
    matching::Selection,
    metrics::Metrics,
};

#[path = "../../tests/support/redis.rs"]
#[allow(unreachable_pub, dead_code, reason = "each test uses only a part")]
mod server;

pub(super) fn file(folder: &TempDir, sync_interval: Option<Duration>) -> LogKind {
    let path = folder.path().join("events.redb");
    LogKind::File {
        path,
        sync_interval,
    }
}

pub(super) const WITHIN: Option<Duration> = Some(Duration::from_millis(1));

/// The folder or the Redis server of a log. Dropping it removes the log.
pub(super) type Home = Box<dyn std::any::Any>;

/// Each log kind, with the folder or the Redis server of the log.
pub(super) fn kinds() -> Vec<(LogKind, Home)> {
    let in_file = |sync| {
        let folder = tempdir().unwrap();
        (file(&folder, sync), Box::new(folder) as Home)
    };
    let redis = Redis::start();
    vec![
        (LogKind::Memory, Box::new(())),
        in_file(None),
        in_file(WITHIN),
        (in_redis(&redis), Box::new(redis)),
    ]
}

fn in_redis(redis: &Redis) -> LogKind {
    LogKind::Redis(RedisSettings {
        url: RedisUrl::parse(&redis.url()).unwrap(),
        prefix: "test".to_owned(),
        events: 10_000,
        age: None,
    })
}

pub(super) fn listener(metrics: &Arc<Metrics>) -> Listener {
    Listener {
        metrics: metrics.clone(),
        notify: Box::new(|| ()),
    }
}

pub(super) fn opened(kind: &LogKind, retention: Retention) -> Opened {
    opened_with(kind, retention, PublishSettings::default())
}

pub(super) fn opened_with(
    kind: &LogKind,
    retention: Retention,
    publishing: PublishSettings,
) -> Opened {
    let listener = listener(&Arc::default());
    open(kind.clone(), retention, topic("own"), publishing, listener).unwrap()
}

/// Appends an event, waits until it can be read from memory, and returns its id.
pub(super) fn append(log: &Opened, event: Event) -> EventId {
    let (done, later) = tokio::sync::oneshot::channel();
    log.appender
        .append(Append::new(event, Some(Ack::One(done))));
    let id = later.blocking_recv().unwrap().unwrap().id;
    while newest(log).is_none_or(|newest| newest < id) {
        std::thread::yield_now();
    }
    id
}

fn newest(log: &Opened) -> Option<EventId> {
    log.memory.id_before(log.memory.next())
}

pub(super) fn append_numbers(log: &Opened, numbers: std::ops::Range<u64>) -> Vec<EventId> {
    let event = |n: u64| Event::message(n.to_string());
    numbers.map(|n| append(log, event(n))).collect()
}

/// Ends the writer thread of a log in a file, so that the file can be opened again.
pub(super) fn close(log: Opened) {
    let memory = log.memory.clone();
    drop(log);
    // The writer thread has the only other references to this memory, and drops them when it ends.
    while Arc::strong_count(&memory) > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The events from this number on, as sent to a subscriber that selects all of them.
pub(super) fn sent(log: &Opened, from: u64) -> Vec<Frame> {
    let all = Portion {
        bytes: usize::MAX,
        topics: usize::MAX,
    };
    let mut frames = Vec::new();
    log.memory.read(ReadFrom::everything(from), all, |entry| {
        frames.push(entry.frame.clone());
        true
    });
    frames
}

pub(super) fn own() -> Selection {
    selection("own")
}

pub(super) fn some_of_each() -> Vec<Event> {
    vec![
        Event::message("Message number: 0"),
        Event::message("two\nlines").on(topic("a")).on(topic("b")),
        Event::message("x").with_id(GivenId::parse("urn:1").unwrap()),
        Event::message("")
            .named(EventName::parse("added").unwrap())
            .with_retry(5),
    ]
}

#[test]
fn an_appended_event_leaves_the_queue() {
    for (kind, _home) in kinds() {
        let log = opened(&kind, keeping(10));

        append(&log, Event::message("x"));

        while log.appender.queued_bytes() > 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn numbers_count_up_in_the_order_of_appending() {
    for (kind, _folder) in kinds() {
        let log = opened(&kind, keeping(100));
        let ids = append_numbers(&log, 0..20);

        let first = ids[0];
        assert!(
            ids.iter().map(|id| id.seq).eq(first.seq..first.seq + 20),
            "{kind:?}"
        );
        assert!(ids.iter().all(|id| id.epoch == first.epoch));
        assert_eq!(newest(&log), ids.last().copied());
    }
}

#[test]
fn an_appended_event_is_notified_counted_and_readable() {
    for (kind, _folder) in kinds() {
        let (notify, notified) = std::sync::mpsc::channel();
        let metrics = Arc::<Metrics>::default();
        let listener = Listener {
            // Sending fails if the test no longer listens, which is not an error.
            notify: Box::new(move || notify.send(()).unwrap_or_default()),
            metrics: metrics.clone(),
        };
        let log = open(
            kind.clone(),
            keeping(100),
            topic("own"),
            PublishSettings::default(),
            listener,
        )
        .unwrap();
        let first = log.memory.next();
        let ids: Vec<_> = some_of_each()
            .into_iter()
            .map(|event| append(&log, event))
            .collect();

        let events = ids.into_iter().zip(some_of_each());
        let frames: Vec<_> = events
            .map(|(id, event)| crate::event::wire::event(id, &event))
            .collect();
        assert_eq!(sent(&log, first), frames, "{kind:?}");
        assert!(notified.try_iter().count() > 0);
        assert_eq!(metrics.events.get(), 4);
    }
}

#[test]
fn events_beyond_the_retention_are_evicted() {
    for (kind, _folder) in kinds() {
        let log = opened(&kind, keeping(5));
        let ids = append_numbers(&log, 0..12);

        let gap = log.memory.resume(&ids[2].into(), &own()).gap;
        assert_eq!(gap.unwrap().reason, GapReason::Evicted, "{kind:?}");
        assert_eq!(log.memory.id(log.memory.extent().oldest), ids[7]);
    }
}

#[test]
fn an_event_that_is_too_old_is_evicted_at_the_next_append() {
    for (kind, _folder) in kinds() {
        let retention = Retention {
            age: Some(Duration::from_millis(30)),
            ..keeping(100)
        };
        let log = opened(&kind, retention);
        append_numbers(&log, 0..3);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(31) {
            std::thread::yield_now();
        }

        let last = append_numbers(&log, 3..4)[0];

        assert_eq!(log.memory.id(log.memory.extent().oldest), last, "{kind:?}");
    }
}

#[test]
fn concurrent_appends_get_distinct_ids() {
    for (kind, _folder) in kinds() {
        let log = opened(&kind, keeping(10_000));
        let mut seqs: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| append_numbers(&log, 0..50)))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .map(|id| id.seq)
                .collect()
        });
        seqs.sort_unstable();

        let first = seqs[0];
        assert!(seqs.into_iter().eq(first..first + 400), "{kind:?}");
    }
}
