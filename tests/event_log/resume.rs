//! Resuming after an id: the subscriber receives every later event once and in order and then becomes live,
//! or it receives a gap that says what is missing.

use std::io::Write as _;

use crate::support::{
    client::{Stream, connect},
    server::{TestServer, block_on, quiet},
};
use serde_json::json;
use sse_broadcaster::{Event, EventId};

/// Encodes an id for a query, where a bare `#` would begin the fragment.
fn in_query(id: EventId) -> String {
    id.to_string().replace('#', "%23")
}

#[test]
fn both_spellings_of_an_id_resume_and_the_response_repeats_the_clients_spelling() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(2);
    let id = ids[0].to_string();

    for spelling in [&*id, &id[1..]] {
        let mut stream = Stream::resume(server.addr, Some(spelling));
        assert_eq!(stream.header("mercure-last-event-id"), Some(spelling));
        assert_eq!(stream.numbers(1), [1]);
    }
    let before_the_first = format!("#{}-0", ids[0].epoch);
    let mut stream = Stream::resume(server.addr, Some(&before_the_first));
    assert_eq!(stream.header("mercure-last-event-id"), Some("earliest"));
    assert_eq!(stream.numbers(2), [0, 1]);
}

#[test]
fn a_subscriber_that_disconnected_before_the_first_event_gets_it_on_resume() {
    let server = TestServer::quiet();
    let id = Stream::open(server.addr).checkpoint().unwrap();

    server.publish_numbers(2);
    let mut stream = Stream::resume(server.addr, Some(&id));

    assert_eq!(stream.numbers(2), [0, 1]);
}

#[test]
fn the_first_checkpoint_is_where_the_stream_starts_and_not_the_head() {
    let mut config = quiet();
    config.stream.history = 3;
    let server = TestServer::start(config);
    let ids = server.publish_numbers(5);

    let mut from_history = Stream::resume(server.addr, Some("earliest"));
    let mut from_now = Stream::open(server.addr);

    assert_eq!(from_history.checkpoint(), Some(ids[1].to_string()));
    assert_eq!(from_history.numbers(3), [2, 3, 4]);
    assert_eq!(from_now.checkpoint(), Some(ids[4].to_string()));
}

#[test]
fn a_resumed_stream_gets_every_later_event_once_in_order_and_then_live_events() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(900);

    let mut stream = Stream::resume(server.addr, Some(&ids[99].to_string()));
    let replayed = stream.numbers(800);
    server.wait_for_live(1);
    server.publish("live");

    assert_eq!(replayed, (100..900).collect::<Vec<_>>());
    assert_eq!(stream.event().unwrap().data, "live");
}

#[test]
fn a_stream_resumed_after_the_newest_id_gets_only_new_events() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(3);

    let mut stream = Stream::resume(server.addr, Some(&ids[2].to_string()));
    server.wait_for_live(1);
    server.publish("next");

    assert_eq!(stream.numbers(1), [3]);
}

#[test]
fn a_client_that_cannot_set_headers_resumes_by_the_query() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(5);

    for target in [
        format!("/events/sse?last_event_id={}", in_query(ids[2])),
        format!("/events/sse?lastEventId={}", in_query(ids[2])),
        "/events/sse?last_event_id=earliest".to_owned(),
    ] {
        let mut stream = Stream::request(server.addr, &target, b"");

        let first = if target.contains("earliest") { 0 } else { 3 };
        assert_eq!(stream.numbers(1), [first], "{target}");
    }
}

#[test]
fn an_id_that_a_client_appends_to_the_query_has_priority_over_an_earlier_one() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(5);

    // The query of event-source-polyfill when it reconnects.
    let target = format!(
        "/events/sse?last_event_id={}&lastEventId={}",
        in_query(ids[0]),
        in_query(ids[3])
    );
    let mut stream = Stream::request(server.addr, &target, b"");

    assert_eq!(stream.numbers(1), [4]);
}

#[test]
fn the_header_has_priority_over_the_query() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(5);

    let target = format!("/events/sse?last_event_id={}", in_query(ids[0]));
    let header = format!("Last-Event-ID: {}\r\n", ids[3]);
    let mut stream = Stream::request(server.addr, &target, header.as_bytes());

    assert_eq!(stream.numbers(1), [4]);
}

#[test]
fn without_an_id_a_stream_starts_with_the_next_event() {
    let server = TestServer::quiet();
    server.publish_numbers(5);

    let mut stream = Stream::open(server.addr);
    server.wait_for_live(1);
    server.publish("next");

    assert_eq!(stream.numbers(1), [5]);
}

#[test]
fn earliest_replays_all_retained_events_without_a_gap() {
    let mut config = quiet();
    config.stream.history = 10;
    let server = TestServer::start(config);
    server.publish_numbers(25);

    let mut stream = Stream::resume(server.addr, Some("earliest"));

    assert_eq!(stream.numbers(10), (15..25).collect::<Vec<_>>());
}

#[test]
fn an_evicted_id_gets_a_gap_and_all_retained_events() {
    let mut config = quiet();
    config.stream.history = 10;
    let server = TestServer::start(config);
    let ids = server.publish_numbers(25);

    let mut stream = Stream::resume(server.addr, Some(&ids[4].to_string()));
    let gap = stream.event().unwrap();

    assert_eq!(
        gap.gap(),
        json!({
            "reason": "evicted",
            "requested": ids[4].to_string(),
            "resumed_after": ids[14].to_string(),
            "missed": 10,
        })
    );
    assert_eq!(
        gap.id,
        Some(ids[14].to_string()),
        "reconnecting continues here"
    );
    assert_eq!(stream.numbers(10), (15..25).collect::<Vec<_>>());
}

#[test]
fn an_id_that_is_not_in_the_log_gets_a_gap_with_its_reason_and_all_retained_events() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(3);
    let epoch = ids[0].epoch;
    let past = format!("#{}-1", epoch - 1);
    let future = format!("{}-1", epoch + 1);
    let ahead = format!("#{epoch}-4");
    let bare = format!("{epoch}-4");
    let megabyte = "x".repeat(1 << 20);
    let cases: [(&[u8], &str, &str); 9] = [
        (past.as_bytes(), "epoch", &past),
        (future.as_bytes(), "epoch", &future),
        (ahead.as_bytes(), "unknown", &ahead),
        (bare.as_bytes(), "unknown", &bare),
        (b"no-id", "unknown", "no-id"),
        (b"-1", "unknown", "-1"),
        (b"\xff\xfe-1", "unknown", "%C3%BF%C3%BE-1"),
        ("\u{1f980}".as_bytes(), "unknown", "%F0%9F%A6%80"),
        (megabyte.as_bytes(), "unknown", &megabyte[..255]),
    ];
    for (id, reason, requested) in cases {
        let header = [b"Last-Event-ID: ", id, b"\r\n"].concat();
        let mut stream = Stream::request(server.addr, "/events/sse", &header);

        assert_eq!(stream.status(), 200);
        assert_eq!(
            stream.event().unwrap().gap(),
            json!({
                "reason": reason,
                "requested": requested,
                "resumed_after": format!("#{epoch}-0"),
                "missed": null,
            })
        );
        assert_eq!(stream.numbers(3), [0, 1, 2]);
    }
}

#[test]
fn a_last_event_id_of_a_megabyte_in_the_query_gets_a_gap() {
    let server = TestServer::quiet();
    server.publish("x");

    let target = format!("/events/sse?last_event_id={}", "%F6".repeat(350_000));
    let mut stream = Stream::request(server.addr, &target, b"");

    assert_eq!(stream.event().unwrap().gap()["reason"], "unknown");
    assert_eq!(stream.numbers(1), [0]);
}

#[test]
fn a_long_history_is_read_at_the_readers_pace() {
    const EVENTS: u64 = 300_000;
    let mut config = quiet();
    config.stream.history = EVENTS as usize;
    config.stream.history_bytes = 1 << 30;
    let server = TestServer::start(config);
    for n in 0..EVENTS {
        server.publish(&n.to_string());
    }

    let mut stream = Stream::resume(server.addr, Some("earliest"));
    let first = stream.numbers(1000);
    let while_reading = server.status();
    let rest = stream.numbers(EVENTS as usize - 1000);
    server.wait_for_live(1);
    server.publish("live");

    assert_eq!(while_reading["subscribers"]["catching_up"], 1);
    assert!(first.into_iter().chain(rest).eq(0..EVENTS));
    assert_eq!(stream.event().unwrap().data, "live");
}

#[test]
fn publishing_during_a_resume_causes_no_loss_and_no_duplicate() {
    const EVENTS: u64 = 20_000;
    let mut config = quiet();
    config.stream.history = EVENTS as usize;
    let server = TestServer::start(config);
    let publisher = server.hub.clone();

    let publishing = std::thread::spawn(move || {
        for n in 0..EVENTS {
            block_on(publisher.publish(Event::message(n.to_string()))).unwrap();
        }
    });
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let addr = server.addr;
            std::thread::spawn(move || {
                let mut stream = Stream::resume(addr, Some("earliest"));
                stream.numbers(EVENTS as usize)
            })
        })
        .collect();

    publishing.join().unwrap();
    for reader in readers {
        assert!(reader.join().unwrap().into_iter().eq(0..EVENTS));
    }
}

#[test]
fn reconnecting_repeatedly_delivers_each_event_once() {
    const EVENTS: usize = 500;
    let mut config = quiet();
    config.ticker.enabled = true;
    config.ticker.interval = std::time::Duration::from_millis(1);
    config.stream.history = 100_000;
    let server = TestServer::start(config);

    let mut last = "earliest".to_owned();
    let mut got = Vec::new();
    while got.len() < EVENTS {
        let mut stream = Stream::resume(server.addr, Some(&last));
        for _ in 0..got.len() % 13 + 1 {
            let event = stream.event().unwrap();
            got.push(event.index());
            last = event.id.clone().unwrap();
        }
    }

    let expected: Vec<_> = (0..got.len() as u64).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_restart_is_reported_as_a_gap_with_the_reason_epoch() {
    let first = TestServer::quiet();
    let old = first.publish("before");
    first.stop().unwrap();
    let second = TestServer::quiet();

    let mut stream = Stream::resume(second.addr, Some(&old.to_string()));
    let gap = stream.event().unwrap();
    let new = second.publish("after");

    let before_the_first = format!("#{}-0", new.epoch);
    assert_eq!(
        gap.gap(),
        json!({
            "reason": "epoch",
            "requested": old.to_string(),
            "resumed_after": before_the_first,
            "missed": null,
        })
    );
    assert_eq!(gap.id, Some(before_the_first));
    assert_eq!(stream.event().unwrap().id, Some(new.to_string()));
    assert!(new > old && new.seq == 1);
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_accepted() {
    let server = TestServer::quiet();
    let ids = server.publish_numbers(2);
    let mut socket = connect(server.addr);
    let request = format!(
        "GET /events/sse?a=b HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {}\r\n",
        ids[0]
    );

    for byte in request.bytes() {
        socket.write_all(&[byte]).unwrap();
    }
    let mut stream = Stream::finish_request(socket);

    assert_eq!(stream.numbers(1), [1]);
}
