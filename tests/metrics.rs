//! The metrics at `/metrics`, the addresses that serve them, and the Grafana dashboard that shows them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};
use sse_broadcaster::config::{IssuerConfig, KeySource};
use support::{
    client::{Stream, connect, connect_small, get},
    eventually,
    process::{self, Process},
    server::{TestServer, quiet},
};

/// The exported samples, keyed by name and labels.
fn metrics(addr: SocketAddr) -> BTreeMap<String, f64> {
    get(addr, "/metrics")
        .body
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn wait_for(addr: SocketAddr, sample: &str, value: f64) {
    eventually(&format!("{sample} to be {value}"), || {
        (metrics(addr)[sample] == value).then_some(())
    });
}

#[test]
fn the_metrics_are_valid_prometheus_text() {
    let server = TestServer::quiet();

    let response = get(server.addr, "/metrics");

    assert_eq!(response.status(), 200);
    assert_eq!(
        response.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let lines: Vec<_> = response.body.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    let families = |kind| -> Vec<&str> {
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(kind)?.split(' ').next())
            .collect()
    };
    let (helps, types) = (families("# HELP "), families("# TYPE "));
    assert_eq!(helps, types, "each has a help and a type");
    assert_eq!(
        types.iter().collect::<BTreeSet<_>>().len(),
        types.len(),
        "none is there twice"
    );
}

#[test]
fn connections_events_and_errors_are_counted() {
    let mut config = quiet();
    config.stream.history = 2;
    config.server.max_subscribers = 2;
    let server = TestServer::start(config);
    let addr = server.addr;
    let before = metrics(addr);

    let mut live = Stream::open(addr);
    live.chunk();
    server.wait_for_live(1);
    server.publish_numbers(5);
    live.numbers(5);
    let mut late = Stream::resume(addr, Some("no-id"));
    late.event().unwrap().gap();
    late.numbers(2);
    server.wait_for_live(2);
    Stream::open(addr).chunk();
    drop(late);
    wait_for(addr, "broadcaster_closes_total{reason=\"left\"}", 1.0);
    let after = metrics(addr);

    let rose = |name: &str| after[name] - before[name];
    assert_eq!(rose("broadcaster_events_total"), 5.0);
    assert_eq!(rose("broadcaster_deliveries_total"), 7.0);
    assert_eq!(rose("broadcaster_catch_ups_total"), 1.0);
    assert_eq!(rose("broadcaster_gaps_total{reason=\"unknown\"}"), 1.0);
    assert_eq!(rose("broadcaster_gaps_total{reason=\"evicted\"}"), 0.0);
    assert_eq!(rose("broadcaster_rejections_total{reason=\"full\"}"), 1.0);
    assert!(rose("broadcaster_fan_out_seconds_count") >= 1.0);
    assert!(rose("broadcaster_sent_bytes_total") > 7.0 * 40.0);
    assert!(rose("process_cpu_seconds_total") >= 0.0);
    assert_eq!(after["broadcaster_subscribers{state=\"live\"}"], 1.0);
    assert_eq!(after["broadcaster_subscribers_max"], 2.0);
    assert_eq!(after["broadcaster_log_events"], 2.0);
    assert!(after["broadcaster_log_size_bytes"] > 0.0);
    assert!(after["broadcaster_log_oldest_age_seconds"] > 0.0);
    assert_eq!(after["broadcaster_mailbox_messages"], 0.0);
    assert!(after["process_resident_memory_bytes"] > 1e6);
    assert!(after["process_open_fds"] > 10.0);
    let build = format!(
        "broadcaster_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(after[&build], 1.0);
}

#[test]
fn the_counter_of_sent_bytes_equals_the_bytes_on_the_wire() {
    let server = TestServer::quiet();
    let mut socket = connect(server.addr);
    write!(socket, "GET /events/sse HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    server.wait_for_live(1);

    server.publish_numbers(10);
    wait_for(server.addr, "broadcaster_deliveries_total", 10.0);
    let sent = metrics(server.addr)["broadcaster_sent_bytes_total"];

    let mut stream = vec![0; sent as usize];
    socket.read_exact(&mut stream).unwrap();
    let stream = String::from_utf8(stream).unwrap();
    assert!(stream.ends_with("data: 9\n\n\r\n"), "{stream:?}");
}

#[test]
fn the_lateness_of_a_punctual_ticker_is_small() {
    let mut config = quiet();
    config.ticker.enabled = true;
    config.ticker.interval = Duration::from_millis(10);
    let server = TestServer::start(config);

    Stream::open(server.addr).numbers(20);

    let metrics = metrics(server.addr);
    let count = metrics["broadcaster_tick_lateness_seconds_count"];
    assert!(count >= 20.0);
    assert_eq!(
        metrics["broadcaster_tick_lateness_seconds_bucket{le=\"+Inf\"}"],
        count
    );
    assert!(
        metrics["broadcaster_tick_lateness_seconds_sum"] < count,
        "a second late each"
    );
}

#[test]
fn a_stalled_reader_is_counted_as_lagging_and_then_as_stalled() {
    let mut config = quiet();
    config.server.write_timeout = Duration::from_millis(200);
    config.stream.history = 10_000;
    let server = TestServer::start(config);
    let _stalled = Stream::request_on(connect_small(server.addr), "/events/sse", b"");
    server.wait_for_live(1);

    let text = "x".repeat(10_000);
    for _ in 0..500 {
        server.publish(&text);
    }

    wait_for(
        server.addr,
        "broadcaster_closes_total{reason=\"stalled\"}",
        1.0,
    );
    let metrics = metrics(server.addr);
    assert_eq!(metrics["broadcaster_fell_behind_total"], 1.0);
    assert_eq!(server.status()["totals"]["timed_out"], 1);
}

#[test]
fn with_an_admin_address_metrics_and_status_are_only_there() {
    let mut config = quiet();
    config.server.admin_bind = Some("127.0.0.1:0".into());
    let server = TestServer::start(config);
    let admin = server.admin_addr.unwrap();

    let mut stream = Stream::open(server.addr);
    stream.chunk();

    for target in ["/metrics", "/status", "/readyz"] {
        assert_eq!(get(server.addr, target).status(), 404, "{target} in public");
        let response = get(admin, target);
        assert_eq!(response.status(), 200, "{target}");
        assert_eq!(
            response.header("access-control-allow-origin"),
            None,
            "{target} is not for pages of other origins"
        );
    }
    for addr in [server.addr, admin] {
        assert_eq!(get(addr, "/healthz").status(), 200);
    }
    for target in ["/events/sse", "/openapi.yaml", "/", "/index.html"] {
        assert_eq!(get(admin, target).status(), 404, "{target} for admins");
    }
    assert_eq!(
        metrics(admin)["broadcaster_subscribers{state=\"live\"}"],
        1.0
    );
}

#[test]
fn the_binary_reports_its_admin_address() {
    let folder = tempfile::tempdir().unwrap();
    let command = process::command(
        folder.path(),
        &["--bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0"],
    );
    let process = Process::spawn(command);

    process.wait_for_log("metrics and status on http://127.0.0.1:");

    let line = eventually("the address on standard output", || {
        let stdout = process.stdout();
        let line = stdout.lines().find(|line| line.starts_with("metrics and"));
        line.map(str::to_owned)
    });
    let addr = line.trim_end_matches('/').rsplit('/').next().unwrap();
    assert_eq!(get(addr.parse().unwrap(), "/readyz").status(), 200);
}

#[test]
fn an_admin_address_in_use_is_reported_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let finished = process::run(
        folder.path(),
        &["--bind", "127.0.0.1:0", "--admin-bind", &address],
    );

    assert_eq!(finished.code, Some(1));
    let expected = format!("cannot listen on {address} (server.admin_bind)");
    assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
}

/// The names of all metrics in a Prometheus query.
fn names(query: &str) -> impl Iterator<Item = &str> {
    query
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("broadcaster_") || word.starts_with("process_"))
}

fn queries(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(query) if key == "expr" => found.push(query.clone()),
                    value => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// Serves a set with one key. Returns its URL.
fn key_server() -> String {
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/p256.pem");
    let key = EncodingKey::from_ec_pem(&std::fs::read(pem).unwrap()).unwrap();
    let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    let set = json!({ "keys": [jwk] }).to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            socket.read_exact(&mut [0; 16]).unwrap();
            let length = set.len();
            write!(
                socket,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{set}"
            )
            .unwrap();
        }
    });
    url
}

#[test]
fn the_dashboard_queries_existing_metrics_and_shows_all_of_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana-dashboard.json");
    let dashboard = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut config = quiet();
    let keys = KeySource::JwksUrl(key_server().parse().unwrap());
    config.auth.issuers = vec![IssuerConfig::new("https://issuer.example".to_owned(), keys)];
    let server = TestServer::start(config);
    let exported: BTreeSet<String> = eventually("the age of the keys", || {
        let samples = metrics(server.addr).into_keys();
        let names = samples.map(|sample| sample.split('{').next().unwrap().to_owned());
        let names: BTreeSet<_> = names.collect();
        names
            .contains("broadcaster_key_set_age_seconds")
            .then_some(names)
    });

    let mut found = Vec::new();
    queries(&dashboard, &mut found);

    let asked: BTreeSet<&str> = found.iter().flat_map(|query| names(query)).collect();
    for name in &asked {
        assert!(exported.contains(*name), "{name} is not exported");
    }
    for name in exported
        .iter()
        .filter(|name| name.starts_with("broadcaster_"))
    {
        let asked = asked.contains(name.as_str())
            || ["_count", "_sum"].iter().any(|end| name.ends_with(end));
        assert!(asked, "{name} is not shown");
    }
}
