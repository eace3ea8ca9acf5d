//! What a subscriber without events receives: a comment, or a checkpoint if its last id may soon be evicted.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use crate::support::{
    BOUND,
    client::{Stream, connect, request},
    eventually,
    server::{TestServer, block_on, quiet},
};
use sse_broadcaster::{Event, Topic};

const HUB: &str = "/.well-known/mercure";

/// A server with a heartbeat of 100 ms and this history, in events.
fn server(history: usize) -> TestServer {
    let mut config = quiet();
    config.stream.heartbeat = Duration::from_millis(100);
    config.stream.history = history;
    config.stream.queue = 1;
    TestServer::start(config)
}

/// Publishes this many events on the topic `busy`, and returns their ids. Waits for each to be delivered: a
/// publisher in the same process is faster than the worker threads, and the history is short.
fn publish_busy(server: &TestServer, events: usize) -> Vec<String> {
    let mut witness = Stream::request(server.addr, &format!("{HUB}?match=busy"), b"");
    witness.checkpoint();
    let publish = |n: usize| {
        let id = publish(server, "busy", &n.to_string());
        assert_eq!(witness.event().unwrap().id.as_ref(), Some(&id));
        id
    };
    (0..events).map(publish).collect()
}

fn publish(server: &TestServer, topic: &str, data: &str) -> String {
    let event = Event::message(data).on(Topic::parse(topic).unwrap());
    block_on(server.hub.publish(event)).unwrap().to_string()
}

#[test]
fn checkpoints_keep_the_id_of_a_quiet_subscriber_within_a_busy_history() {
    let server = server(50);
    let mut stream = Stream::request(server.addr, &format!("{HUB}?match=quiet"), b"");
    stream.checkpoint();
    server.wait_for_live(1);
    let ids = publish_busy(&server, 120);

    let id = eventually("a checkpoint in the newer half of the history", || {
        stream.checkpoint().filter(|id| ids[95..].contains(id))
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
fn a_quiet_subscriber_gets_comments_until_half_of_the_history_is_newer_than_its_id() {
    let server = server(20);
    let mut stream = Stream::request(server.addr, &format!("{HUB}?match=quiet"), b"");
    stream.checkpoint();
    server.wait_for_live(1);

    publish_busy(&server, 10);
    for _ in 0..3 {
        assert_eq!(stream.chunk().unwrap(), b":\n");
    }
    let last = publish(&server, "busy", "10");

    let chunk = eventually("a block other than a comment", || {
        stream.chunk().filter(|chunk| chunk != b":\n")
    });
    let checkpoint = format!("event: checkpoint\nid: {last}\ndata: {{}}\n\n");
    assert_eq!(String::from_utf8(chunk).unwrap(), checkpoint);
    assert_eq!(stream.chunk().unwrap(), b":\n", "once");
}

#[test]
fn later_checkpoints_can_be_disabled_but_not_the_first_and_the_last() {
    let mut config = quiet();
    config.stream.heartbeat = Duration::from_millis(100);
    config.stream.history = 30;
    config.stream.checkpoints = false;
    let mut server = TestServer::start(config);
    let mut stream = Stream::request(server.addr, &format!("{HUB}?match=quiet"), b"");
    assert!(stream.checkpoint().unwrap().ends_with("-0"));
    server.wait_for_live(1);

    let last = publish_busy(&server, 20).pop();
    for _ in 0..5 {
        assert_eq!(stream.chunk().unwrap(), b":\n");
    }
    server.begin_stop();

    assert_eq!(stream.checkpoint(), last);
    stream.assert_ends();
}

#[test]
fn a_quiet_subscriber_gets_checkpoints_while_others_get_continuous_events() {
    let mut config = quiet();
    config.server.workers = 1;
    config.ticker.enabled = true;
    config.ticker.interval = Duration::from_millis(1);
    config.stream.heartbeat = Duration::from_millis(100);
    config.stream.history = 10;
    let server = TestServer::start(config);
    let mut stream = Stream::request(server.addr, &format!("{HUB}?match=quiet"), b"");
    // Writing to 300 subscribers takes longer than the interval of the messages.
    let others: Vec<_> = (0..300).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(301);
    let number = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
    let published = number(&publish(&server, "busy", "x"));

    eventually("a checkpoint after that", || {
        (number(&stream.checkpoint()?) > published).then_some(())
    });

    drop(others);
}

#[test]
fn a_subscriber_that_skipped_events_of_other_topics_gets_a_checkpoint() {
    let server = server(30);
    let first = publish(&server, "quiet", "0");
    publish(&server, "quiet", "1");
    let last = publish_busy(&server, 20).pop();
    let header = format!("Last-Event-ID: {first}\r\n");
    let target = format!("{HUB}?match=quiet");

    let mut stream = Stream::request(server.addr, &target, header.as_bytes());

    assert_eq!(stream.event().unwrap().data, "1");
    assert_eq!(stream.checkpoint(), last);
}

#[test]
fn a_subscriber_with_an_evicted_id_that_missed_nothing_gets_a_checkpoint_first() {
    let server = server(2);
    // The log knows that the evicted events were on the ticker's topic, so there is no gap.
    let ids = server.publish_numbers(12);
    let header = format!("Last-Event-ID: {}\r\n", ids[1]);
    let target = format!("{HUB}?match=quiet");

    let mut stream = Stream::request(server.addr, &target, header.as_bytes());

    assert_eq!(stream.checkpoint(), Some(ids[9].to_string()));
}

#[test]
fn an_http_1_0_stream_gets_checkpoints_on_a_busy_server() {
    let server = server(10);
    let mut socket = connect(server.addr);
    socket
        .write_all(format!("GET {HUB}?match=quiet HTTP/1.0\r\nHost: test\r\n\r\n").as_bytes())
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(5)))
        .unwrap();
    let mut got = String::new();

    // Publish more often than the heartbeat.
    eventually("a checkpoint after the first", || {
        publish(&server, "busy", "x");
        let mut buffer = [0; 1000];
        if let Ok(length) = socket.read(&mut buffer) {
            got.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        (got.matches("event: checkpoint\n").count() == 2).then_some(())
    });

    assert!(got.starts_with("HTTP/1.0 200 OK"), "{got} within {BOUND:?}");
}

#[test]
fn every_response_to_a_request_with_an_id_names_the_position() {
    let server = server(100);
    let id = publish(&server, "a", "0");

    for (asked, told) in [
        (&*id, Some(&*id)),
        ("nonsense", Some("earliest")),
        ("earliest", Some("earliest")),
        ("", None),
    ] {
        let encoded = asked.replace('#', "%23");
        let target = format!("{HUB}?match=a&last_event_id={encoded}");
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
