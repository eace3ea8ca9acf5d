//! What a subscriber is sent to whom nothing comes: a comment, or its place, if others got events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use sse_broadcaster::{Event, Topic};
use support::{
    BOUND,
    client::{Stream, connect, request},
    eventually,
    server::{TestServer, block_on, quiet},
};

const HUB: &str = "/.well-known/mercure";

/// A server with a short heartbeat, whose history is this short.
fn server(history: usize) -> TestServer {
    let mut config = quiet();
    config.stream.heartbeat = Duration::from_millis(100);
    config.stream.history = history;
    config.stream.queue = 1;
    TestServer::start(config)
}

fn publish(server: &TestServer, topic: &str, data: &str) -> String {
    let event = Event::message(data).on(Topic::parse(topic).unwrap());
    block_on(server.hub.publish(event)).unwrap().to_string()
}

/// Waits for a block that has an id alone; the id.
fn place(stream: &mut Stream) -> String {
    eventually("its place", || {
        let block = stream.block().unwrap();
        let id = block.strip_prefix("id: ")?.strip_suffix("\n\n")?;
        Some(id.to_owned())
    })
}

#[test]
fn who_hears_nothing_is_told_its_place_and_does_not_fall_out_of_a_busy_history() {
    let server = server(2);
    let mut stream = Stream::request(server.addr, &format!("{HUB}?match=quiet"), b"");
    server.wait_for_live(1);
    let last = (0..20)
        .map(|n| publish(&server, "busy", &n.to_string()))
        .next_back()
        .unwrap();

    let id = eventually("its newest place", || {
        Some(place(&mut stream)).filter(|id| *id == last)
    });
    drop(stream);
    publish(&server, "quiet", "missed by nobody");
    let header = format!("Last-Event-ID: {id}\r\n");
    let target = format!("{HUB}?match=quiet");
    let mut resumed = Stream::request(server.addr, &target, header.as_bytes());

    assert_eq!(resumed.header("mercure-last-event-id"), Some(&*id));
    let event = resumed.event().unwrap();
    assert_eq!((event.name, &*event.data), (None, "missed by nobody"));
}

#[test]
fn who_hears_nothing_is_told_its_place_while_others_hear_without_pause() {
    let mut config = quiet();
    config.server.workers = 1;
    config.ticker.enabled = true;
    config.ticker.interval = Duration::from_millis(1);
    config.stream.heartbeat = Duration::from_millis(100);
    let server = TestServer::start(config);
    let mut stream = Stream::request(server.addr, &format!("{HUB}?match=quiet"), b"");
    // To write to so many takes longer than it is from one message to the next.
    let others: Vec<_> = (0..300).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(301);
    let number = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    let published = number(&publish(&server, "busy", "x"));

    eventually("a place after that", || {
        (number(&place(&mut stream)) > published).then_some(())
    });

    drop(others);
}

#[test]
fn who_read_past_events_for_others_is_told_so() {
    let server = server(100);
    let first = publish(&server, "quiet", "0");
    publish(&server, "quiet", "1");
    let last = (0..20)
        .map(|n| publish(&server, "busy", &n.to_string()))
        .next_back()
        .unwrap();
    let header = format!("Last-Event-ID: {first}\r\n");
    let target = format!("{HUB}?match=quiet");

    let mut stream = Stream::request(server.addr, &target, header.as_bytes());

    assert_eq!(stream.event().unwrap().data, "1");
    assert_eq!(place(&mut stream), last);
}

#[test]
fn who_lost_nothing_of_its_own_has_a_newer_id_at_once() {
    let server = server(2);
    // What is gone is known to have been on the ticker's topic.
    let ids = server.publish_numbers(12);
    let header = format!("Last-Event-ID: {}\r\n", ids[1]);
    let target = format!("{HUB}?match=quiet");

    let mut stream = Stream::request(server.addr, &target, header.as_bytes());

    let greeting = stream.block().unwrap();
    assert!(
        greeting.contains(&format!("id: {}\n", ids[9])),
        "{greeting}"
    );
}

#[test]
fn whose_connection_has_no_chunks_hears_something_on_a_busy_server_too() {
    let server = server(100);
    let mut socket = connect(server.addr);
    socket
        .write_all(format!("GET {HUB}?match=quiet HTTP/1.0\r\nHost: test\r\n\r\n").as_bytes())
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    let mut got = String::new();

    // More often than the heartbeat.
    eventually("a place after the greeting", || {
        publish(&server, "busy", "x");
        let mut buffer = [0; 1000];
        if let Ok(length) = socket.read(&mut buffer) {
            got.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        got.contains("\n\nid: ").then_some(())
    });

    assert!(got.starts_with("HTTP/1.0 200 OK"), "{got} within {BOUND:?}");
}

#[test]
fn the_place_that_was_asked_for_is_in_every_head() {
    let server = server(100);
    let id = publish(&server, "a", "0");

    for (asked, told) in [
        (&*id, Some(&*id)),
        ("nonsense", Some("earliest")),
        ("earliest", Some("earliest")),
        ("", None),
    ] {
        let target = format!("{HUB}?match=a&last_event_id={asked}");
        let head = request(server.addr, "HEAD", &target, "");
        assert_eq!(head.status(), 200);
        assert_eq!(head.header("mercure-last-event-id"), told, "{asked}");
    }
    let full = {
        let mut config = quiet();
        config.server.max_subscribers = 1;
        TestServer::start(config)
    };
    let _first = Stream::open(full.addr);
    full.wait_for_live(1);
    let turned_away = Stream::resume(full.addr, Some("nonsense"));
    assert_eq!(
        turned_away.header("mercure-last-event-id"),
        Some("earliest")
    );
}
