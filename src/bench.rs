//! The steps that `cargo bench` measures, without sockets unless stated. Requires the feature `bench`, and is
//! not part of the public interface.

use std::{
    cell::Cell,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;

use crate::{
    auth::{Action, Grant, IssuerConfig, KeySource, Signer, TokenRules, TokenVerifier},
    delivery::{BATCH_BYTES, KeepAlive, Outlet, Part, Position, Registry},
    event::{Batch, Event, EventId, Framing, GivenId, ResumeFrom, Topic, wire},
    event_log::{MemoryLog, Portion, Read, ReadFrom, Retention, ValueRetention},
    matching::{HubUrl, Matcher, MatcherText, MatcherType, Selection},
    metrics::{DeliveryStats, Metrics},
};

/// Encodes an event as it is sent to subscribers, and returns the length in bytes.
pub fn encode(event: &Event) -> usize {
    let id = EventId {
        epoch: 1_763_856_000_000,
        seq: 42,
    };
    wire::event(id, event).len()
}

/// Where the benchmark writes the bytes for a subscriber.
enum Sink {
    /// Accepts all bytes, counts them, and discards them.
    Nothing(Cell<usize>),
    /// A TCP connection whose peer reads continuously.
    Socket(Rc<TcpStream>),
}

impl Sink {
    fn nothing() -> Self {
        Self::Nothing(Cell::new(0))
    }

    /// Opens a TCP connection to a thread of this process that reads and discards everything.
    fn socket() -> io::Result<Rc<TcpStream>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let socket = TcpStream::connect(listener.local_addr()?)?;
        socket.set_nodelay(true)?;
        let (mut other, _) = listener.accept()?;
        std::thread::spawn(move || io::copy(&mut other, &mut io::sink()));
        Ok(Rc::new(socket))
    }
}

impl Outlet for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Nothing(taken) => {
                taken.set(taken.get() + bytes.len());
                Ok(bytes.len())
            }
            Self::Socket(socket) => (&**socket).write(bytes),
        }
    }
}

/// A log in memory with live subscribers. Unless stated otherwise, the bytes for them are discarded, so that
/// writing costs nothing.
pub struct FanOut {
    log: MemoryLog,
    registry: Registry<Sink>,
    cursor: u64,
    /// The id and the receiver that `Registry::join` returned for each subscriber. Kept alive as in a running
    /// server.
    _joined: Vec<Box<dyn std::any::Any>>,
}

impl FanOut {
    /// Creates this many subscribers of the log's default topic, all at the head of an empty log.
    pub fn new(subscribers: usize) -> Self {
        let own = selection(vec![Matcher::exact(&own())]);
        Self::of((0..subscribers).map(|_| (own.clone(), Sink::nothing())))
    }

    /// Creates one subscriber for each of the topics `/0`, `/1`, …
    pub fn with_topics(topics: usize) -> Self {
        Self::of((0..topics).map(|n| (topic_number(n), Sink::nothing())))
    }

    /// Like [`Self::with_topics`], but the bytes of all subscribers are written to one TCP socket.
    pub fn with_topics_and_socket(topics: usize) -> io::Result<Self> {
        let socket = Sink::socket()?;
        let sink = || Sink::Socket(socket.clone());
        Ok(Self::of((0..topics).map(|n| (topic_number(n), sink()))))
    }

    /// Creates subscribers that each have one URL Pattern: `/0/:id`, `/1/:id`, …
    pub fn with_patterns(patterns: usize) -> Self {
        Self::of((0..patterns).map(|n| {
            let kind = MatcherType::UrlPattern;
            let written = MatcherText::parse(kind, &format!("/{n}/:id"), 100);
            let written = written.expect("this is a matcher");
            let matcher = Matcher::compile(written, &hub()).expect("this is a pattern");
            (selection(vec![matcher]), Sink::nothing())
        }))
    }

    fn of(subscribers: impl Iterator<Item = (Arc<Selection>, Sink)>) -> Self {
        let log = log(1000);
        let head = log.next();
        let mut registry = Registry::new(hub(), head);
        let now = Instant::now();
        let joined = subscribers
            .map(|(selection, sink)| {
                let joined = registry.join(&selection, sink, Position::announced_at(head), now);
                Box::new(joined) as Box<dyn std::any::Any>
            })
            .collect();
        Self {
            log,
            registry,
            cursor: head,
            _joined: joined,
        }
    }

    /// Appends `event` this many times and delivers all of these events. Returns the number of deliveries,
    /// one for each subscriber and event.
    pub fn publish(&mut self, event: &Event, events: usize) -> u64 {
        let now = Instant::now();
        for _ in 0..events {
            self.log.append(event, now);
        }
        let mut entries = Vec::new();
        self.log
            .read(ReadFrom::everything(self.cursor), ALL, |entry| {
                entries.push(entry.clone());
                true
            });
        let mut delivered = 0;
        for (group, round) in self.registry.route(&entries, now) {
            let slots = 0..self.registry.slots(group);
            let part = Part { group, slots };
            delivered += self.registry.deliver(&round, part, now).delivered;
        }
        self.cursor += events as u64;
        self.registry.set_delivered_to(self.cursor);
        delivered
    }

    /// Checks for each subscriber whether a heartbeat is due, and returns the number of bytes sent. None is
    /// due, so this is 0.
    pub fn check_idle(&mut self) -> u64 {
        let idle = Duration::from_secs(3600);
        let frames = KeepAlive {
            comment: wire::heartbeat(),
            checkpoint: None,
            newer_half: 0,
        };
        let mut sent = 0;
        for group in self.registry.groups() {
            let slots = 0..self.registry.slots(group);
            let part = Part { group, slots };
            let now = Instant::now();
            let stats = self.registry.keep_alive(&frames, part, idle, now);
            sent += stats.bytes;
        }
        sent
    }
}

/// Limits of a log read that never apply: one read returns all events.
const ALL: Portion = Portion {
    bytes: usize::MAX,
    topics: usize::MAX,
};

fn hub() -> HubUrl {
    HubUrl::parse("http://localhost/.well-known/mercure").expect("this is a URL")
}

fn own() -> Topic {
    Topic::parse("/ticker").expect("this is a topic")
}

fn topic_number(n: usize) -> Arc<Selection> {
    let topic = Topic::parse(format!("/{n}")).expect("this is a topic");
    selection(vec![Matcher::exact(&topic)])
}

fn selection(matchers: Vec<Matcher>) -> Arc<Selection> {
    Arc::new(Selection::new(hub(), matchers, Vec::new()))
}

/// The metrics that the fan-out updates once per round (a batch of events for all live subscribers), whatever
/// the number of subscribers.
#[derive(Default)]
pub struct Counting(Metrics);

impl Counting {
    /// Records one round with this many deliveries.
    pub fn round(&self, delivered: u64, took: Duration) {
        self.0.count_deliveries(&DeliveryStats {
            delivered,
            bytes: delivered * 50,
            fell_behind: 0,
        });
        self.0.observe_fan_out(took);
    }
}

/// A log with events that a subscriber reads to catch up.
pub struct History {
    log: MemoryLog,
    own: Arc<Selection>,
}

impl History {
    /// Creates a log with this many copies of `event`.
    pub fn new(event: &Event, events: usize) -> Self {
        let log = log(events);
        let now = Instant::now();
        for _ in 0..events {
            log.append(event, now);
        }
        let own = selection(vec![Matcher::exact(&own())]);
        Self { log, own }
    }

    /// Like [`Self::new`], but each event has an id that its publisher chose: `given-1`, `given-2`, …
    pub fn with_given_ids(event: &Event, events: usize) -> Self {
        let history = Self::new(event, 0);
        let log = log(events);
        let now = Instant::now();
        for n in 1..=events {
            let id = GivenId::parse(&format!("given-{n}")).expect("this is an id");
            log.append(&event.clone().with_id(id), now);
        }
        Self { log, ..history }
    }

    /// Returns the position after the event for which its publisher chose this id. A subscriber that resumes
    /// with the id starts there.
    pub fn place_given(&self, id: &str) -> u64 {
        let from = ResumeFrom::parse(id.as_bytes());
        self.log.resume(&from, &self.own).cursor
    }

    /// Reads one batch from `cursor` on, as a subscriber that catches up does. Returns the cursor after the
    /// batch, or `None` at the head.
    pub fn read_batch(&self, cursor: u64) -> Option<u64> {
        let mut batch = Batch::new(Framing::Chunked);
        let portion = Portion {
            bytes: BATCH_BYTES,
            ..ALL
        };
        let read = self
            .log
            .read(ReadFrom::everything(cursor), portion, |entry| {
                let is_for_it = self.own.selects(&entry.audience);
                if is_for_it {
                    batch.push(&entry.frame);
                }
                is_for_it
            });
        std::hint::black_box(batch.finish());
        match read {
            Read::Events { end } => Some(end),
            Read::Head | Read::Evicted { .. } | Read::PresenceEvicted { .. } | Read::Missing => {
                None
            }
        }
    }

    /// Returns the position after the event at position `seq`. Finds it by the event's id, as for a
    /// subscriber that resumes.
    pub fn position(&self, seq: u64) -> u64 {
        let from = self.log.id(seq).into();
        self.log.resume(&from, &self.own).cursor
    }
}

/// A token, and the verifier that trusts its issuer.
pub struct Token {
    verifier: TokenVerifier,
    token: String,
}

impl Token {
    /// Signs a token with the key in a file, and trusts its issuer. `keys` has the public key, or the secret.
    ///
    /// # Panics
    ///
    /// If a key cannot be used with this algorithm.
    pub fn new(private_key: &Path, keys: KeySource, algorithm: Algorithm) -> Self {
        const ISSUER: &str = "https://example.com";
        let hub = HubUrl::parse("http://localhost/.well-known/mercure").expect("this is a URL");
        let rules = TokenRules {
            legacy: false,
            bytes: 8192,
            details: 20,
            topics: 100,
            pattern: 1024,
            revocation_ttl: Duration::from_secs(3600),
        };
        let verifier = TokenVerifier::new(hub.clone(), rules);
        let issuer = IssuerConfig::new(ISSUER.to_owned(), keys);
        verifier.trust(&[issuer]).expect("the keys can be used");
        let signer = Signer::load(ISSUER.to_owned(), private_key, Some(&[algorithm]));
        let grant = Grant {
            actions: vec![Action::Publish],
            topics: vec![MatcherText::wildcard()],
            payload: None,
        };
        let lifetime = Duration::from_secs(3600);
        let token = signer.and_then(|signer| signer.sign(&hub, &[grant], lifetime));
        let token = token.expect("the key can sign");
        Self { verifier, token }
    }

    /// Verifies the token as if it was seen for the first time.
    pub fn verify(&self) -> bool {
        self.verifier.verify_uncached(&self.token)
    }

    /// Verifies the token as if it was seen before.
    pub fn verify_again(&self) -> bool {
        self.verifier.verify(&self.token).is_ok()
    }
}

fn log(events: usize) -> MemoryLog {
    let retention = Retention {
        events,
        presence: 1000,
        bytes: usize::MAX,
        age: None,
        queue: 64,
        values: ValueRetention::default(),
    };
    MemoryLog::new(1_763_856_000_000, retention, own())
}
