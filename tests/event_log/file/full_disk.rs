//! A full disk, and a limit on the size of files.

#![allow(clippy::print_stderr, reason = "a test that cannot be run says so")]

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::*;
use crate::support::{client::get, small_disk::SmallDisk};

#[test]
fn with_a_full_disk_publishing_is_refused_until_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: no small disk could be mounted, which requires root");
        return;
    };
    let path = disk.path().join("events.redb");
    let node = Node::with_path(path.to_str().unwrap(), "[ticker]\ninterval = '20ms'\n");
    let server = node.start();
    let mut ticks = node.resume("/events/sse", "earliest");
    let mut updates = node.resume(&format!("{HUB}?match=a"), "earliest");
    let mut acknowledged = vec![node.publish("topic=a&data=before").body];
    let large = format!("topic=a&data={}", "x".repeat(100_000));

    disk.fill();
    let refused = eventually("a refusal", || {
        let answer = node.publish(&large);
        if answer.status() == 200 {
            acknowledged.push(answer.body);
            return None;
        }
        Some(answer)
    });
    assert_eq!(refused.status(), 503);
    assert!(refused.header("retry-after").is_some());
    // The server keeps retrying, and a small event may still fit into the file.
    eventually("the server to be unready", || {
        let answer = node.publish(&large);
        if answer.status() == 200 {
            acknowledged.push(answer.body);
        }
        (get(node.addr(), "/readyz").status() == 503).then_some(())
    });
    assert_eq!(get(node.addr(), "/healthz").status(), 200);
    server.wait_for_log("cannot be written, so publishing is refused until it can");

    disk.free();
    let after = eventually("space for an event", || {
        let answer = node.publish("topic=a&data=after");
        (answer.status() == 200).then_some(answer.body)
    });
    acknowledged.push(after);
    server.wait_for_log("can be written again");
    eventually("the server to be ready", || {
        (get(node.addr(), "/readyz").status() == 200).then_some(())
    });

    // The streams opened before the failure are still open, and no event is missing.
    let mut got = Vec::new();
    while got.len() < acknowledged.len() {
        let event = updates.event().unwrap();
        assert_eq!(event.name, None, "{:?}", event.name);
        if acknowledged.contains(event.id.as_ref().unwrap()) {
            got.push(event.id.unwrap());
        }
    }
    assert_eq!(got, acknowledged);
    let last = ticks.event().unwrap();
    assert_eq!(last.data, "Message number: 0");
    for n in 1..60 {
        let tick = ticks.event().unwrap();
        assert_eq!(tick.data, format!("Message number: {n}"));
    }
}

/// Sets the maximum file size in bytes for this process.
fn limit_file_size(server: &Process, current: Option<u64>) {
    let limit = Rlimit {
        current,
        maximum: None,
    };
    let pid = Pid::from_raw(server.id().cast_signed());
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn at_a_file_size_limit_publishing_is_refused_and_the_server_keeps_running() {
    let node = Node::new(QUIET);
    let server = node.start();
    let mut stream = node.resume(&format!("{HUB}?match=a"), "earliest");
    let before = node.publish("topic=a&data=before").body;
    let large = format!("topic=a&data={}", "x".repeat(100_000));

    limit_file_size(&server, Some(fs::metadata(node.path()).unwrap().len()));
    let refused = eventually("a refusal", || {
        let answer = node.publish(&large);
        (answer.status() != 200).then_some(answer)
    });
    assert_eq!(refused.status(), 503);
    server.wait_for_log("cannot be written, so publishing is refused until it can");
    assert_eq!(get(node.addr(), "/healthz").status(), 200);

    limit_file_size(&server, None);
    let after = eventually("space for an event", || {
        let answer = node.publish("topic=a&data=after");
        (answer.status() == 200).then_some(answer.body)
    });
    let mut got = Vec::new();
    while got.last() != Some(&after) {
        let event = stream.event().unwrap();
        assert_eq!(event.name, None, "no gap");
        got.push(event.id.unwrap());
    }
    assert_eq!(got[0], before);
}

#[test]
fn failed_writes_between_presence_events_neither_lose_nor_repeat_events() {
    let settings = [
        ("BROADCASTER__STREAM__HISTORY", "40"),
        ("BROADCASTER__STREAM__PRESENCE_HISTORY", "5"),
        ("BROADCASTER__LOG__SYNC", "interval"),
        ("BROADCASTER__LOG__SYNC_INTERVAL", "30ms"),
    ];
    let node = Node::new("[ticker]\nenabled = false\n[hub]\nsubscriptions = true\n");
    let server = node.start_with(&settings);
    let updates = format!("{HUB}?match=a");
    let mut stream = node.resume(&updates, "earliest");
    let mut random = fastrand::Rng::with_seed(14);
    let mut acknowledged = Vec::new();
    let mut delivered = Vec::new();

    for round in 0..12 {
        let length = fs::metadata(node.path()).unwrap().len();
        limit_file_size(&server, Some(length.saturating_sub(random.u64(..100_000))));
        eventually("a refusal", || {
            // A subscriber connects and leaves, which causes two presence events.
            drop(node.resume(&updates, "earliest"));
            let large = "x".repeat(random.usize(..100_000));
            let answer = node.publish(&format!("topic=a&data={large}"));
            if answer.status() == 200 {
                acknowledged.push(answer.body);
                return None;
            }
            assert_eq!(answer.status(), 503);
            Some(())
        });
        limit_file_size(&server, None);
        eventually("space for an event", || {
            let answer = node.publish(&format!("topic=a&data={round}"));
            (answer.status() == 200).then(|| acknowledged.push(answer.body))
        });
        for _ in 0..random.u8(..6) {
            drop(node.resume(&updates, "earliest"));
            acknowledged.push(node.publish("topic=a&data=more").body);
        }
        while delivered.last() != acknowledged.last() {
            let event = stream.event().unwrap();
            assert_eq!(event.name, None, "no gap");
            delivered.push(event.id.unwrap());
        }
    }
    assert_eq!(delivered, acknowledged);

    stop(server);
    let server = node.start_with(&settings);
    assert!(!server.stderr().contains("epoch"), "{}", server.stderr());
    let newest = &acknowledged[acknowledged.len() - 20..];
    let mut resumed = node.resume(&updates, &newest[0]);
    for id in &newest[1..] {
        let event = resumed.event().unwrap();
        assert_eq!((event.name, event.id.as_ref()), (None, Some(id)));
    }
}
