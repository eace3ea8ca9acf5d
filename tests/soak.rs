//! Thousands of subscribers come and go in random order while others listen. Those that stay receive every
//! number exactly once, and afterwards the server uses no more memory than before. The figures are printed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use support::{
    client::{Stream, status},
    eventually,
    process::{Process, command},
};

const CROWD: usize = 2000;
const ROUNDS: usize = 4000;
/// How many subscribers connect or disconnect in a round of the test.
const MOVES: usize = 20;
const LISTENERS: usize = 10;
/// How much more memory the allocator may keep afterwards: about 4 KiB for each subscriber of the largest
/// crowd.
const SLACK_KIB: u64 = 8 * 1024;

/// Resident memory in KiB, and the number of open descriptors.
fn footprint(process: &Process) -> (u64, usize) {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap();
    (process.resident_kb(), descriptors.count())
}

/// The footprint after resident memory has stopped shrinking, because the allocator returns free memory with
/// a delay.
fn settled(process: &Process) -> (u64, usize) {
    let mut least = (u64::MAX, Instant::now());
    eventually("the memory to settle", || {
        let resident = process.resident_kb();
        if resident < least.0 {
            least = (resident, Instant::now());
        }
        (least.1.elapsed() > Duration::from_secs(3)).then_some(())
    });
    footprint(process)
}

/// Connects one subscriber. The source address is one of several, so that ports do not run out.
fn come(addr: SocketAddr, random: &mut fastrand::Rng) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = Ipv4Addr::new(127, 0, 1, random.u8(1..=16));
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    let mut socket = TcpStream::from(socket);
    let id = ["", "Last-Event-ID: earliest\r\n", "Last-Event-ID: x\r\n"];
    let id = random.choice(id).unwrap_or_default();
    write!(socket, "GET /events/sse HTTP/1.1\r\nHost: x\r\n{id}\r\n").unwrap();
    socket
}

/// Disconnects in one of three ways.
fn go(mut socket: TcpStream, random: &mut fastrand::Rng) {
    match random.u8(0..3) {
        // Closing a socket with unread data sends a reset.
        0 => {}
        1 => socket.shutdown(std::net::Shutdown::Write).unwrap(),
        _ => {
            socket.set_nonblocking(true).unwrap();
            let mut some = [0; 65_536];
            while socket.read(&mut some).is_ok_and(|length| length > 0) {}
        }
    }
}

fn listen(addr: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut stream = Stream::open(addr);
        let first = stream.numbers(1)[0];
        let mut got = 1;
        while !stop.load(Relaxed) {
            assert_eq!(stream.numbers(1), [first + got]);
            got += 1;
        }
        got as usize
    })
}

#[test]
fn steady_subscribers_get_every_number_once_and_departed_ones_leave_no_memory() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), &["--bind", "127.0.0.1:0"]);
    // The history lasts 20 seconds, so that a listener never needs an evicted event, even on a busy machine.
    command.env("BROADCASTER__TICKER__INTERVAL", "20ms");
    let process = Process::spawn(command);
    let addr = process.addr();
    let stop = Arc::new(AtomicBool::new(false));
    let listeners: Vec<_> = (0..LISTENERS).map(|_| listen(addr, stop.clone())).collect();

    let mut crowd: Vec<TcpStream> = Vec::new();
    let mut came = 0;
    let mut before = None;
    let start = Instant::now();
    for round in 0..ROUNDS {
        for _ in 0..MOVES {
            if crowd.is_empty() || (crowd.len() < CROWD && random.u8(0..10) < 6) {
                crowd.push(come(addr, &mut random));
                came += 1;
            } else {
                let leaving = random.usize(0..crowd.len());
                go(crowd.swap_remove(leaving), &mut random);
            }
        }
        // When the crowd has reached its largest size, the server has allocated all buffers that it keeps.
        // Measure then.
        if round == ROUNDS / 4 {
            crowd.drain(..).for_each(|socket| go(socket, &mut random));
            wait_for_listeners_alone(addr);
            before = Some(settled(&process));
        }
    }
    let took = start.elapsed();
    crowd.drain(..).for_each(|socket| go(socket, &mut random));
    wait_for_listeners_alone(addr);
    let (resident_before, descriptors_before) = before.unwrap();
    // Free memory is returned within some seconds.
    let (resident, descriptors) = eventually("memory and descriptors as before", || {
        let (resident, descriptors) = footprint(&process);
        let as_before =
            resident <= resident_before + SLACK_KIB && descriptors <= descriptors_before + 5;
        as_before.then_some((resident, descriptors))
    });
    stop.store(true, Relaxed);
    let heard: Vec<_> = listeners
        .into_iter()
        .map(|listener| listener.join().unwrap())
        .collect();

    println!(
        "{came} subscribers came and went in {ROUNDS} rounds, at most {CROWD} at once, in {took:?}; \
         {LISTENERS} listeners got {} to {} numbers each, none lost, none twice; \
         resident {resident_before} KiB before, {resident} KiB after; \
         descriptors {descriptors_before} before, {descriptors} after",
        heard.iter().min().unwrap(),
        heard.iter().max().unwrap(),
    );
    println!("{}", status(addr)["totals"]);
    assert!(took < Duration::from_secs(60), "{took:?}");
}

fn wait_for_listeners_alone(addr: SocketAddr) {
    eventually("only the listeners to be registered", || {
        let subscribers = &status(addr)["subscribers"];
        let live = subscribers["live"].as_u64().unwrap();
        let catching_up = subscribers["catching_up"].as_u64().unwrap();
        (live + catching_up == LISTENERS as u64).then_some(())
    });
}
