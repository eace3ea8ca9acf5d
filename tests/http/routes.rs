//! The resources that describe the server, such as `/status`, and the demo page.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use crate::support::{
    client::{Stream, connect, get, request},
    server::{TestServer, quiet},
};
use serde_json::{Value, json};

#[test]
fn healthz_and_readyz_report_that_the_broadcaster_responds() {
    let server = TestServer::quiet();

    let health = get(server.addr, "/healthz");
    let ready = get(server.addr, "/readyz");

    assert_eq!(
        (health.status(), health.body.as_str()),
        (200, r#"{"status":"alive"}"#)
    );
    assert_eq!(
        (ready.status(), ready.body.as_str()),
        (200, r#"{"status":"ready"}"#)
    );
}

#[test]
fn the_request_timeout_restarts_on_an_idle_connection() {
    let mut config = quiet();
    config.server.request_timeout = Duration::from_secs(2);
    let server = TestServer::start(config);
    let mut socket = connect(server.addr);
    let request = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
    let answered = |socket: &mut std::net::TcpStream| {
        let mut answer = [0; 1000];
        socket.read(&mut answer).unwrap() > 0 && answer.starts_with(b"HTTP/1.1 200")
    };
    // The client's pace. Together, the pauses are longer than the request timeout, which restarts at each
    // response.
    let pause = || std::thread::sleep(Duration::from_millis(1200));

    socket.write_all(request).unwrap();
    let first = answered(&mut socket);
    pause();
    socket.write_all(&request[..10]).unwrap();
    pause();
    socket.write_all(&request[10..]).unwrap();

    assert!(first && answered(&mut socket));
}

#[test]
fn the_status_reports_subscribers_history_and_ticker() {
    let mut config = quiet();
    config.server.max_subscribers = 7;
    config.stream.history = 2;
    let server = TestServer::start(config);
    let before = server.status();
    let mut stream = Stream::open(server.addr);
    server.wait_for_live(1);
    let ids = server.publish_numbers(3);
    stream.numbers(3);

    let after = server.status();

    assert_eq!(before["last_id"], Value::Null);
    assert_eq!(before["history"]["oldest_id"], Value::Null);
    assert_eq!(after["version"], env!("CARGO_PKG_VERSION"));
    assert!(after["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        after["subscribers"],
        json!({"live": 1, "catching_up": 0, "max": 7})
    );
    assert_eq!(after["last_id"], ids[2].to_string());
    let encoded = format!("1D\r\nid: {}\ndata: 0\n\n\r\n", ids[0]).len();
    let bytes = after["history"]["bytes"].as_u64().unwrap();
    // Memory of an entry, including its overhead.
    assert!((2 * encoded as u64..1000).contains(&bytes), "{bytes}");
    assert_eq!(
        after["history"],
        json!({
            "events": 2,
            "bytes": bytes,
            "oldest_id": ids[1].to_string(),
            "max_events": 2,
            "max_bytes": 16 << 20,
        })
    );
    assert_eq!(
        after["ticker"],
        json!({"enabled": false, "interval_ms": 1000})
    );
    assert_eq!(
        after["totals"],
        json!({
            "events": 3,
            "delivered": 3,
            "caught_up": 0,
            "gaps": 0,
            "timed_out": 0,
            "rejected": 0,
        })
    );
}

#[test]
fn gaps_and_rejected_subscribers_are_counted() {
    let mut config = quiet();
    config.server.max_subscribers = 1;
    let server = TestServer::start(config);

    let mut stream = Stream::resume(server.addr, Some("no-id"));
    assert_eq!(stream.event().unwrap().name.as_deref(), Some("gap"));
    Stream::open(server.addr).assert_ends();

    let totals = &server.status()["totals"];
    assert_eq!(totals["gaps"], 1);
    assert_eq!(totals["rejected"], 1);
}

#[test]
fn an_unknown_path_gets_a_problem_document() {
    let server = TestServer::quiet();

    let response = get(server.addr, "/nothing");
    let problem: Value = serde_json::from_str(&response.body).unwrap();

    assert_eq!(response.status(), 404);
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(
        problem,
        json!({
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "There is nothing at this address.",
        })
    );
}

#[test]
fn the_openapi_document_is_served() {
    let server = TestServer::quiet();

    let document = get(server.addr, "/openapi.yaml");
    let head = request(server.addr, "HEAD", "/openapi.yaml", "");

    for response in [&document, &head] {
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("content-type"), Some("application/yaml"));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
    }
    assert_eq!(
        document.body,
        include_str!("../../docs/reference/openapi.yaml")
    );
    assert_eq!(head.body, "");
}

#[test]
fn the_page_is_served_with_a_strict_policy() {
    let server = TestServer::quiet();

    let page = get(server.addr, "/");
    let module = get(server.addr, "/page.js");

    assert_eq!(page.status(), 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let kind = module.header("content-type").unwrap();
    assert!(kind.starts_with("text/javascript"), "{kind}");
}

#[test]
fn every_file_that_the_page_refers_to_exists() {
    let server = TestServer::quiet();
    let page = get(server.addr, "/").body;

    let names: Vec<_> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|name| !name.starts_with('#'))
        .collect();

    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let target = format!("/{}", name.trim_start_matches('/'));
        assert_eq!(get(server.addr, &target).status(), 200, "{target}");
    }
}

#[test]
fn a_page_of_any_origin_can_read_the_stream_without_credentials() {
    let server = TestServer::quiet();

    for origin in ["https://example.org", "http://localhost:8080", "null"] {
        let header = format!("Origin: {origin}\r\n");
        let stream = Stream::request(server.addr, "/events/sse", header.as_bytes());
        let status = request(server.addr, "GET", "/status", &header);

        for allowed in [
            stream.header("access-control-allow-origin"),
            status.header("access-control-allow-origin"),
        ] {
            assert_eq!(allowed, Some("*"), "{origin}");
        }
        assert_eq!(stream.header("access-control-allow-credentials"), None);
    }
}
