//! Runs the load against servers with known faults, or without faults. The load must report exactly these
//! faults.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

const SSE_BENCH: &str = env!("CARGO_BIN_EXE_sse-bench");

/// A server that is ended at the end of the test.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(SSE_BENCH)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let (_, addr) = line.split_once("http://").unwrap();
        let addr = addr.trim_end().trim_end_matches('/').parse().unwrap();
        Self { child, addr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn load(addr: SocketAddr, pid: u32, arguments: &[&str]) -> Value {
    let output = Command::new(SSE_BENCH)
        .args(arguments)
        .args(["--addr", &addr.to_string(), "--pid", &pid.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Starts a server that immediately sends this whole body on each of `subscribers` connections, and keeps the
/// streams open.
fn server_that_sends(body: &'static str, subscribers: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut streams = Vec::new();
        for stream in listener.incoming().take(subscribers) {
            let mut stream = stream.unwrap();
            assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n{body}").unwrap();
            streams.push(stream);
        }
        // Keep the streams open until the process ends.
        std::mem::forget(streams);
    });
    addr
}

#[test]
fn a_server_without_faults_has_deliveries_and_no_faults() {
    let server = Server::start(&["bare", "--interval", "20"]);

    let arguments = [
        "load",
        "--subscribers=50",
        "--settle=0.2",
        "--measure=1",
        "--threads=2",
    ];
    let figures = load(server.addr, server.child.id(), &arguments);

    assert_eq!(figures["subscribers"], 50);
    // 2,500 deliveries are expected, but there may be fewer if other tests keep the machine busy.
    assert!(figures["deliveries"].as_u64().unwrap() >= 50, "{figures}");
    for fault in ["lost", "duplicated", "closed"] {
        assert_eq!(figures[fault], 0, "{fault} in {figures}");
    }
    assert!(
        figures["spread_p99_ms"].as_f64().unwrap() >= figures["spread_p50_ms"].as_f64().unwrap()
    );
    assert!(figures["connect_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn skipped_numbers_are_lost_and_repeated_numbers_are_duplicated() {
    let body = "data: Message number: 5\n\ndata: Message number: 6\n\ndata: Message number: 9\n\n\
                data: Message number: 9\n\n";
    let addr = server_that_sends(body, 3);

    let arguments = ["load", "--subscribers=3", "--settle=0.1", "--measure=0.1"];
    let figures = load(addr, std::process::id(), &arguments);

    assert_eq!(figures["lost"], 2 * 3);
    assert_eq!(figures["duplicated"], 3);
}

#[test]
fn a_stream_that_the_server_ends_is_closed_and_has_no_deliveries() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).unwrap(), 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    });

    let arguments = ["load", "--subscribers=1", "--settle=0.2", "--measure=0.1"];
    let figures = load(addr, std::process::id(), &arguments);

    assert_eq!(figures["closed"], 1);
    assert_eq!(figures["deliveries"], 0);
    assert_eq!(figures["cpu_us_per_delivery"], Value::Null);
}

#[test]
fn idle_subscribers_cost_little_cpu_time_and_their_memory_is_released() {
    let server = Server::start(&["bare", "--interval", "60000"]);

    let arguments = [
        "idle",
        "--subscribers=50",
        "--settle=0.1",
        "--measure=0.5",
        "--patience=5",
    ];
    let figures = load(server.addr, server.child.id(), &arguments);

    assert_eq!(figures["closed"], 0);
    assert!(figures["cpu_percent"].as_f64().unwrap() < 50.0);
    assert!(figures["back_after_ms"].is_number());
}
