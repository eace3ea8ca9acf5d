//! Hours of subscribers that come and go, publishing, slow readers and reloads, on a file log and on a Redis
//! log. Memory, descriptors and log size must not grow. `SOAK_SECONDS=7200` (`make soak`) runs two hours. By
//! default it runs a few seconds, which only check that everything works.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test prints its figures, and fails by panicking"
)]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;
use sse_broadcaster::EventId;
use support::{
    client::{Stream, connect_small, try_connect},
    mercure::{Client, bearer, folder_with, form, grant, token_for},
    process::{Process, command},
    redis::Redis,
};
use tempfile::TempDir;

const PATH: &str = "/.well-known/mercure";
const HUB_URL: &str = "https://hub.example.com/.well-known/mercure";

/// Maximum number of subscribers that come and go, connected at once.
const CROWD: usize = 150;
const SLOW: usize = 10;
/// Pause between two events of the publisher.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);
const RELOAD: Duration = Duration::from_secs(3);

/// A server with its log.
struct Subject {
    name: &'static str,
    process: Process,
    folder: TempDir,
    redis: Option<Redis>,
    stop: AtomicBool,
    published: AtomicU64,
    received: AtomicU64,
    came: AtomicU64,
    reloads: AtomicU64,
}

/// The resources in use at one moment.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    memory_kib: u64,
    descriptors: u64,
    /// Size of the log file in bytes, or number of entries in Redis.
    log: u64,
}

impl Subject {
    fn start(name: &'static str, redis: Option<Redis>) -> Self {
        let log = match &redis {
            Some(redis) => format!("kind = 'redis'\nurl = '{}'\nhistory = 5000", redis.url()),
            None => "kind = 'file'\npath = 'events.redb'".to_owned(),
        };
        let config = format!(
            "[ticker]\ninterval = '100ms'\n\
             [hub]\nurl = '{HUB_URL}'\nsubscriptions = true\n\
             [auth]\nissuers = [{{ issuer = 'https://example.com', secret_file = 'secret' }}]\n\
             [stream]\nhistory = 2000\nhistory_bytes = 4194304\nheartbeat = '1s'\n\
             [log]\n{log}\n"
        );
        let folder = folder_with(&config);
        let process = Process::spawn(command(folder.path(), &["--bind", "127.0.0.1:0"]));
        process.addr();
        Self {
            name,
            process,
            folder,
            redis,
            stop: AtomicBool::new(false),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            came: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
        }
    }

    fn addr(&self) -> SocketAddr {
        self.process.addr()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn footprint(&self) -> Footprint {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        let log = match &self.redis {
            Some(redis) => {
                let length = redis.command(&["XLEN", "{broadcaster}:log"]);
                length.parse().unwrap()
            }
            None => fs::metadata(self.file()).unwrap().len(),
        };
        Footprint {
            memory_kib: self.process.resident_kb(),
            descriptors: descriptors.count() as u64,
            log,
        }
    }

    /// Maximum growth of the log in a run that is too short to fill its history, in the unit of
    /// [`Footprint::log`].
    fn short_run_log(&self) -> u64 {
        match self.redis {
            Some(_) => 5000,
            None => 8 << 20,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("events.redb")
    }

    /// Subscribers that start at various positions, and disconnect at random times.
    fn churn(&self) {
        let mut random = fastrand::Rng::new();
        let mut crowd: Vec<TcpStream> = Vec::new();
        while !self.is_over() {
            if crowd.len() < random.usize(1..=CROWD) {
                if let Ok(mut socket) = try_connect(self.addr()) {
                    let id = ["", "Last-Event-ID: earliest\r\n", "Last-Event-ID: x\r\n"];
                    let id = random.choice(id).unwrap();
                    let topic = random.u32(..50);
                    let target = random.choice([
                        "/events/sse".to_owned(),
                        format!("{PATH}?match=*"),
                        format!("{PATH}?match={topic}&match_urlpattern=/{topic}/:id"),
                    ]);
                    let target = target.unwrap();
                    write!(socket, "GET {target} HTTP/1.1\r\nHost: x\r\n{id}\r\n").ok();
                    crowd.push(socket);
                    self.came.fetch_add(1, Relaxed);
                }
            } else {
                let leaving = random.usize(..crowd.len());
                crowd.swap_remove(leaving);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn publish(&self) {
        let mut random = fastrand::Rng::new();
        let token = token_for(HUB_URL, json!([grant("publish", &["*"])]));
        let headers = bearer(&token);
        let mut client = Client::connect(self.addr());
        while !self.is_over() {
            let n = self.published.load(Relaxed);
            let most = if random.u8(..) < 5 { 20_000 } else { 200 };
            let length = random.usize(..most);
            let data = format!("{n} {}", "x".repeat(length));
            let topic = random.u32(..50).to_string();
            let id = format!("urn:{n}");
            let mut update = vec![("topic", &*topic), ("data", &data)];
            if random.bool() {
                update.push(("id", &id));
            }
            let answer = client.post(&headers, &form(&update));
            assert_eq!(answer.status(), 200, "{}: {answer:?}", self.name);
            self.published.fetch_add(1, Relaxed);
            thread::sleep(PUBLISH_INTERVAL);
        }
    }

    /// Readers that are too slow for all events. One of them reads nothing.
    fn read_slowly(&self) {
        let connect = |_| {
            let mut socket = connect_small(self.addr());
            write!(socket, "GET {PATH}?match=* HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let mut sockets: Vec<_> = (0..SLOW).map(connect).collect();
        let mut some = [0; 256];
        while !self.is_over() {
            for socket in &mut sockets[1..] {
                if matches!(socket.read(&mut some), Ok(0)) {
                    *socket = connect(0);
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asserts that events arrive in order and without a gap.
    fn listen(&self) {
        let target = format!("{PATH}?match=*");
        let mut stream = Stream::request(self.addr(), &target, b"");
        let mut last: Option<EventId> = None;
        while !self.is_over() {
            let event = stream.event().unwrap();
            assert_ne!(
                event.name.as_deref(),
                Some("gap"),
                "{}: {event:?}",
                self.name
            );
            if let Some(Ok(id)) = event.id.as_deref().map(EventId::parse) {
                assert!(last.is_none_or(|last| last < id), "{}: {id}", self.name);
                last = Some(id);
            }
            self.received.fetch_add(1, Relaxed);
        }
    }

    fn reload(&self) {
        let path = self.folder.path().join("config/default.toml");
        let config = fs::read_to_string(&path).unwrap();
        let other = config.replace("interval = '100ms'", "interval = '150ms'");
        assert_ne!(config, other);
        for round in 0_u64.. {
            for _ in 0..30 {
                if self.is_over() {
                    return;
                }
                thread::sleep(RELOAD / 30);
            }
            let text = if round % 2 == 0 { &other } else { &config };
            fs::write(&path, text).unwrap();
            self.process.signal(Signal::HUP);
            self.reloads.fetch_add(1, Relaxed);
        }
    }
}

/// The largest footprint during this time.
fn largest(subject: &Subject, within: Duration) -> Footprint {
    let began = Instant::now();
    let mut largest = subject.footprint();
    while began.elapsed() < within {
        thread::sleep(within / 50);
        let now = subject.footprint();
        largest = Footprint {
            memory_kib: largest.memory_kib.max(now.memory_kib),
            descriptors: largest.descriptors.max(now.descriptors),
            log: largest.log.max(now.log),
        };
    }
    largest
}

#[test]
fn a_long_run_does_not_grow_memory_descriptors_or_the_log() {
    let seconds = std::env::var("SOAK_SECONDS").ok();
    let seconds = seconds.map_or(12, |text| text.parse().expect("a number of seconds"));
    let lasts = Duration::from_secs(seconds);
    let is_soak = lasts >= Duration::from_secs(600);
    let subjects = [
        Subject::start("file", None),
        Subject::start("redis", Some(Redis::start())),
    ];

    let footprints = thread::scope(|scope| {
        for subject in &subjects {
            scope.spawn(|| subject.churn());
            scope.spawn(|| subject.publish());
            scope.spawn(|| subject.read_slowly());
            scope.spawn(|| subject.listen());
            scope.spawn(|| subject.reload());
        }
        let measured = subjects.each_ref().map(|subject| {
            scope.spawn(move || {
                // Compare the end of the first twelfth with the end of the run. Each window is a sixtieth of
                // the run: two minutes in two hours.
                let window = lasts / 60;
                thread::sleep(lasts / 12 - window);
                let early = largest(subject, window);
                println!("{} after {:?}: {early:?}", subject.name, lasts / 12);
                thread::sleep(lasts - lasts / 12 - window);
                let late = largest(subject, window);
                subject.stop.store(true, Relaxed);
                (early, late)
            })
        });
        measured.map(|measured| measured.join().unwrap())
    });

    for (subject, (early, late)) in subjects.iter().zip(footprints) {
        println!(
            "{}: {} published, {} received, {} came and went, {} reloads in {lasts:?}; \
             {early:?} early, {late:?} at the end",
            subject.name,
            subject.published.load(Relaxed),
            subject.received.load(Relaxed),
            subject.came.load(Relaxed),
            subject.reloads.load(Relaxed),
        );
        let all = [
            (early.memory_kib, late.memory_kib, 16 << 10),
            (early.descriptors, late.descriptors, 50),
            (early.log, late.log, subject.short_run_log()),
        ];
        for (early, late, short_run_tolerance) in all {
            let most = if is_soak {
                early + early / 10
            } else {
                2 * early + short_run_tolerance
            };
            assert!(late <= most, "{}: {early} became {late}", subject.name);
        }
        assert!(subject.published.load(Relaxed) > 10);
        assert!(!subject.process.stderr().contains("panicked"));
    }
}
