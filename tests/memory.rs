//! Clients can only use bounded memory: each test attacks one container and measures resident memory.
//! `docs/operate/limits.md` lists all limits.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its figures, and fails by panicking"
)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::json;
use support::{
    client::{Stream, connect, connect_small, get, try_connect},
    eventually,
    mercure::{Client, HUB, HubProcess, PATH, bearer, detail, form, grant, request, token_for},
};

const MIB: u64 = 1 << 10;

/// A running server whose memory is measured.
struct Server(HubProcess);

impl Server {
    fn start(more: &str) -> Self {
        Self(HubProcess::start(more))
    }

    fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// By how much resident memory grew during `act`, in KiB.
    fn growth<T>(&self, act: impl FnOnce() -> T) -> (u64, T) {
        let before = self.0.process.resident_kb();
        let done = act();
        (self.0.process.resident_kb().saturating_sub(before), done)
    }

    fn connect(&self) -> TcpStream {
        connect(self.addr())
    }

    /// Sends a `QUERY` for this many topics of this length in bytes. Returns the start of the response and
    /// the open connection.
    fn query(&self, name: usize, topics: usize, bytes: usize) -> (TcpStream, String) {
        let topics = (0..topics).map(|n| format!("match={name:05}{n:03}{}", "x".repeat(bytes)));
        let body = topics.collect::<Vec<_>>().join("&");
        self.send(&request("QUERY", PATH, "", &body))
    }

    /// Sends a request. Returns the open connection, and the response up to its status code.
    fn send(&self, request: &[u8]) -> (TcpStream, String) {
        let mut socket = self.connect();
        socket.write_all(request).unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).unwrap();
        (socket, String::from_utf8(head.to_vec()).unwrap())
    }
}

#[test]
fn the_history_limit_includes_the_topics_of_events() {
    let server = Server::start("[stream]\nhistory_bytes = 1048576\n");
    let token = token_for(HUB, json!([grant("publish", &["*"])]));
    let topics: Vec<_> = (0..100).map(|n| format!("{n:04}").repeat(1000)).collect();
    let mut fields: Vec<_> = topics.iter().map(|topic| ("topic", &**topic)).collect();
    fields.push(("data", "x"));
    let update = form(&fields);
    let mut publisher = Client::connect(server.addr());

    let (growth, ()) = server.growth(|| {
        for _ in 0..200 {
            assert_eq!(publisher.post(&bearer(&token), &update).status(), 200);
        }
    });

    // The updates contain 80 MB of topics.
    assert!(growth < 30 * MIB, "{growth} KiB");
}

#[test]
fn matchers_have_a_memory_budget_that_is_released_when_subscribers_leave() {
    let server = Server::start("[limits]\nmatcher_bytes = 1000000\n");

    let (growth, streams) = server.growth(|| {
        let streams = (0..600).map(|n| server.query(n, 100, 1000));
        streams.collect::<Vec<_>>()
    });

    let count = |status: &str| {
        streams
            .iter()
            .filter(|(_, head)| head.contains(status))
            .count()
    };
    let (taken, refused) = (count(" 200"), count(" 503"));
    assert!(
        (5..12).contains(&taken) && taken + refused == 600,
        "{taken} {refused}"
    );
    // The subscribers send 60 MB of topics, and each idle connection has its own buffers.
    assert!(growth < 45 * MIB, "{growth} KiB");
    // A browser would give up after an error, so it receives a stream that tells it to reconnect.
    let topics: Vec<_> = (0..60)
        .map(|n| format!("match={n}{}", "y".repeat(1000)))
        .collect();
    let target = format!("{PATH}?{}", topics.join("&"));
    let mut told = Stream::request(server.addr(), &target, b"");
    assert_eq!(told.status(), 200);
    let block = told.block().unwrap();
    assert!(block.starts_with("retry: "), "{block}");
    assert_eq!(told.block(), None);
    let metrics = get(server.addr(), "/metrics").body;
    assert!(metrics.contains("broadcaster_rejections_total{reason=\"matchers\"} 1\n"));
    // A subscriber with few matchers is not affected.
    let (_socket, head) = server.query(1000, 3, 100);
    assert!(head.contains(" 200"), "{head}");

    drop(streams);
    eventually("free memory in the budget", || {
        let (_socket, head) = server.query(2000, 100, 1000);
        head.contains(" 200").then_some(())
    });
}

#[test]
fn active_subscriptions_have_a_separate_memory_budget() {
    let more = "[hub]\nsubscriptions = true\n[limits]\nmatcher_bytes = 1048576\n\
                [stream]\nhistory_bytes = 1048576\n";
    let server = Server::start(more);

    // All subscribers ask for the same topics, so the topics use little memory.
    let (growth, streams) = server.growth(|| {
        let streams = (0..200).map(|_| server.query(0, 100, 1000));
        streams.collect::<Vec<_>>()
    });

    let taken = streams
        .iter()
        .filter(|(_, head)| head.contains(" 200"))
        .count();
    assert!((1..10).contains(&taken), "{taken}");
    assert!(growth < 25 * MIB, "{growth} KiB");
}

#[test]
fn token_payloads_use_no_more_memory_than_their_text() {
    const SUBSCRIBERS: usize = 400;
    let more = "[hub]\nsubscriptions = true\n[limits]\nmatcher_bytes = 1048576\n\
                [stream]\nhistory_bytes = 1048576\n";
    let server = Server::start(more);
    // When parsed, each of these objects uses about a hundred times the size of its text.
    let payload = json!({ "a": vec![json!({ "": 0 }); 400] });
    let topics = json!([{ "match": "*" }]);
    let mut detail = detail(&["subscribe"], topics);
    detail["payload"] = payload;
    let token = token_for(HUB, json!([detail]));

    let (growth, streams) = server.growth(|| {
        let subscribe = |_| {
            let target = format!("{PATH}?match=a");
            server.send(&request("GET", &target, &bearer(&token), ""))
        };
        (0..SUBSCRIBERS).map(subscribe).collect::<Vec<_>>()
    });

    println!("{SUBSCRIBERS} subscribers with payloads: {growth} KiB");
    assert!(growth < 25 * MIB, "{growth} KiB");
    drop(streams);
}

#[test]
fn regular_expressions_use_no_more_memory_than_their_budget() {
    let server =
        Server::start("[limits]\nmatcher_bytes = 8388608\n[stream]\nhistory_bytes = 1048576\n");
    let token = token_for(HUB, json!([grant("publish", &["*"])]));
    let mut publisher = Client::connect(server.addr());

    let (growth, streams) = server.growth(|| {
        let query = |name: usize| {
            // Each automaton caches many states for the next match.
            let pattern = |n| format!("match_urlpattern=/{name}{n}([^!]*a[^!]{{0,60}}(?:N)?[A-Z])");
            let body = (0..20).map(pattern).collect::<Vec<_>>().join("&");
            server.send(&request("QUERY", PATH, "", &body))
        };
        let streams: Vec<_> = (0..100).map(query).collect();
        for n in 0..200 {
            let topic = format!(
                "https://hub.example.com/{}{n}aaaaaabcaNaAaaNaaaaaAAaaNNaaaaaZ",
                n % 100
            );
            let update = form(&[("topic", &topic), ("data", "x")]);
            assert_eq!(publisher.post(&bearer(&token), &update).status(), 200);
        }
        streams
    });

    println!("regular expressions: {growth} KiB");
    assert!(growth < 32 * MIB, "{growth} KiB");
    drop(streams);
}

#[test]
fn a_connection_keeps_no_large_buffer_after_a_large_request() {
    let server = Server::start("[limits]\nmatcher_bytes = 65536\n");

    let (growth, streams) = server.growth(|| {
        let streams = (0..300).map(|n| server.query(n, 100, 1000));
        streams.collect::<Vec<_>>()
    });

    assert!(streams.iter().all(|(_, head)| head.contains(" 503")));
    // The clients sent 30 MB.
    assert!(growth < 20 * MIB, "{growth} KiB");
}

#[test]
fn unfinished_requests_have_a_memory_budget() {
    let server = Server::start("[server]\nrequest_timeout = '1m'\n");
    let addr = server.addr();
    let header = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(100_000));

    let (growth, sockets) = server.growth(|| {
        let mut sockets = Vec::new();
        for _ in 0..1000 {
            let Ok(mut socket) = try_connect(addr) else {
                continue;
            };
            socket.write_all(header.as_bytes()).ok();
            sockets.push(socket);
        }
        sockets
    });

    // The clients sent 100 MB. The budget is 64 MiB, and buffers grow by doubling.
    assert!(growth < 160 * MIB, "{growth} KiB");
    eventually("closed connections", || {
        let closed = sockets.iter().filter(|socket| has_answer(socket)).count();
        (closed >= 200).then_some(())
    });
    // Short requests are not affected.
    assert_eq!(get(addr, "/healthz").status(), 200);
    drop(sockets);
}

/// Whether a response has begun or the connection was closed. Consumes no data.
fn has_answer(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let peeked = socket.peek(&mut [0]);
    !matches!(peeked, Err(err) if err.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn incomplete_request_bodies_have_a_memory_budget() {
    let server = Server::start("[server]\nrequest_timeout = '1m'\n[limits]\nmatchers = 1000\n");
    let addr = server.addr();
    let length = 1_000_000;
    let head = format!(
        "QUERY {PATH} HTTP/1.1\r\nHost: x\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    );
    let body = "x".repeat(length - 1);

    let (growth, _sockets) = server.growth(|| {
        let mut sockets = Vec::new();
        for _ in 0..150 {
            let mut socket = connect(addr);
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(body.as_bytes()).ok();
            sockets.push(socket);
        }
        eventually("refusals", || {
            let refused = sockets.iter().filter(|socket| has_answer(socket)).count();
            (refused >= 50).then_some(())
        });
        sockets
    });

    // The clients sent 150 MB.
    assert!(growth < 110 * MIB, "{growth} KiB");
}

#[test]
fn the_cache_of_verified_tokens_has_a_memory_budget() {
    const TOKENS: usize = 3000;
    let server = Server::start("");
    let mut publisher = Client::connect(server.addr());
    let topics: Vec<_> = (0..60)
        .map(|n| format!("/{n:04}/{}", "x".repeat(50)))
        .collect();
    let mut bytes = 0;

    let (growth, ()) = server.growth(|| {
        for n in 0..TOKENS {
            let own = format!("/{n}");
            let all: Vec<_> = topics.iter().map(|topic| &**topic).chain([&*own]).collect();
            let token = token_for(HUB, json!([grant("publish", &all)]));
            bytes += token.len();
            let update = form(&[("topic", &own), ("data", "x")]);
            assert_eq!(publisher.post(&bearer(&token), &update).status(), 200);
        }
    });

    println!("{TOKENS} tokens of {bytes} bytes together: {growth} KiB");
    // A parsed token uses about eight times its length, so remembering all of them would use 120 MB.
    assert!(bytes > 15_000_000, "{bytes}");
    assert!(growth < 60 * MIB, "{growth} KiB");
}

#[test]
fn the_cache_of_pattern_matches_has_a_memory_budget() {
    const UPDATES: usize = 2000;
    let server = Server::start("[stream]\nhistory_bytes = 1048576\n");
    let token = token_for(HUB, json!([grant("publish", &["*"])]));
    let target = format!("{PATH}?match_urlpattern=/:a/:b&match=end");
    let mut stream = Stream::request(server.addr(), &target, b"");
    let mut publisher = Client::connect(server.addr());

    let (growth, ()) = server.growth(|| {
        for n in 0..UPDATES {
            let topics: Vec<_> = (0..100)
                .map(|at| format!("{n}-{at}-{}", "x".repeat(100)))
                .collect();
            let fields: Vec<_> = topics.iter().map(|topic| ("topic", &**topic)).collect();
            assert_eq!(
                publisher.post(&bearer(&token), &form(&fields)).status(),
                200
            );
        }
        assert_eq!(publisher.post(&bearer(&token), "topic=end").status(), 200);
        stream.event().unwrap();
    });

    println!("{} topics: {growth} KiB", 100 * UPDATES);
    // Without a budget, each cache would need 50 MB, at a quarter of a kilobyte for each result.
    assert!(growth < 45 * MIB, "{growth} KiB");
}

#[test]
fn stalled_readers_share_the_memory_of_unsent_events() {
    const READERS: usize = 200;
    const UPDATES: usize = 300;
    let server = Server::start("[stream]\nhistory_bytes = 1048576\n");
    let token = token_for(HUB, json!([grant("publish", &["*"])]));
    let mut publisher = Client::connect(server.addr());
    let update = form(&[("topic", "a"), ("data", &"x".repeat(50_000))]);

    let (growth, readers) = server.growth(|| {
        let connect = |_| {
            let mut socket = connect_small(server.addr());
            write!(socket, "GET {PATH}?match=a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            socket
        };
        let readers: Vec<_> = (0..READERS).map(connect).collect();
        for _ in 0..UPDATES {
            assert_eq!(publisher.post(&bearer(&token), &update).status(), 200);
        }
        readers
    });

    println!("{READERS} stalled readers of {UPDATES} updates of 50 KB: {growth} KiB");
    // Each reader was sent 15 MB.
    assert!(growth < 30 * MIB, "{growth} KiB");
    drop(readers);
}
