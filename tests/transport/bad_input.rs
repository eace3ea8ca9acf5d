//! Malicious input from the network: the server refuses it or closes the connection in time, other clients
//! are not affected, nothing panics, and the log stays quiet.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::support::{
    client::{Stream, connect, get, request},
    process::{Process, command},
};

/// The server with short timeouts and a demo page, and one well-behaved subscriber.
struct Victim {
    process: Process,
    addr: SocketAddr,
    subscriber: Stream,
    next: u64,
}

impl Victim {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("static")).unwrap();
        std::fs::write(folder.path().join("static/index.html"), "page").unwrap();
        std::fs::write(folder.path().join("static/large"), [0; 1 << 20]).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let mut command = command(folder.path(), &["--bind", "127.0.0.1:0"]);
        command
            .env("BROADCASTER__SERVER__REQUEST_TIMEOUT", "500ms")
            .env("BROADCASTER__SERVER__WRITE_TIMEOUT", "1s")
            .env("BROADCASTER__TICKER__INTERVAL", "20ms");
        let process = Process::spawn(command);
        let addr = process.addr();
        // Keep the folder until the process ends: the server reads its files on each request.
        std::mem::forget(folder);
        Self {
            subscriber: Stream::resume(addr, Some("earliest")),
            process,
            addr,
            next: 0,
        }
    }

    /// Asserts that the subscriber received every number so far, that the routes respond, that nothing
    /// panicked, and that the log has no line except the one with the address.
    fn assert_unharmed(&mut self) {
        for number in self.subscriber.numbers(10) {
            assert_eq!(number, self.next);
            self.next += 1;
        }
        for target in ["/healthz", "/readyz", "/status", "/"] {
            assert_eq!(get(self.addr, target).status(), 200, "{target}");
        }
        let log = self.process.stderr();
        assert!(!log.contains("panicked"), "{log}");
        let lines: Vec<_> = log
            .lines()
            .filter(|line| !line.contains("listening on"))
            .collect();
        assert!(lines.is_empty(), "{lines:?}");
    }
}

/// Waits until the server closes the connection. Returns what it sent and how long that took.
fn wait_for_close(mut socket: TcpStream) -> (String, Duration) {
    let start = Instant::now();
    let mut said = Vec::new();
    // A reset also closes the connection.
    if let Err(err) = socket.read_to_end(&mut said) {
        assert_eq!(err.kind(), std::io::ErrorKind::ConnectionReset, "{err}");
    }
    (String::from_utf8_lossy(&said).into_owned(), start.elapsed())
}

#[test]
fn input_that_is_not_http_is_answered_with_400_and_closed() {
    let mut victim = Victim::start();

    for sent in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /events/sse HTTP/9.9\r\n\r\n",
        b"GET /events/sse HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /events/sse HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
        b"POST /events/sse HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /events/sse HTTP/1.1\r\nContent-Length: -1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let mut socket = connect(victim.addr);
        socket.write_all(sent).unwrap();
        let (said, _) = wait_for_close(socket);

        let shown = String::from_utf8_lossy(sent);
        assert!(said.starts_with("HTTP/1.1 400 "), "{shown:?}: {said:?}");
    }

    victim.assert_unharmed();
}

#[test]
fn a_request_with_too_many_or_too_long_headers_is_refused() {
    let mut victim = Victim::start();

    let many = "A: b\r\n".repeat(10_000);
    let long = format!("A: {}\r\n", "b".repeat(1 << 20));
    for headers in [many, long] {
        let mut socket = connect(victim.addr);
        let request = format!("GET /events/sse HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        // The server may close the connection before it has read everything.
        let sent = socket.write_all(request.as_bytes());
        let (said, _) = wait_for_close(socket);

        let refused = said.starts_with("HTTP/1.1 431 ") || said.starts_with("HTTP/1.1 400 ");
        assert!(refused || sent.is_err() || said.is_empty(), "{said:?}");
        assert!(!said.contains("HTTP/1.1 200"), "{said:?}");
    }

    victim.assert_unharmed();
}

#[test]
fn the_connection_of_an_unfinished_request_is_closed_after_a_timeout() {
    let mut victim = Victim::start();

    let halves: [&[u8]; 4] = [
        b"",
        b"GET /events/sse HT",
        // A partial head after a complete request, which the parser's own timeout does not cover.
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /eve",
        b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx",
    ];
    for half in halves {
        let mut socket = connect(victim.addr);
        socket.write_all(half).unwrap();
        let (_, took) = wait_for_close(socket);

        let shown = String::from_utf8_lossy(half);
        assert!(took < Duration::from_secs(3), "{shown:?}: {took:?}");
    }

    victim.assert_unharmed();
}

#[test]
fn the_connection_of_a_request_sent_too_slowly_is_closed_after_a_timeout() {
    let mut victim = Victim::start();
    let mut socket = connect(victim.addr);
    let start = Instant::now();

    let mut dribbled = 0;
    while start.elapsed() < Duration::from_secs(10) {
        if socket.write_all(b"G").is_err() {
            break;
        }
        dribbled += 1;
        // The attacker's pace, not a wait for the server.
        std::thread::sleep(Duration::from_millis(20));
    }

    assert!(start.elapsed() < Duration::from_secs(3), "{dribbled} bytes");
    victim.assert_unharmed();
}

#[test]
fn a_request_with_an_endless_last_event_id_is_closed_after_a_timeout() {
    let mut victim = Victim::start();
    let mut socket = connect(victim.addr);
    socket
        .write_all(b"GET /events/sse HTTP/1.1\r\nLast-Event-ID: ")
        .unwrap();
    let start = Instant::now();

    let piece = [b'x'; 65_536];
    while start.elapsed() < Duration::from_secs(10) && socket.write_all(&piece).is_ok() {}

    assert!(start.elapsed() < Duration::from_secs(3));
    victim.assert_unharmed();
}

#[test]
fn five_thousand_unfinished_requests_are_closed_without_affecting_others() {
    let mut victim = Victim::start();

    let sockets: Vec<_> = (0..5000)
        .map(|_| {
            let mut socket = connect(victim.addr);
            socket
                .write_all(b"GET /events/sse HTTP/1.1\r\nHost:")
                .unwrap();
            socket
        })
        .collect();
    victim.assert_unharmed();
    let start = Instant::now();
    for socket in sockets {
        wait_for_close(socket);
    }

    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    victim.assert_unharmed();
}

#[test]
fn a_client_that_keeps_sending_on_its_stream_is_disconnected() {
    let mut victim = Victim::start();

    for sent in [SMALLEST_REQUEST.repeat(5000), b"x".repeat(200_000)] {
        let mut socket = connect(victim.addr);
        socket
            .write_all(b"GET /events/sse HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut first = [0; 16];
        socket.read_exact(&mut first).unwrap();
        socket.write_all(&sent).ok();

        let (_, took) = wait_for_close(socket);

        assert!(took < Duration::from_secs(3), "{took:?}");
    }

    victim.assert_unharmed();
}

/// The request that is cheapest for an attacker.
const SMALLEST_REQUEST: &[u8] = b"GET / HTTP/1.0\n\n";

#[test]
fn pipelined_requests_cost_little_memory_and_time() {
    let mut victim = Victim::start();
    let before = victim.process.resident_kb();
    let stream: &[u8] = b"GET /events/sse HTTP/1.1\r\nHost: x\r\n\r\n";
    let body: &[u8] = b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let chunked: &[u8] = b"POST /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let large: &[u8] = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";

    let mut sockets = Vec::new();
    for first in [b"", stream, body, chunked, large] {
        for _ in 0..30 {
            let mut socket = connect(victim.addr);
            let sent = [first, &SMALLEST_REQUEST.repeat(8000)].concat();
            // The server may close the connection before it has read everything.
            socket.write_all(&sent).ok();
            sockets.push(socket);
        }
    }
    victim.assert_unharmed();
    let grown = victim.process.resident_kb().saturating_sub(before);
    for socket in sockets {
        let (_, took) = wait_for_close(socket);
        assert!(took < Duration::from_secs(3), "{took:?}");
    }

    assert!(grown < 150 * 200, "{grown} KiB for 150 connections");
    victim.assert_unharmed();
}

#[test]
fn a_few_pipelined_requests_are_all_answered() {
    let mut victim = Victim::start();
    let mut socket = connect(victim.addr);

    for _ in 0..3 {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        socket.write_all(&request.repeat(10)).unwrap();
        let mut said = String::new();
        while said.matches("\"alive\"").count() < 10 {
            let mut some = [0; 4096];
            let length = socket.read(&mut some).unwrap();
            assert!(length > 0, "closed after {said:?}");
            said.push_str(std::str::from_utf8(&some[..length]).unwrap());
        }
    }

    victim.assert_unharmed();
}

#[test]
fn a_stream_is_the_last_response_of_its_connection_and_its_request_has_no_body() {
    let mut victim = Victim::start();

    for rest in [
        "Content-Length: 5\r\n\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut socket = connect(victim.addr);
        let sent = format!("GET /events/sse HTTP/1.1\r\nHost: x\r\n{rest}");
        socket.write_all(sent.as_bytes()).unwrap();
        let mut said = [0; 12];
        socket.read_exact(&mut said).unwrap();

        assert_eq!(&said, b"HTTP/1.1 400", "{rest:?}");
    }

    victim.assert_unharmed();
}

#[test]
fn no_request_path_leads_out_of_the_static_folder() {
    let mut victim = Victim::start();

    for target in [
        "/../secret",
        "/..",
        "/%2e%2e/secret",
        "/%2E%2E%2Fsecret",
        "/..%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/static/../../secret",
        "/%252e%252e/secret",
        "/./../secret",
        "//../secret",
        "/....//secret",
        "/index.html/../../secret",
        "/%00",
        "/secret%00.html",
        "/.git",
        "/%c0%ae%c0%ae/secret",
        "/nothing",
    ] {
        let response = request(victim.addr, "GET", target, "");

        assert_eq!(response.status(), 404, "{target}");
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json"),
            "{target}"
        );
        assert!(!response.body.contains("secret"), "{target}");
    }

    victim.assert_unharmed();
}

#[test]
fn methods_other_than_get_and_head_on_files_get_405() {
    let mut victim = Victim::start();

    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = request(victim.addr, method, "/index.html", "");

        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.header("allow"), Some("get, head"));
    }
    assert_eq!(request(victim.addr, "HEAD", "/", "").status(), 200);

    victim.assert_unharmed();
}
