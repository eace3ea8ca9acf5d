//! The stream on the wire: exact bytes, headers, and the response to each kind of request.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use crate::support::{
    client::{Stream, connect, get, request},
    eventually,
    server::{TestServer, block_on, quiet},
};
use sse_broadcaster::{Event, EventName};

#[test]
fn a_stream_starts_with_its_head_a_retry_a_comment_and_a_checkpoint() {
    let server = TestServer::quiet();

    let mut stream = Stream::open(server.addr);
    let greeting = String::from_utf8(stream.chunk().unwrap()).unwrap();

    assert_eq!(stream.status(), 200);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(
        stream.header("cache-control"),
        Some("no-cache, no-transform")
    );
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
    let retry = greeting.strip_prefix("retry: ").unwrap();
    let (retry, rest) = retry.split_once("\n: connected\n").unwrap();
    let checkpoint = rest.strip_prefix("event: checkpoint\nid: #").unwrap();
    let before_the_first = checkpoint.strip_suffix("-0\ndata: {}\n\n").unwrap();
    assert!(before_the_first.parse::<u64>().is_ok(), "{greeting}");
    let retry: u64 = retry.parse().unwrap();
    assert!((1000..=3000).contains(&retry), "{retry}");
}

#[test]
fn every_event_is_one_chunk_with_exact_bytes() {
    let server = TestServer::quiet();
    let mut stream = Stream::open(server.addr);
    stream.chunk();

    let first = server.publish("Message number: 0");
    let second = server.publish("two\nlines");
    let named = Event::message("").named(EventName::parse("empty").unwrap());
    let third = block_on(server.hub.publish(named)).unwrap();

    for expected in [
        format!("id: {first}\ndata: Message number: 0\n\n"),
        format!("id: {second}\ndata: two\ndata: lines\n\n"),
        format!("id: {third}\nevent: empty\ndata: \n\n"),
    ] {
        assert_eq!(
            String::from_utf8(stream.chunk().unwrap()).unwrap(),
            expected
        );
    }
}

#[test]
fn a_large_event_is_also_one_chunk_live_and_from_history() {
    let server = TestServer::quiet();
    let text = "0123456789".repeat(10_000);
    let mut live = Stream::open(server.addr);
    live.chunk();
    server.wait_for_live(1);

    let id = server.publish(&text);
    let mut replayed = Stream::resume(server.addr, Some("earliest"));
    replayed.chunk();

    let expected = format!("id: {id}\ndata: {text}\n\n");
    for stream in [&mut live, &mut replayed] {
        assert_eq!(
            String::from_utf8(stream.chunk().unwrap()).unwrap(),
            expected
        );
    }
}

#[test]
fn the_ticker_gives_every_subscriber_the_same_numbers() {
    let mut config = quiet();
    config.ticker.enabled = true;
    config.ticker.interval = std::time::Duration::from_millis(20);
    let server = TestServer::start(config);

    let mut early = Stream::resume(server.addr, Some("earliest"));
    let first: Vec<_> = (0..5).map(|_| early.event().unwrap()).collect();
    let mut late = Stream::open(server.addr);
    let seen_late = late.event().unwrap();
    let seen_early = loop {
        let event = early.event().unwrap();
        if event.index() >= seen_late.index() {
            break event;
        }
    };

    for (n, event) in first.iter().enumerate() {
        assert_eq!(event.data, format!("Message number: {n}"));
        assert_eq!(event.index(), n as u64);
    }
    assert_eq!(seen_early, seen_late);
}

#[test]
fn only_a_subscriber_without_events_gets_heartbeat_comments() {
    let mut config = quiet();
    config.stream.heartbeat = std::time::Duration::from_millis(200);
    let server = TestServer::start(config);

    let mut stream = Stream::open(server.addr);
    stream.chunk();

    assert_eq!(stream.chunk().unwrap(), b":\n");
    let id = server.publish("x");
    assert_eq!(
        stream.chunk().unwrap(),
        format!("id: {id}\ndata: x\n\n").as_bytes()
    );
    assert_eq!(stream.chunk().unwrap(), b":\n");
}

#[test]
fn a_head_request_gets_the_headers_and_no_stream() {
    let server = TestServer::quiet();

    let response = request(server.addr, "HEAD", "/events/sse", "");

    assert_eq!(response.status(), 200);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.body, "");
    assert_eq!(server.live(), 0);
}

#[test]
fn options_requests_and_preflights_are_answered() {
    let server = TestServer::quiet();

    let plain = request(server.addr, "OPTIONS", "/events/sse", "");
    let preflight = request(
        server.addr,
        "OPTIONS",
        "/events/sse",
        "Origin: https://example.org\r\nAccess-Control-Request-Method: GET\r\n\
         Access-Control-Request-Headers: last-event-id\r\n",
    );

    assert_eq!(plain.status(), 204);
    assert_eq!(plain.header("allow"), Some("get, head, query, options"));
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("last-event-id")
    );
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
}

#[test]
fn with_a_list_of_origins_only_pages_of_these_origins_can_read() {
    let mut config = quiet();
    config.cors.allowed_origins = vec!["https://good.example".into()];
    let server = TestServer::start(config);

    let good = request(
        server.addr,
        "GET",
        "/status",
        "Origin: https://good.example\r\n",
    );
    let bad = request(
        server.addr,
        "GET",
        "/status",
        "Origin: https://bad.example\r\n",
    );

    assert_eq!(
        good.header("access-control-allow-origin"),
        Some("https://good.example")
    );
    assert_eq!(
        good.header("access-control-allow-credentials"),
        Some("true")
    );
    assert_eq!(bad.header("access-control-allow-origin"), None);
    assert_eq!(
        bad.status(),
        200,
        "curl and same-origin pages are no concern of CORS"
    );
}

#[test]
fn other_methods_get_405_with_the_allowed_methods() {
    let server = TestServer::quiet();

    const READ: &str = "get, head, options";
    const SUBSCRIBE: &str = "get, head, query, options";
    for (target, allowed) in [
        ("/events/sse", SUBSCRIBE),
        ("/status", READ),
        ("/healthz", READ),
        ("/readyz", READ),
        ("/openapi.yaml", READ),
    ] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
            let response = request(server.addr, method, target, "");

            assert_eq!(response.status(), 405, "{method} {target}");
            assert_eq!(response.header("allow"), Some(allowed));
            assert_eq!(
                response.header("content-type"),
                Some("application/problem+json")
            );
        }
    }
}

#[test]
fn an_accept_header_without_event_streams_gets_406() {
    let server = TestServer::quiet();

    let response = request(
        server.addr,
        "GET",
        "/events/sse",
        "Accept: application/json\r\n",
    );
    let problem: serde_json::Value = serde_json::from_str(&response.body).unwrap();

    assert_eq!(response.status(), 406);
    assert_eq!(problem["status"], 406);
    assert_eq!(problem["title"], "Not Acceptable");
}

#[test]
fn an_http_1_0_stream_is_not_chunked_and_ends_with_the_connection() {
    let mut server = TestServer::quiet();
    let mut socket = connect(server.addr);
    socket
        .write_all(b"GET /events/sse HTTP/1.0\r\nHost: test\r\n\r\n")
        .unwrap();
    server.wait_for_live(1);
    let id = server.publish("x");

    server.begin_stop();
    let mut all = String::new();
    socket.read_to_string(&mut all).unwrap();

    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("chunked"), "{head}");
    let body = body.strip_prefix("retry: ").unwrap();
    let (_, body) = body.split_once("-0\ndata: {}\n\n").unwrap();
    let body = body.strip_prefix(&format!("id: {id}\ndata: x\n\nretry: "));
    let goodbye = format!("\nevent: checkpoint\nid: {id}\ndata: {{}}\n\n");
    assert!(body.unwrap().ends_with(&goodbye), "{body:?}");
    server.join().unwrap();
}

#[test]
fn a_stream_ends_at_its_maximum_lifetime_and_its_client_resumes_without_loss() {
    let mut config = quiet();
    config.stream.max_lifetime = Some(Duration::from_secs(1));
    let server = TestServer::start(config);
    let begin = Instant::now();
    let mut streams: Vec<_> = (0..10).map(|_| Stream::open(server.addr)).collect();
    server.wait_for_live(10);
    let id = server.publish("0").to_string();

    let lifetimes: Vec<_> = streams
        .iter_mut()
        .map(|stream| {
            assert_eq!(stream.event().unwrap().data, "0");
            assert_eq!(stream.checkpoint().as_ref(), Some(&id));
            assert_eq!(stream.block(), None);
            stream.assert_closed();
            begin.elapsed()
        })
        .collect();

    assert!(lifetimes[0] >= Duration::from_millis(800), "{lifetimes:?}");
    server.publish("1");
    let mut again = Stream::resume(server.addr, Some(&id));
    assert_eq!(again.event().unwrap().data, "1");
    again.assert_ends();
    let expired = "broadcaster_closes_total{reason=\"expired\"} 11\n";
    eventually(expired, || {
        let metrics = get(server.addr, "/metrics").body;
        metrics.contains(expired).then_some(())
    });
}
