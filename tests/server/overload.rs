//! The limit `server.max_subscribers`: beyond it, new subscribers receive a stream that tells them to retry
//! later.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
    time::Duration,
};

use crate::support::{
    client::{Stream, connect, get},
    process::{Process, command, finish},
    server::{TestServer, quiet},
};
use sse_broadcaster::Reconfigure;

fn room_for_two() -> TestServer {
    let mut config = quiet();
    config.server.max_subscribers = 2;
    TestServer::start(config)
}

#[test]
fn a_full_server_sends_a_retry_with_data_and_ends_the_stream() {
    let server = room_for_two();
    let _in: Vec<_> = (0..2).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(2);

    let mut turned_away = Stream::open(server.addr);
    let body = turned_away.block().unwrap();

    assert_eq!(turned_away.status(), 200);
    assert_eq!(
        turned_away.header("content-type"),
        Some("text/event-stream")
    );
    let retry = body.strip_prefix("retry: ").unwrap();
    let retry = retry.strip_suffix("\nevent: checkpoint\ndata: {}\n\n");
    let retry = retry.expect("no id, so that the client keeps its own");
    let retry: u64 = retry.parse().unwrap();
    assert!((1000..=3000).contains(&retry), "{retry}");
    assert_eq!(turned_away.block(), None);
    turned_away.assert_closed();
    assert_eq!(server.status()["totals"]["rejected"], 1);
}

#[test]
fn the_retry_delays_have_jitter() {
    let server = room_for_two();
    let _in: Vec<_> = (0..2).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(2);

    let retries: std::collections::BTreeSet<_> = (0..20)
        .map(|_| Stream::open(server.addr).block().unwrap())
        .collect();

    assert!(retries.len() > 10, "{retries:?}");
}

#[test]
fn a_full_server_still_serves_its_subscribers_and_the_other_routes() {
    let server = room_for_two();
    let mut inside: Vec<_> = (0..2).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(2);

    for _ in 0..200 {
        Stream::open(server.addr).assert_ends();
    }
    server.publish("x");

    for stream in &mut inside {
        assert_eq!(stream.event().unwrap().data, "x");
    }
    for target in ["/healthz", "/readyz", "/status"] {
        assert_eq!(get(server.addr, target).status(), 200, "{target}");
    }
    assert_eq!(server.live(), 2);
}

#[test]
fn a_subscriber_that_leaves_frees_its_place() {
    let server = room_for_two();
    let mut inside: Vec<_> = (0..2).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(2);

    inside.pop();
    server.wait_for_live(1);
    let mut next = Stream::open(server.addr);
    server.wait_for_live(2);
    server.publish("x");

    assert_eq!(next.event().unwrap().data, "x");
}

/// A command that runs the binary with this limit of open files.
fn with_open_files(limit: u32, args: &[&str]) -> Command {
    let mut broadcaster = command(Path::new("."), args);
    broadcaster.env("BROADCASTER__SERVER__REQUEST_TIMEOUT", "500ms");
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
        .arg(broadcaster.get_program())
        .args(broadcaster.get_args());
    for (name, value) in broadcaster.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

#[test]
fn a_low_limit_of_open_files_ends_the_start_with_1_and_advice() {
    let finished = finish(with_open_files(100, &["--bind", "127.0.0.1:0"]));

    assert_eq!(finished.code, Some(1));
    assert!(
        finished
            .stderr
            .contains("the limit of 100 open files is too low"),
        "{}",
        finished.stderr
    );
}

#[test]
fn idle_connections_that_use_all_open_files_are_closed_after_a_timeout() {
    let process = Process::spawn(with_open_files(
        256,
        &["--bind", "127.0.0.1:0", "--interval", "20ms"],
    ));
    let addr = process.addr();
    let mut subscriber = Stream::resume(addr, Some("earliest"));

    let idle: Vec<_> = (0..400).map(|_| connect(addr)).collect();
    let numbers = subscriber.numbers(50);
    let health = get(addr, "/healthz");
    drop(idle);

    assert!(numbers.into_iter().eq(0..50));
    assert_eq!(health.status(), 200);
    let log = process.stderr();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn a_request_sent_while_a_stream_opens_gets_no_response_inside_the_stream() {
    let server = TestServer::quiet();
    let settings = quiet().live_settings();
    for (next, its_answer) in [("/healthz", "alive"), ("/events/sse", ": connected")] {
        // Keep the `Broadcaster` busy, so that opening the stream takes a while.
        for _ in 0..200_000 {
            let settings = settings.clone();
            server.hub.broadcaster().do_send(Reconfigure { settings });
        }
        let mut socket = connect(server.addr);
        write!(socket, "GET /events/sse HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // Not a wait for the server: the pause makes the server read the two requests separately.
        std::thread::sleep(Duration::from_millis(20));
        write!(socket, "GET {next} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();

        let mut answers = String::new();
        let mut some = [0; 4096];
        while !answers.contains(its_answer) {
            let length = socket.read(&mut some).unwrap();
            assert!(length > 0, "closed after {answers:?}");
            answers.push_str(&String::from_utf8_lossy(&some[..length]));
        }

        assert!(answers.starts_with("HTTP/1.1 400 "), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{answers}");
    }
}
