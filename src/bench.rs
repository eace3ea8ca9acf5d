//! What `cargo bench` measures, without sockets: only with the feature
//! `bench`, and no part of the library's interface.

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

use crate::{
    event::{Event, EventId},
    event_log::{MemoryLog, Read, Retention},
    metrics::{HandOver, Metrics},
    registry::{Outlet, Registry, RoundBuilder},
    subscriber::BATCH_BYTES,
    wire::{self, Batch, Framing},
};

/// Encodes an event as it is sent, and returns how long that is.
pub fn encode(event: &Event) -> usize {
    let id = EventId {
        epoch: 1_763_856_000_000,
        seq: 42,
    };
    wire::event(id, event).len()
}

/// Takes everything, and does nothing with it.
struct Sink(Cell<usize>);

impl Outlet for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + bytes.len());
        Ok(bytes.len())
    }
}

/// A log, and live subscribers whose sockets cost nothing.
pub struct FanOut {
    log: MemoryLog,
    registry: Registry<Sink>,
    cursor: u64,
    /// Kept, so that nobody seems to have left.
    _places: Vec<Box<dyn std::any::Any>>,
}

impl FanOut {
    /// So many subscribers at the head of an empty log.
    pub fn new(subscribers: usize) -> Self {
        let mut registry = Registry::default();
        let now = Instant::now();
        let places = (0..subscribers)
            .map(|_| Box::new(registry.join(Sink(Cell::new(0)), 0, now)) as Box<dyn std::any::Any>)
            .collect();
        Self {
            log: log(1000),
            registry,
            cursor: 0,
            _places: places,
        }
    }

    /// Appends so many events and hands them to everyone, and returns how many were delivered.
    pub fn publish(&mut self, event: &Event, events: usize) -> u64 {
        let now = Instant::now();
        for _ in 0..events {
            self.log.append(event, now);
        }
        let mut round = RoundBuilder::new(self.cursor, now);
        self.log
            .read(self.cursor, usize::MAX, |entry| round.push(entry));
        let round = round.finish();
        self.cursor = round.next();
        let slots = 0..self.registry.slots();
        self.registry.deliver(&round, slots, now).delivered
    }

    /// Looks for subscribers that need a comment, and finds none.
    pub fn look_for_idle(&mut self) -> u64 {
        let idle = Duration::from_secs(3600);
        let slots = 0..self.registry.slots();
        self.registry
            .keep_alive(&wire::heartbeat(), slots, idle, Instant::now())
            .bytes
    }
}

/// What is counted of a round, however many it is sent to.
#[derive(Default)]
pub struct Counting(Metrics);

impl Counting {
    /// Counts a round.
    pub fn round(&self, delivered: u64, took: Duration) {
        self.0.count_hand_over(&HandOver {
            delivered,
            bytes: delivered * 50,
            fell_behind: 0,
        });
        self.0.observe_fan_out(took);
    }
}

/// A log to catch up from.
pub struct History(MemoryLog);

impl History {
    /// A log of so many events.
    pub fn new(event: &Event, events: usize) -> Self {
        let log = log(events);
        let now = Instant::now();
        for _ in 0..events {
            log.append(event, now);
        }
        Self(log)
    }

    /// Reads a batch from `cursor` on, as a subscriber that is behind does, and returns the cursor
    /// behind it; `None` at the head.
    pub fn read_batch(&self, cursor: u64) -> Option<u64> {
        let mut batch = Batch::new(Framing::Chunked);
        let read = self
            .0
            .read(cursor, BATCH_BYTES, |entry| batch.push(&entry.frame));
        std::hint::black_box(batch.finish());
        match read {
            Read::Events(events) => Some(cursor + events),
            Read::Head | Read::Evicted { .. } => None,
        }
    }

    /// Finds the place of an id, as a subscriber that resumes asks for it.
    pub fn place(&self, seq: u64) -> u64 {
        let from = crate::resume::ResumeFrom::After(self.0.id(seq));
        self.0.place(&from).cursor
    }
}

fn log(events: usize) -> MemoryLog {
    let retention = Retention {
        events,
        bytes: usize::MAX,
        queue: 64,
    };
    MemoryLog::new(1_763_856_000_000, retention)
}
