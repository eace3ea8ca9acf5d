//! Tests how every log kind recognizes updates that a publisher repeats.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{
    kinds_tests::{append, close, kinds, opened, opened_with},
    tests::{keeping, topic},
    *,
};
use crate::event::{Event, EventId, EventName, GivenId, Hash128, KeyedUpdate};

/// Publishes an event, with an idempotency key.
fn publish(log: &Opened, event: Event, key: Option<&str>) -> AppendResult {
    let (done, answer) = oneshot::channel();
    let key = key.map(|key| KeyedUpdate::new(Hash128::default(), key, &event));
    let mut append = Append::new(event, Some(Ack::One(done)));
    append.key = key.map(AppendKey::unregistered);
    log.appender.append(append);
    answer.blocking_recv().unwrap()
}

fn new(id: EventId) -> AppendResult {
    Ok(Appended {
        id,
        is_replay: false,
    })
}

fn replay(id: EventId) -> AppendResult {
    Ok(Appended {
        id,
        is_replay: true,
    })
}

fn given(id: &str, data: &str) -> Event {
    let id = GivenId::parse(id).unwrap();
    Event::message(data).on(topic("a")).with_id(id)
}

fn message(data: &str) -> Event {
    Event::message(data).on(topic("a"))
}

/// Waits until the log has this many events in memory.
fn wait_for(log: &Opened, events: u64, first: u64) {
    while log.memory.next() < first + events {
        std::thread::yield_now();
    }
    assert_eq!(log.memory.next(), first + events);
}

#[test]
fn an_id_with_the_same_content_is_not_appended_again() {
    for (kind, _home) in kinds() {
        let log = opened(&kind, keeping(10));
        let first = log.memory.next();
        let one = append(&log, given("1", "x"));
        let name = EventName::parse("n").unwrap();

        assert_eq!(
            publish(&log, given("1", "x"), None),
            replay(one),
            "{kind:?}"
        );
        assert_eq!(
            publish(&log, given("1", "x").with_retry(5), None),
            replay(one)
        );
        let mut others = Vec::new();
        for event in [
            given("1", "y"),
            given("1", "x").on(topic("b")),
            given("1", "x").named(name),
            given("2", "x"),
        ] {
            let other = publish(&log, event, None).unwrap();
            assert!(!other.is_replay, "{kind:?}");
            others.push(other.id);
        }
        assert_eq!(
            publish(&log, given("1", "y"), None),
            replay(others[0]),
            "{kind:?}"
        );
        assert_eq!(
            publish(&log, given("1", "x"), None),
            replay(one),
            "{kind:?}"
        );
        wait_for(&log, 5, first);
    }
}

#[test]
fn with_unique_ids_another_event_with_an_id_is_refused() {
    for (kind, _home) in kinds() {
        let publishing = PublishSettings {
            unique_ids: true,
            ..PublishSettings::default()
        };
        let log = opened_with(&kind, keeping(10), publishing);
        let one = append(&log, given("1", "x"));

        assert_eq!(
            publish(&log, given("1", "y"), None),
            Err(Refusal::IdTaken),
            "{kind:?}"
        );
        assert_eq!(
            publish(&log, given("1", "x"), None),
            replay(one),
            "{kind:?}"
        );
        assert!(publish(&log, given("2", "y"), None).is_ok());
        // A refused update leaves its key unused.
        assert_eq!(
            publish(&log, given("1", "z"), Some("k")),
            Err(Refusal::IdTaken)
        );
        assert!(
            !publish(&log, given("3", "z"), Some("k")).unwrap().is_replay,
            "{kind:?}"
        );
    }
}

#[test]
fn a_key_with_the_same_update_is_not_appended_again() {
    for (kind, _home) in kinds() {
        let log = opened(&kind, keeping(10));
        let first = log.memory.next();
        let one = publish(&log, message("x"), Some("k")).unwrap();
        assert!(!one.is_replay);

        assert_eq!(
            publish(&log, message("x"), Some("k")),
            replay(one.id),
            "{kind:?}"
        );
        assert_eq!(
            publish(&log, message("y"), Some("k")),
            Err(Refusal::KeyReused),
            "{kind:?}"
        );
        assert_eq!(
            publish(&log, given("1", "x"), Some("k")),
            Err(Refusal::KeyReused)
        );
        let two = publish(&log, message("x"), Some("l")).unwrap();
        assert!(!two.is_replay && two.id != one.id);
        assert!(!publish(&log, message("x"), None).unwrap().is_replay);
        wait_for(&log, 3, first);
        // The event is evicted, and the key is still known.
        for n in 0..20 {
            append(&log, message(&n.to_string()));
        }
        assert_eq!(
            publish(&log, message("x"), Some("k")),
            replay(one.id),
            "{kind:?}"
        );
    }
}

#[test]
fn a_key_that_came_with_a_repeated_id_is_remembered() {
    for (kind, _home) in kinds() {
        let log = opened(&kind, keeping(3));
        let one = append(&log, given("1", "x"));

        assert_eq!(
            publish(&log, given("1", "x"), Some("k")),
            replay(one),
            "{kind:?}"
        );
        for n in 0..10 {
            append(&log, message(&n.to_string()));
        }

        assert_eq!(
            publish(&log, given("1", "x"), Some("k")),
            replay(one),
            "{kind:?}"
        );
    }
}

#[test]
fn at_the_maximum_number_the_oldest_keys_are_forgotten() {
    for (kind, _home) in kinds() {
        let publishing = PublishSettings {
            idempotency_keys: 3,
            ..PublishSettings::default()
        };
        let log = opened_with(&kind, keeping(100), publishing);
        for key in ["1", "2", "3", "4", "5"] {
            assert!(!publish(&log, message("x"), Some(key)).unwrap().is_replay);
        }

        for key in ["3", "4", "5"] {
            assert!(
                publish(&log, message("x"), Some(key)).unwrap().is_replay,
                "{kind:?} {key}"
            );
        }
        assert!(
            !publish(&log, message("x"), Some("2")).unwrap().is_replay,
            "{kind:?}"
        );
    }
}

#[test]
fn a_key_is_forgotten_after_the_window() {
    for (kind, _home) in kinds() {
        let publishing = PublishSettings {
            idempotency_window: Duration::from_millis(30),
            ..PublishSettings::default()
        };
        let log = opened_with(&kind, keeping(100), publishing);
        assert!(!publish(&log, message("x"), Some("old")).unwrap().is_replay);
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(40) {
            std::thread::yield_now();
        }

        // Keys are forgotten when another one is used.
        assert!(!publish(&log, message("x"), Some("new")).unwrap().is_replay);
        assert!(
            !publish(&log, message("x"), Some("old")).unwrap().is_replay,
            "{kind:?}"
        );
    }
}

#[test]
fn equal_updates_that_arrive_together_are_appended_once() {
    for (kind, _home) in kinds() {
        let log = opened(&kind, keeping(100));
        let first = log.memory.next();
        let results: Vec<_> = std::thread::scope(|scope| {
            let publishers: Vec<_> = (0..8)
                .map(|n| {
                    let log = &log;
                    scope.spawn(move || {
                        let keyed = publish(log, message("x"), Some("k")).unwrap();
                        let with_id = publish(log, given("1", "y"), None).unwrap();
                        let other = publish(log, message("z"), Some(&n.to_string())).unwrap();
                        [keyed, with_id, other]
                    })
                })
                .collect();
            publishers
                .into_iter()
                .map(|publisher| publisher.join().unwrap())
                .collect()
        });

        for column in 0..2 {
            let ids: Vec<_> = results.iter().map(|result| result[column].id).collect();
            assert!(ids.iter().all(|id| *id == ids[0]), "{kind:?}: {ids:?}");
            let appended = results.iter().filter(|result| !result[column].is_replay);
            assert_eq!(appended.count(), 1, "{kind:?}");
        }
        assert!(results.iter().all(|result| !result[2].is_replay));
        wait_for(&log, 10, first);
    }
}

#[test]
fn a_batch_may_repeat_itself() {
    for (kind, _home) in kinds() {
        let log = opened(&kind, keeping(100));
        let first = log.memory.next();
        let (sender, mut answers) = tokio::sync::mpsc::unbounded_channel();
        let updates = [
            (message("x"), Some("k")),
            (message("x"), Some("k")),
            (message("y"), Some("k")),
            (given("1", "x"), None),
            (given("1", "x"), Some("l")),
            (given("1", "x"), Some("l")),
        ];
        let appends = updates.into_iter().zip(0..).map(|((event, key), number)| {
            let key = key.map(|key| KeyedUpdate::new(Hash128::default(), key, &event));
            let ack = NumberedAck::new(number, sender.clone());
            let mut append = Append::new(event, Some(Ack::OfMany(ack)));
            append.key = key.map(AppendKey::unregistered);
            append
        });

        log.appender.append_all(appends.collect());

        let mut results: Vec<_> = (0..6).map(|_| answers.blocking_recv().unwrap()).collect();
        results.sort_by_key(|(number, _)| *number);
        let results: Vec<_> = results.into_iter().map(|(_, result)| result).collect();
        let [one, two] = [results[0].unwrap().id, results[3].unwrap().id];
        assert_eq!(
            results,
            [
                new(one),
                replay(one),
                Err(Refusal::KeyReused),
                new(two),
                replay(two),
                replay(two)
            ],
            "{kind:?}"
        );
        wait_for(&log, 2, first);
    }
}

#[test]
fn keys_and_ids_survive_a_restart() {
    for (kind, _home) in kinds() {
        if kind == LogKind::Memory {
            continue;
        }
        let log = opened(&kind, keeping(10));
        let key = publish(&log, message("x"), Some("k")).unwrap().id;
        let id = publish(&log, given("1", "y"), None).unwrap().id;
        let before = log.appender.remembered_keys().0;
        close(log);

        let log = opened(&kind, keeping(10));

        assert_eq!(
            publish(&log, message("x"), Some("k")),
            replay(key),
            "{kind:?}"
        );
        assert_eq!(publish(&log, given("1", "y"), None), replay(id), "{kind:?}");
        assert_eq!(
            publish(&log, message("z"), Some("k")),
            Err(Refusal::KeyReused)
        );
        if !matches!(kind, LogKind::Redis(_)) {
            assert_eq!((before, log.appender.remembered_keys().0), (1, 1));
        }
    }
}
