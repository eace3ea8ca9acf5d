//! What every kind of log promises, and what one that is kept does beyond.

use std::{path::Path, time::Duration};

use tempfile::{TempDir, tempdir};

use super::{
    file::FileStore,
    tests::{keeping, selection, topic},
    *,
};
use crate::{
    event::{Event, EventId, EventName, GivenId},
    gap::GapReason,
    metrics::Metrics,
    resume::ResumeFrom,
    selection::Selection,
};

#[path = "../../tests/support/redis.rs"]
#[allow(unreachable_pub, dead_code, reason = "other tests have other needs")]
mod server;

use self::server::Redis;

fn file(folder: &TempDir, sync: LogSync) -> LogKind {
    let path = folder.path().join("events.redb");
    LogKind::File { path, sync }
}

const WITHIN: LogSync = LogSync::Within(Duration::from_millis(1));

/// What a log lives in.
type Home = Box<dyn std::any::Any>;

/// Each kind, with whatever it lives in.
fn kinds() -> Vec<(LogKind, Home)> {
    let in_file = |sync| {
        let folder = tempdir().unwrap();
        (file(&folder, sync), Box::new(folder) as Home)
    };
    let redis = Redis::start();
    vec![
        (LogKind::Memory, Box::new(())),
        in_file(LogSync::Always),
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

fn listener(metrics: &Arc<Metrics>) -> Listener {
    Listener {
        metrics: metrics.clone(),
        told: Box::new(|| ()),
    }
}

fn opened(kind: &LogKind, retention: Retention) -> Opened {
    let listener = listener(&Arc::default());
    open(kind.clone(), retention, topic("own"), listener).unwrap()
}

/// Appends an event, and waits until it can be read.
fn append(log: &Opened, event: Event) -> EventId {
    let (done, later) = tokio::sync::oneshot::channel();
    log.appender.append(event, Some(done));
    let id = later.blocking_recv().unwrap().unwrap();
    while newest(log).is_none_or(|newest| newest < id) {
        std::thread::yield_now();
    }
    id
}

fn newest(log: &Opened) -> Option<EventId> {
    log.memory.id_before(log.memory.next())
}

fn tick_later(log: &Opened, number: u64) -> Later {
    let event = Event::message(number.to_string());
    let Numbering::Here { appender, .. } = &log.numbering else {
        panic!("it numbers them itself");
    };
    appender.append(event, number, Instant::now()).unwrap()
}

/// What becomes of the numbered message of this number.
fn tick(log: &Opened, number: u64) -> Result<(), u64> {
    tick_later(log, number).blocking_recv().unwrap()
}

/// The number of the next numbered message.
fn next_tick(log: &Opened) -> u64 {
    match &log.numbering {
        Numbering::Here { next, .. } => *next,
        Numbering::ByLog(_) => panic!("it numbers them itself"),
    }
}

fn append_numbers(log: &Opened, numbers: std::ops::Range<u64>) -> Vec<EventId> {
    let event = |n: u64| Event::message(n.to_string());
    numbers.map(|n| append(log, event(n))).collect()
}

/// Ends the thread of a log, so that its file can be opened again.
fn close(log: Opened) {
    let memory = log.memory.clone();
    drop(log);
    // The thread has the last of it but this one.
    while Arc::strong_count(&memory) > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a subscriber of the topic `own` is sent from this number on.
fn sent(log: &Opened, from: u64) -> Vec<Frame> {
    let all = Portion {
        bytes: usize::MAX,
        events: usize::MAX,
    };
    let mut frames = Vec::new();
    log.memory.read(from, all, |entry| {
        frames.push(entry.frame.clone());
        true
    });
    frames
}

fn own() -> Selection {
    selection("own")
}

fn some_of_each() -> Vec<Event> {
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
fn what_is_appended_is_told_and_read() {
    for (kind, _folder) in kinds() {
        let (tell, told) = std::sync::mpsc::channel();
        let metrics = Arc::<Metrics>::default();
        let listener = Listener {
            // Nobody may listen any more.
            told: Box::new(move || tell.send(()).unwrap_or_default()),
            metrics: metrics.clone(),
        };
        let log = open(kind.clone(), keeping(100), topic("own"), listener).unwrap();
        let first = log.memory.next();
        let ids: Vec<_> = some_of_each()
            .into_iter()
            .map(|event| append(&log, event))
            .collect();

        let events = ids.into_iter().zip(some_of_each());
        let frames: Vec<_> = events
            .map(|(id, event)| crate::wire::event(id, &event))
            .collect();
        assert_eq!(sent(&log, first), frames, "{kind:?}");
        assert!(told.try_iter().count() > 0);
        assert_eq!(metrics.events.get(), 4);
    }
}

#[test]
fn what_is_beyond_the_retention_is_gone() {
    for (kind, _folder) in kinds() {
        let log = opened(&kind, keeping(5));
        let ids = append_numbers(&log, 0..12);

        let gap = log.memory.place(&ResumeFrom::After(ids[2]), &own()).gap;
        assert_eq!(gap.unwrap().reason, GapReason::Evicted, "{kind:?}");
        assert_eq!(log.memory.id(log.memory.extent().oldest), ids[7]);
    }
}

#[test]
fn what_is_too_old_goes_when_the_next_comes() {
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
fn a_file_goes_on_where_it_ended() {
    for sync in [LogSync::Always, WITHIN] {
        let folder = tempdir().unwrap();
        let kind = file(&folder, sync);
        let log = opened(&kind, keeping(100));
        for event in some_of_each() {
            append(&log, event);
        }
        assert_eq!(tick(&log, 0), Ok(()));
        let (before, epoch) = (sent(&log, 0), log.memory.epoch());
        close(log);

        let log = opened(&kind, keeping(100));

        assert_eq!(sent(&log, 0), before);
        assert_eq!((log.memory.epoch(), next_tick(&log)), (epoch, 1));
        let given = ResumeFrom::AfterGiven(GivenId::parse("urn:1").unwrap());
        assert_eq!(log.memory.place(&given, &own()).cursor, 3);
        assert_eq!(append(&log, Event::message("next")).seq, 5);
    }
}

#[test]
fn a_numbered_message_whose_turn_it_is_not_is_refused() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, LogSync::Always);
    let log = opened(&kind, keeping(100));

    let became = [0, 1, 1, 3, 2, 0].map(|number| tick(&log, number));
    let at_once: Vec<_> = [3, 5, 4]
        .into_iter()
        .map(|number| tick_later(&log, number))
        .collect();
    let at_once = at_once
        .into_iter()
        .map(|later| later.blocking_recv().unwrap());

    assert_eq!(became, [Ok(()), Ok(()), Err(2), Err(2), Ok(()), Err(3)]);
    let at_once: Vec<_> = at_once.map(|became| became.is_ok()).collect();
    assert_eq!(at_once, [true, false, true]);
    close(log);
    assert_eq!(next_tick(&opened(&kind, keeping(100))), 5);
}

#[test]
fn what_may_have_been_lost_begins_a_new_epoch() {
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
        first: 3,
        records: &[],
        evicted: 0..0,
        ticks: 0,
        unsynced: true,
    };
    store.commit(crashed, true).unwrap();
    drop(store);

    let log = opened(&kind, keeping(100));

    assert!(log.memory.epoch() > last.epoch);
    let placement = log.memory.place(&ResumeFrom::After(last), &own());
    assert_eq!(placement.gap.unwrap().reason, GapReason::Epoch);
    assert_eq!((placement.cursor, sent(&log, 0).len()), (0, 3));
}

#[test]
fn a_file_holds_no_more_than_is_retained_and_numbers_go_on_all_the_same() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, LogSync::Always);
    let log = opened(&kind, keeping(3));
    append_numbers(&log, 0..50);
    close(log);

    let wider = opened(&kind, keeping(100));

    // One more than that: what is evicted goes with the next that comes.
    assert_eq!(wider.memory.extent().oldest, 46);
    assert_eq!(append_numbers(&wider, 50..51)[0].seq, 50);
    let gap = wider
        .memory
        .place(&ResumeFrom::After(wider.memory.id(10)), &own())
        .gap;
    assert_eq!(gap.unwrap().reason, GapReason::Evicted);
}

#[test]
fn what_is_retained_no_more_goes_from_the_file_after_a_restart_too() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, LogSync::Always);
    let mut next = 0;
    // The bound is another each time.
    for keep in [100, 3, 3, 50, 1, 20] {
        let log = opened(&kind, keeping(keep));
        assert_eq!(log.memory.next(), next);
        append_numbers(&log, next..next + 30);
        next += 30;
        close(log);

        let store = FileStore::open_again(&folder.path().join("events.redb")).unwrap();
        let kept = store.events(0).unwrap();
        let first = store.about().unwrap().first;
        assert!(kept.iter().map(|(seq, _)| *seq).eq(first..next));
        assert!(kept.len() <= keep + 1, "{} of {keep}", kept.len());
    }
}

#[test]
fn many_that_append_at_once_each_get_an_id_of_their_own() {
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

fn refusal(path: &Path) -> String {
    let path = path.to_owned();
    let sync = LogSync::Always;
    let kind = LogKind::File { path, sync };
    let refused = open(kind, keeping(10), topic("own"), listener(&Arc::default()));
    refused.err().unwrap().to_string()
}

#[test]
fn a_file_that_is_no_log_is_refused_and_left_alone() {
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
        missing.contains("cannot be made: No such file"),
        "{missing}"
    );
    let is_folder = refusal(folder.path());
    assert!(is_folder.contains("cannot be opened"), "{is_folder}");
}

#[test]
fn a_file_is_for_nobody_elses_eyes() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempdir().unwrap();
    let _log = opened(&file(&folder, LogSync::Always), keeping(10));

    let made = std::fs::metadata(folder.path().join("events.redb")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_is_in_use_is_refused() {
    let folder = tempdir().unwrap();
    let kind = file(&folder, LogSync::Always);
    let _log = opened(&kind, keeping(10));

    let refused = refusal(&folder.path().join("events.redb"));

    assert!(
        refused.contains("is in use by another process"),
        "{refused}"
    );
}
