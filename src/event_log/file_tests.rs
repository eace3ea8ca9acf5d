//! Tests the guarantees of a log in a file, beyond those of every log kind.

use std::{path::Path, sync::Arc, time::Duration};

use tempfile::tempdir;
use tokio::sync::oneshot;

use super::*;
use super::{
    file::FileStore,
    kinds_tests::{
        WITHIN, append, append_numbers, close, file, listener, opened, own, sent, some_of_each,
    },
    tests::{keeping, topic},
};
use crate::event::{Event, GapReason, GivenId, ResumeFrom, Since};

fn tick_later(log: &Opened, number: u64) -> oneshot::Receiver<AppendResult> {
    let (done, appended) = oneshot::channel();
    let event = Event::tick(number, number.to_string());
    log.appender
        .append(Append::new(event, Some(Ack::One(done))));
    appended
}

/// Appends the ticker's message with this number. Returns whether the log accepted it.
fn tick(log: &Opened, number: u64) -> bool {
    tick_later(log, number).blocking_recv().unwrap().is_ok()
}

#[test]
fn a_reopened_file_continues_where_it_ended() {
    for sync in [None, WITHIN] {
        let folder = tempdir().unwrap();
        let kind = file(&folder, sync);
        let log = opened(&kind, keeping(100));
        for event in some_of_each() {
            append(&log, event);
        }
        assert!(tick(&log, 0));
        let (before, epoch) = (sent(&log, 1), log.memory.epoch());
        close(log);

        let log = opened(&kind, keeping(100));

        assert_eq!(sent(&log, 1), before);
        assert_eq!((log.memory.epoch(), log.memory.ticks()), (epoch, 1));
        let given = ResumeFrom::AfterGiven(GivenId::parse("urn:1").unwrap());
        assert_eq!(log.memory.resume(&given, &own()).cursor, 4);
        assert_eq!(append(&log, Event::message("next")).seq, 6);
    }
}

#[test]
fn a_numbered_message_out_of_order_is_refused() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let log = opened(&kind, keeping(100));

    let accepted = [0, 1, 1, 3, 2, 0].map(|number| tick(&log, number));
    let together: Vec<_> = [3, 5, 4]
        .into_iter()
        .map(|number| tick_later(&log, number))
        .collect();
    let together = together
        .into_iter()
        .map(|later| later.blocking_recv().unwrap());

    assert_eq!(accepted, [true, true, false, false, true, false]);
    let together: Vec<_> = together.map(|accepted| accepted.is_ok()).collect();
    assert_eq!(together, [true, false, true]);
    close(log);
    assert_eq!(opened(&kind, keeping(100)).memory.ticks(), 5);
}

/// A transaction that appends nothing to a file whose next event has the number `first`.
fn empty_batch(first: u64) -> file::Batch<'static> {
    file::Batch {
        first,
        records: &[],
        evicted: 0..0,
        evicted_presence: &[],
        ticks: 0,
        unsynced: false,
        keys: file::KeyBatch {
            first: 0,
            used: &[],
            forgotten: 0..0,
        },
        values: file::ValueBatch::default(),
        evicted_at: None,
    }
}

#[test]
fn a_file_that_an_older_version_wrote_may_lack_events_since_a_time() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let log = opened(&kind, keeping(100));
    append_numbers(&log, 0..5);
    close(log);
    let mut store = FileStore::open_again(&folder.path().join("events.redb")).unwrap();
    let eviction = file::Batch {
        evicted: 1..4,
        ..empty_batch(6)
    };
    store.commit(eviction, true).unwrap();
    drop(store);

    let log = opened(&kind, keeping(100));

    let since = |age| ResumeFrom::Since(Since::Age(age));
    let gap = |from| log.memory.resume(&from, &own()).gap.map(|gap| gap.reason);
    let hour = Duration::from_secs(3600);
    assert_eq!(gap(since(hour)), Some(GapReason::Evicted));
    assert_eq!(gap(since(Duration::ZERO)), None);
}

#[test]
fn a_file_that_may_have_lost_events_begins_a_new_epoch() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, WITHIN);
    let log = opened(&kind, keeping(100));
    let last = append_numbers(&log, 0..3)[2];
    close(log);
    let again = opened(&kind, keeping(100));
    assert_eq!(again.memory.epoch(), last.epoch);
    close(again);
    let path = folder.path().join("events.redb");
    let mut store = FileStore::open_again(&path).unwrap();
    let crashed = file::Batch {
        unsynced: true,
        ..empty_batch(4)
    };
    store.commit(crashed, true).unwrap();
    drop(store);

    let log = opened(&kind, keeping(100));

    assert!(log.memory.epoch() > last.epoch);
    let point = log.memory.resume(&last.into(), &own());
    assert_eq!(point.gap.unwrap().reason, GapReason::Epoch);
    assert_eq!((point.cursor, sent(&log, 1).len()), (1, 3));
}

#[test]
fn evicted_events_are_removed_from_the_file_and_the_numbers_continue() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let log = opened(&kind, keeping(3));
    append_numbers(&log, 0..50);
    close(log);

    let wider = opened(&kind, keeping(100));

    // The file has one event more than is retained, because an evicted event is removed only with the next
    // append.
    assert_eq!(wider.memory.extent().oldest, 47);
    assert_eq!(append_numbers(&wider, 50..51)[0].seq, 51);
    let gap = wider.memory.resume(&wider.memory.id(10).into(), &own()).gap;
    assert_eq!(gap.unwrap().reason, GapReason::Evicted);
}

#[test]
fn evicted_events_are_removed_from_the_file_after_a_restart_with_other_bounds() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let mut next = 1;
    // Opens the file with different bounds.
    for keep in [100, 3, 3, 50, 1, 20] {
        let log = opened(&kind, keeping(keep));
        assert_eq!(log.memory.next(), next);
        append_numbers(&log, next..next + 30);
        next += 30;
        close(log);

        let store = FileStore::open_again(&folder.path().join("events.redb")).unwrap();
        let kept = store.events().unwrap();
        let first = store.about().unwrap().first;
        assert!(kept.iter().map(|(seq, _)| *seq).eq(first..next));
        assert!(kept.len() <= keep + 1, "{} of {keep}", kept.len());
    }
}

#[test]
fn evicted_presence_events_cause_no_gap_for_others_after_a_restart() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let retention = Retention {
        presence: 3,
        ..keeping(2)
    };
    let log = opened(&kind, retention);
    append(&log, Event::message("1"));
    for _ in 0..50 {
        append(&log, Event::of_hub("{}".to_owned()));
    }
    append_numbers(&log, 0..2);
    append(&log, Event::of_hub("{}".to_owned()));
    let positions = |log: &Opened| {
        [30, 51, 52, 53, 54].map(|seq| {
            let point = log.memory.resume(&log.memory.id(seq).into(), &own());
            (point.cursor, point.gap)
        })
    };
    let (before, epoch) = (positions(&log), log.memory.epoch());
    assert!(before.iter().all(|(_, gap)| gap.is_none()), "{before:?}");
    close(log);

    let log = opened(&kind, retention);

    assert_eq!(log.memory.epoch(), epoch);
    assert_eq!(positions(&log), before);
    assert_eq!(append(&log, Event::message("next")).seq, 55);
    let expected = sent(&log, log.memory.extent().oldest);
    close(log);
    let log = opened(&kind, retention);
    assert_eq!(sent(&log, log.memory.extent().oldest), expected);
}

fn refusal(path: &Path) -> String {
    let path = path.to_owned();
    let kind = LogKind::File {
        path,
        sync_interval: None,
    };
    let refused = open(
        kind,
        keeping(10),
        topic("own"),
        PublishSettings::default(),
        listener(&Arc::default()),
    );
    refused.err().unwrap().to_string()
}

#[test]
fn a_file_that_is_not_a_log_is_refused_and_left_unchanged() {
    let folder = tempdir().unwrap();
    for (name, content, reason) in [
        ("empty", Vec::new(), "is empty, so it was cut off"),
        ("text", b"hello".to_vec(), "is damaged"),
        ("zeros", vec![0; 1 << 20], "is damaged"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, &content).unwrap();

        let refused = refusal(&path);

        assert!(refused.contains(reason), "{name}: {refused}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "{name}");
    }
    let missing = refusal(&folder.path().join("missing/events.redb"));
    assert!(
        missing.contains("cannot be created: No such file"),
        "{missing}"
    );
    let is_folder = refusal(folder.path());
    assert!(is_folder.contains("is not a regular file"), "{is_folder}");
}

#[test]
fn only_its_owner_can_read_a_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempdir().unwrap();
    let _log = opened(&file(&folder, None), keeping(10));

    let made = std::fs::metadata(folder.path().join("events.redb")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_in_use_is_refused() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let _log = opened(&kind, keeping(10));

    let refused = refusal(&folder.path().join("events.redb"));

    assert!(
        refused.contains("is in use by another process"),
        "{refused}"
    );
}
