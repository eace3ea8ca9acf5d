//! Readers that are slow, stalled or disconnected: a slow reader is not dropped, no reader delays another,
//! and a disconnected one is removed.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use crate::support::{
    client::{Stream, connect, connect_small},
    eventually,
    server::{TestServer, quiet},
};
use socket2::SockRef;
use sse_broadcaster::config::Config;

fn with_history(events: usize) -> Config {
    let mut config = quiet();
    config.stream.history = events;
    config.stream.history_bytes = 1 << 30;
    config
}

/// Publishes events of one kilobyte as fast as the server accepts them.
fn flood(server: &TestServer, events: usize) {
    for _ in 0..events {
        server.publish(&"x".repeat(1000));
    }
}

fn wait_for_catching_up(server: &TestServer, count: u64) {
    eventually(&format!("{count} subscribers that catch up"), || {
        (server.status()["subscribers"]["catching_up"] == count).then_some(())
    });
}

#[test]
fn a_slow_reader_catches_up_without_loss_and_is_live_again() {
    let server = TestServer::start(with_history(10_000));
    let mut slow = Stream::request_on(connect_small(server.addr), "/events/sse", b"");
    server.wait_for_live(1);

    flood(&server, 5000);
    wait_for_catching_up(&server, 1);
    let numbers = slow.numbers(5000);
    server.wait_for_live(1);
    server.publish("live");

    assert!(numbers.into_iter().eq(0..5000));
    assert_eq!(slow.event().unwrap().data, "live");
    assert_eq!(server.status()["totals"]["caught_up"], 1);
    assert_eq!(server.status()["totals"]["gaps"], 0);
}

#[test]
fn a_reader_slower_than_the_history_gets_a_gap_with_the_number_of_missed_events() {
    const EVENTS: u64 = 5000;
    let server = TestServer::start(with_history(50));
    let mut slow = Stream::request_on(connect_small(server.addr), "/events/sse", b"");
    server.wait_for_live(1);

    flood(&server, EVENTS as usize);
    eventually("all events to be published", || {
        (server.status()["totals"]["events"] == EVENTS).then_some(())
    });
    let mut next = 0;
    let mut missed = 0;
    while next < EVENTS {
        let event = slow.event().unwrap();
        if event.name.is_none() {
            assert_eq!(event.index(), next);
            next += 1;
            continue;
        }
        let gap = event.gap();
        let requested = gap["requested"].as_str().unwrap();
        // Ids begin at 1, so the requested id ends with the number of events before the gap.
        assert!(requested.ends_with(&format!("-{next}")), "{gap}");
        assert_eq!(gap["reason"], "evicted");
        missed += gap["missed"].as_u64().unwrap();
        next += gap["missed"].as_u64().unwrap();
        assert_eq!(event.index(), next - 1, "it continues after {}", next - 1);
    }

    assert!(
        missed > 0,
        "nothing was missed, so the reader was not slow enough"
    );
    server.wait_for_live(1);
}

#[test]
fn a_stalled_reader_does_not_delay_others() {
    let server = TestServer::start(with_history(3000));
    let _stalled = Stream::request_on(connect_small(server.addr), "/events/sse", b"");
    let readers: Vec<_> = (0..100).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(101);

    let readers: Vec<_> = readers
        .into_iter()
        .map(|mut stream| {
            std::thread::spawn(move || {
                assert!(stream.numbers(2000).into_iter().eq(0..2000));
                stream
            })
        })
        .collect();
    flood(&server, 2000);

    let _readers: Vec<_> = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .collect();
    server.wait_for_live(100);
    wait_for_catching_up(&server, 1);
}

#[test]
fn a_stalled_socket_is_closed_and_a_slow_one_is_not() {
    let mut config = with_history(10_000);
    config.server.write_timeout = Duration::from_millis(500);
    let server = TestServer::start(config);
    let _stalled = Stream::request_on(connect_small(server.addr), "/events/sse", b"");
    let mut slow = Stream::request_on(connect_small(server.addr), "/events/sse", b"");
    server.wait_for_live(2);

    flood(&server, 1000);
    let start = Instant::now();
    let mut numbers = Vec::new();
    while start.elapsed() < Duration::from_millis(2000) {
        numbers.extend(slow.numbers(10));
        // The reader's pace, not a wait for the server.
        std::thread::sleep(Duration::from_millis(30));
    }
    numbers.extend(slow.numbers(1000 - numbers.len()));

    assert!(numbers.into_iter().eq(0..1000));
    eventually("the stalled reader to be closed", || {
        (server.status()["totals"]["timed_out"] == 1).then_some(())
    });
    server.wait_for_live(1);
    assert_eq!(server.status()["subscribers"]["catching_up"], 0);
}

#[test]
fn a_disconnected_client_is_removed_even_if_nothing_is_sent() {
    let server = TestServer::quiet();
    for how in ["closed", "half-closed", "reset"] {
        let socket = connect(server.addr);
        let stream = Stream::request_on(socket.try_clone().unwrap(), "/events/sse", b"");
        server.wait_for_live(1);

        drop(stream);
        let left = Instant::now();
        match how {
            "half-closed" => socket.shutdown(Shutdown::Write).unwrap(),
            "reset" => SockRef::from(&socket)
                .set_linger(Some(Duration::ZERO))
                .unwrap(),
            _ => {}
        }
        // For `half-closed`, keep the socket, so that the server sees only the closed half.
        let _kept = (how == "half-closed").then_some(socket);
        server.wait_for_live(0);

        let took = left.elapsed();
        assert!(took < Duration::from_secs(5), "{how}: {took:?}");
    }
}

#[test]
fn a_client_that_disconnects_while_it_catches_up_is_removed() {
    let server = TestServer::start(with_history(10_000));
    flood(&server, 5000);
    let slow = Stream::request_on(
        connect_small(server.addr),
        "/events/sse?last_event_id=earliest",
        b"",
    );
    wait_for_catching_up(&server, 1);

    drop(slow);

    wait_for_catching_up(&server, 0);
}
