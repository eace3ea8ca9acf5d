//! A disk without room, and a limit on the size of files.

#![allow(clippy::print_stderr, reason = "a test that cannot be run says so")]

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::*;
use crate::support::{client::get, small_disk::SmallDisk};

#[test]
fn a_full_disk_refuses_what_is_published_and_all_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: no small disk could be mounted, which takes root");
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
    // It is tried again and again, and what is small may find room within the file.
    eventually("not to be ready", || {
        let answer = node.publish(&large);
        if answer.status() == 200 {
            acknowledged.push(answer.body);
        }
        (get(node.addr(), "/readyz").status() == 503).then_some(())
    });
    assert_eq!(get(node.addr(), "/healthz").status(), 200);
    server.wait_for_log("cannot be written, so publishing is refused until it can");

    disk.free();
    let after = eventually("room", || {
        let answer = node.publish("topic=a&data=after");
        (answer.status() == 200).then_some(answer.body)
    });
    acknowledged.push(after);
    server.wait_for_log("can be written again");
    eventually("to be ready", || {
        (get(node.addr(), "/readyz").status() == 200).then_some(())
    });

    // The streams are the same as before, and nothing is missing.
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

/// Sets how long a file of this process may get, in bytes.
fn limit_file_size(server: &Process, current: Option<u64>) {
    let limit = Rlimit {
        current,
        maximum: None,
    };
    let pid = Pid::from_raw(server.id().cast_signed());
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn a_limit_on_the_size_of_files_refuses_what_is_published_and_kills_nobody() {
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
    let after = eventually("room", || {
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
