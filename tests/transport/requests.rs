//! Requests in the forms that real clients and proxies send.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use crate::support::{
    client::{Stream, connect},
    mercure::{
        Answer, Client, MARKER, MercureHub, PATH, bearer, form, grant, request, signed_as, token,
        until_marker,
    },
};
use serde_json::Value;

fn publisher_token() -> String {
    token(serde_json::json!([grant("publish", &["*"])]))
}

/// The `detail` of a problem document, which says how to fix the request.
fn detail(answer: &Answer) -> String {
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn an_empty_chunked_body_is_accepted_on_a_get() {
    let hub = MercureHub::start();
    let head =
        format!("GET {PATH}?match=a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for pieces in [&["0\r\n\r\n"][..], &["", "0\r\n", "\r\n"]] {
        let mut socket = connect(hub.addr());
        socket.write_all(head.as_bytes()).unwrap();
        for piece in pieces {
            socket.write_all(piece.as_bytes()).unwrap();
        }

        let mut stream = Stream::answer_on(socket);
        assert_eq!(stream.status(), 200);
        assert!(stream.checkpoint().is_some());
    }
    let body = format!("{head}1\r\nx\r\n0\r\n\r\n");
    let mut client = Client::connect(hub.addr());
    client.send(body.as_bytes());
    let answer = client.answer();
    answer.assert_refuses(400, "a body");
    assert!(detail(&answer).contains("QUERY"), "{answer:?}");
}

#[test]
fn a_matcher_that_contains_the_last_event_id_parameter_is_not_truncated() {
    let hub = MercureHub::with(|config| config.limits.pattern = 4096);
    let topic = format!("https://example.com/?last_event_id={}", "x".repeat(2000));
    let mut stream = hub.subscribe(&format!("match={topic}&match={MARKER}"));
    let mut publisher = hub.publisher();

    publisher.publish(&form(&[("topic", &topic), ("data", "whole")]));
    publisher.mark();

    assert_eq!(until_marker(&mut stream), ["whole"]);
}

#[test]
fn a_refused_request_closes_its_connection_after_the_rest_of_its_body() {
    let hub = MercureHub::with(|config| {
        config.limits.body = 1024;
        config.server.request_timeout = Duration::from_secs(60);
    });
    let long = format!("topic=a&data={}", "x".repeat(300_000));
    let other = "Content-Type: text/plain\r\n";
    let publisher = bearer(&publisher_token());
    for (headers, body, status) in [
        (String::new(), "topic=a", 401),
        (format!("{publisher}{other}"), "topic=a", 400),
        (publisher.clone(), &*long, 413),
    ] {
        let request = request("POST", PATH, &headers, body);
        let (head, body) = request.split_at(request.len() - body.len());
        let start = Instant::now();
        let mut client = Client::connect(hub.addr());
        // If the body is too long, first send the part that is read before the server notices.
        let (first, rest) = body.split_at(if status == 413 { 2000 } else { 0 });
        client.send(&[head, first].concat());
        client.answer().assert_refuses(status, &headers);
        client.send(rest);

        client.assert_closed();
        assert!(start.elapsed() < Duration::from_secs(30), "{status}");
    }
}

#[test]
fn a_file_is_sent_completely_even_if_the_request_body_arrives_later() {
    const SIZE: usize = 4 << 20;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large.txt"), vec![b'x'; SIZE]).unwrap();
    let hub = MercureHub::with(|config| config.server.static_dir = folder.path().to_owned());
    for _ in 0..5 {
        let mut socket = connect(hub.addr());
        socket
            .write_all(b"GET /large.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
            .unwrap();
        // Wait until the response has begun.
        socket.peek(&mut [0]).unwrap();
        socket.write_all(b"abc").unwrap();

        let mut received = vec![0; SIZE];
        socket.read_exact(&mut received).unwrap();
    }
}

#[test]
fn a_connection_stays_open_after_a_refused_complete_request() {
    let hub = MercureHub::start();
    let mut client = Client::connect(hub.addr());
    let publisher = bearer(&publisher_token());

    for (form, status) in [("topic=a", 200), ("data=no+topic", 400), ("topic=a", 200)] {
        assert_eq!(client.post(&publisher, form).status(), status, "{form}");
    }
}

#[test]
fn a_request_after_a_response_that_closes_the_connection_is_not_executed() {
    let hub = MercureHub::with(|config| config.limits.body = 1024);
    let publisher = bearer(&publisher_token());
    let closing = format!("{publisher}Connection: close\r\n");
    let long = format!("topic=a&data={}", "x".repeat(5000));
    let second = request("POST", PATH, &publisher, "topic=a&data=second");
    for (headers, body) in [
        (&closing, "topic=a&data=first"),
        (&publisher, &long),
        (&String::new(), "topic=a"),
    ] {
        let mut stream = hub.subscribe(&format!("match=a&match={MARKER}"));
        let first = request("POST", PATH, headers, body);
        let mut client = Client::connect(hub.addr());
        client.send(&[first, second.clone()].concat());
        let answer = client.answer();
        let closes = answer.header("connection") == Some("close");
        if closes {
            client.assert_closed();
        } else {
            assert_eq!(client.answer().status(), 200);
        }

        hub.publisher().mark();

        let mut expected = Vec::new();
        if answer.status() == 200 {
            expected.push("first");
        }
        if !closes {
            expected.push("second");
        }
        assert_eq!(until_marker(&mut stream), expected, "{answer:?}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe(&format!("match=a&match={MARKER}"));
    let publisher = bearer(&publisher_token());
    let updates = (0..20).map(|n| request("POST", PATH, &publisher, &format!("topic=a&data={n}")));
    let all = updates.collect::<Vec<_>>().concat();
    let mut client = Client::connect(hub.addr());

    for part in all.chunks(700) {
        client.send(part);
    }

    for _ in 0..20 {
        assert_eq!(client.answer().status(), 200);
    }
    hub.publisher().mark();
    let expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(until_marker(&mut stream), expected);
}

#[test]
fn a_non_ascii_id_is_sent_percent_encoded_and_resumes_in_either_form() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut live = hub.subscribe("match=a");

    for (id, uri) in [
        ("caf\u{e9}-1", "caf%C3%A9-1"),
        ("\u{65e5}\u{672c}-1", "%E6%97%A5%E6%9C%AC-1"),
    ] {
        let published = publisher.publish(&form(&[("topic", "a"), ("id", id)]));
        assert_eq!(published, uri);
        assert_eq!(live.event().unwrap().id.as_deref(), Some(uri));
        let next = publisher.publish_on("a");
        assert_eq!(live.event().unwrap().id.as_ref(), Some(&next));

        let latin_1 = id.chars().map(|c| u8::try_from(u32::from(c)));
        let latin_1 = latin_1.collect::<Result<Vec<_>, _>>();
        let as_sent = [Some(uri.into()), Some(id.into()), latin_1.ok()];
        for sent in as_sent.into_iter().flatten() {
            let sent: Vec<u8> = sent;
            let header = [b"Last-Event-ID: ", &*sent, b"\r\n"].concat();
            let mut stream = Stream::request(hub.addr(), &format!("{PATH}?match=a"), &header);
            assert_eq!(
                stream.header("mercure-last-event-id"),
                Some(&*uri.to_ascii_lowercase())
            );
            assert_eq!(stream.event().unwrap().id.as_ref(), Some(&next), "{sent:?}");
        }
        let query = form(&[("match", "a"), ("last_event_id", id)]);
        let mut stream = hub.subscribe(&query);
        assert_eq!(stream.event().unwrap().id.as_ref(), Some(&next));
    }
}

#[test]
fn the_length_limit_of_an_id_applies_to_its_percent_encoded_form() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();

    for (length, status) in [(42, 200), (43, 413)] {
        let id = "\u{e9}".repeat(length);
        let answer = publisher.post(&form(&[("topic", "a"), ("id", &id)]));
        assert_eq!(answer.status(), status, "{length}");
    }
}

#[test]
fn the_response_to_a_websocket_client_says_what_to_use_instead() {
    let hub = MercureHub::start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let publisher = bearer(&publisher_token());

    for (method, headers) in [
        ("GET", upgrade.to_owned()),
        ("POST", format!("{publisher}{upgrade}")),
    ] {
        let mut client = Client::connect(hub.addr());
        let target = format!("{PATH}?match=a");
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
        let answer = client.answer();

        answer.assert_refuses(400, method);
        assert!(detail(&answer).contains("EventSource"), "{answer:?}");
    }
}

#[test]
fn an_offer_to_upgrade_to_http_2_is_ignored() {
    let hub = MercureHub::start();
    // The upgrade offer of Java's HTTP client and of `curl --http2`.
    let offer =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let mut stream = hub.open("match=a", offer);
    let mut client = Client::connect(hub.addr());
    let publisher = format!("{}{offer}", bearer(&publisher_token()));

    let answer = client.post(&publisher, "topic=a&data=x");

    assert_eq!(
        (answer.status(), answer.header("connection")),
        (200, Some("close"))
    );
    client.assert_closed();
    assert_eq!(stream.event().unwrap().data, "x");
}

#[test]
fn the_response_to_another_content_type_names_those_that_are_accepted() {
    let hub = MercureHub::start();
    let headers = format!("{}Content-Type: text/plain\r\n", bearer(&publisher_token()));

    let answer = hub.ask("POST", PATH, &headers, "topic=a");

    answer.assert_refuses(400, "another content type");
    let detail = detail(&answer);
    for accepted in ["x-www-form-urlencoded", "json", "x-ndjson"] {
        let accepted = format!("application/{accepted}");
        assert!(detail.contains(&accepted), "{detail}");
    }
}

#[test]
fn a_refused_preflight_names_the_reason_and_the_setting() {
    let hub = MercureHub::with(|config| {
        config.cors.allowed_origins = vec!["https://app.example".to_owned()];
    });
    let asks = "Access-Control-Request-Method: POST\r\n";
    for (headers, expected) in [
        (
            format!("Origin: https://other.example\r\n{asks}"),
            "cors.allowed_origins",
        ),
        (
            "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n".to_owned(),
            "method",
        ),
    ] {
        let answer = hub.ask("OPTIONS", PATH, &headers, "");

        answer.assert_refuses(400, &headers);
        assert!(detail(&answer).contains(expected), "{answer:?}");
    }
    let allowed = format!("Origin: https://app.example\r\n{asks}");
    assert_eq!(hub.ask("OPTIONS", PATH, &allowed, "").status(), 200);
}

#[test]
fn the_response_to_an_older_token_names_the_setting_that_accepts_it() {
    let hub = MercureHub::start();
    let classic = signed_as(
        "JWT",
        &serde_json::json!({ "mercure": { "publish": ["*"] } }),
    );

    let answer = hub.ask("POST", PATH, &bearer(&classic), "topic=a");

    answer.assert_refuses(401, "a classic token");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(detail(&answer).contains("hub.legacy"), "{answer:?}");
}
