//! Shutdown: every stream receives its last event and a `retry:`, and the process ends in time.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use crate::support::{
    client::{Stream, connect, connect_small, status},
    eventually,
    process::{Process, command},
    server::TestServer,
};
use actix::{Context, Handler, Message};
use rustix::process::Signal;
use sse_broadcaster::Broadcaster;

fn start(args: &[&str]) -> (Process, SocketAddr) {
    let nowhere = tempfile::tempdir().unwrap();
    let args = [&["--bind", "127.0.0.1:0"], args].concat();
    let process = Process::spawn(command(nowhere.path(), &args));
    let addr = process.addr();
    (process, addr)
}

/// A subscriber that never reads.
fn stalled(addr: SocketAddr) -> TcpStream {
    let mut socket = connect_small(addr);
    socket
        .write_all(b"GET /events/sse?last_event_id=earliest HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    socket
}

#[test]
fn a_signal_ends_each_stream_with_a_retry_and_the_process_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut process, addr) = start(&["--interval", "20ms"]);
        let mut stream = Stream::resume(addr, Some("earliest"));
        let mut last_id = stream.event().unwrap().id.unwrap();

        process.signal(signal);
        let mut blocks = Vec::new();
        while let Some(block) = stream.block() {
            blocks.push(block);
        }

        let goodbye = blocks.pop().unwrap();
        for block in blocks {
            let id = block.strip_prefix("id: ").unwrap();
            last_id = id.lines().next().unwrap().to_owned();
        }
        let retry = goodbye.strip_prefix("retry: ").unwrap();
        let checkpoint = format!("\nevent: checkpoint\nid: {last_id}\ndata: {{}}\n\n");
        let retry: u64 = retry.strip_suffix(&checkpoint).unwrap().parse().unwrap();
        assert!((1000..=3000).contains(&retry), "{retry}");
        stream.assert_closed();
        assert_eq!(process.wait().code(), Some(0));
    }
}

#[test]
fn a_subscriber_gets_every_event_up_to_the_shutdown() {
    let mut server = TestServer::quiet();
    let mut stream = Stream::open(server.addr);
    server.wait_for_live(1);

    server.publish_numbers(2000);
    server.begin_stop();
    let numbers = stream.numbers(2000);

    assert!(numbers.into_iter().eq(0..2000));
    stream.assert_ends();
    server.join().unwrap();
}

#[test]
fn a_draining_server_refuses_connections_and_is_not_ready() {
    let (process, addr) = start(&["--interval", "1ms"]);
    let mut kept = connect(addr);
    let mut ask = |target: &str| {
        write!(kept, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 4096];
        let length = kept.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let before = ask("/readyz");
    let _stalled = fill(addr);

    process.signal(Signal::TERM);
    process.wait_for_log("shutting down: 1 streams");
    eventually("connections to be refused", || {
        TcpStream::connect(addr).is_err().then_some(())
    });
    let ready = ask("/readyz");
    let alive = ask("/healthz");

    assert!(before.starts_with("HTTP/1.1 200"), "{before}");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("shutting down"), "{ready}");
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
}

/// A stalled subscriber whose socket buffers are full.
fn fill(addr: SocketAddr) -> TcpStream {
    let socket = stalled(addr);
    eventually("a subscriber whose buffers are full", || {
        let status = status(addr);
        let events = status["totals"]["events"].as_u64().unwrap();
        let stuck = status["subscribers"]["catching_up"] == 1;
        (stuck && events > 500).then_some(())
    });
    socket
}

#[test]
fn ten_thousand_streams_including_stalled_ones_end_within_the_drain_timeout() {
    const STREAMS: usize = 10_000;
    const STALLED: usize = 20;
    let config = tempfile::NamedTempFile::new().unwrap();
    let configure = |interval: &str| {
        let message = "x".repeat(1000);
        let config_text = format!(
            "[server]\ndrain_timeout = \"5s\"\n\
             [stream]\nhistory = 1000\n\
             [ticker]\ninterval = \"{interval}\"\nmessage = \"{message}\"\n"
        );
        std::fs::write(config.path(), config_text).unwrap();
    };
    configure("1ms");
    let (mut process, addr) = start(&["--config", config.path().to_str().unwrap()]);
    eventually("a history longer than socket buffers", || {
        let status = status(addr);
        (status["history"]["events"] == 1000).then_some(())
    });
    configure("1s");
    process.signal(Signal::HUP);
    process.wait_for_log("in effect now: ticker.interval");
    let mut streams: Vec<_> = (0..STREAMS).map(|_| Stream::open(addr)).collect();
    let _stalled: Vec<_> = (0..STALLED).map(|_| stalled(addr)).collect();
    eventually("all streams to be registered", || {
        let status = status(addr);
        let subscribers = &status["subscribers"];
        (subscribers["live"] == STREAMS && subscribers["catching_up"] == STALLED).then_some(())
    });

    let start = Instant::now();
    process.signal(Signal::TERM);
    let status = process.wait();
    let took = start.elapsed();

    assert_eq!(status.code(), Some(0));
    assert!(took <= Duration::from_secs(5), "{took:?}");
    for stream in &mut streams {
        let mut last = String::new();
        while let Some(block) = stream.block() {
            last = block;
        }
        assert!(last.contains("\nevent: checkpoint\n"), "{last}");
        stream.assert_closed();
    }
    process.wait_for_log(&format!("{STALLED} streams were cut off"));
    println!("{STREAMS} streams ended, {STALLED} that read nothing cut off, in {took:?}");
}

#[test]
fn a_reader_that_reads_nothing_is_disconnected_at_the_drain_timeout() {
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        config.path(),
        "[server]\ndrain_timeout = \"1s\"\n[ticker]\ninterval = \"1ms\"\n\
         message = \"12345678901234567890123456789012345678901234567890{n}\"\n",
    )
    .unwrap();
    let (mut process, addr) = start(&["--config", config.path().to_str().unwrap()]);
    let _stalled = fill(addr);

    let start = Instant::now();
    process.signal(Signal::TERM);
    let status = process.wait();
    let took = start.elapsed();

    assert_eq!(status.code(), Some(0));
    assert!(took <= Duration::from_secs(1), "{took:?}");
    process.wait_for_log("1 streams were cut off");
}

#[test]
fn a_second_signal_ends_the_process_immediately() {
    let (mut process, addr) = start(&["--interval", "1ms"]);
    let _stalled = fill(addr);

    process.signal(Signal::TERM);
    process.wait_for_log("shutting down: 1 streams");
    let start = Instant::now();
    process.signal(Signal::INT);
    let status = process.wait();

    assert_eq!(status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(3));
    process.wait_for_log("second signal");
}

#[test]
fn an_address_in_use_ends_the_start_with_1_and_an_error_message() {
    let (_process, addr) = start(&[]);

    let second = crate::support::process::run(Path::new("."), &["--bind", &addr.to_string()]);

    assert_eq!(second.code, Some(1));
    assert!(
        second
            .stderr
            .contains(&format!("cannot listen on {addr} (server.bind)")),
        "{}",
        second.stderr
    );
}

/// A message that makes the `Broadcaster` panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Poison;

impl Handler<Poison> for Broadcaster {
    type Result = ();

    fn handle(&mut self, _: Poison, _: &mut Context<Self>) {
        panic!("poisoned by a test");
    }
}

#[test]
fn the_server_ends_with_an_error_when_the_broadcaster_dies() {
    let mut server = TestServer::quiet();
    let mut stream = Stream::open(server.addr);
    server.wait_for_live(1);
    stream.chunk();

    server.hub.broadcaster().do_send(Poison);
    let error = server.join().unwrap_err();

    assert!(
        error.to_string().contains("the Broadcaster died"),
        "{error}"
    );
}
