//! One thread of the load: an epoll loop over its share of the subscribers.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use super::{
    MEASURE, Plan, STOP,
    subscriber::{Arrival, Subscriber},
};

pub(super) struct LoadThread {
    plan: Plan,
    first: usize,
    share: usize,
    phase: Arc<AtomicU8>,
    subscribers: Vec<Option<Subscriber>>,
}

/// What a thread counted while it mattered.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) deliveries: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) closed: u64,
    /// For each message number, who got it when.
    messages: BTreeMap<u64, Message>,
}

#[derive(Debug, Clone, Copy)]
struct Message {
    subscribers: usize,
    first: Instant,
    last: Instant,
}

impl Tally {
    pub(super) fn merge(&mut self, part: Self) {
        self.deliveries += part.deliveries;
        self.lost += part.lost;
        self.duplicated += part.duplicated;
        self.closed += part.closed;
        for (number, message) in part.messages {
            self.messages
                .entry(number)
                .and_modify(|whole| {
                    whole.subscribers += message.subscribers;
                    whole.first = whole.first.min(message.first);
                    whole.last = whole.last.max(message.last);
                })
                .or_insert(message);
        }
    }

    /// From the first to the last delivery of each message that all got, shortest first.
    pub(super) fn spreads(&self, subscribers: usize) -> Vec<Duration> {
        let mut spreads: Vec<_> = self
            .messages
            .values()
            .filter(|message| message.subscribers == subscribers)
            .map(|message| message.last - message.first)
            .collect();
        spreads.sort_unstable();
        spreads
    }

    fn count(&mut self, number: u64, arrival: Arrival, now: Instant) {
        match arrival {
            Arrival::InOrder { lost } => self.lost += lost,
            Arrival::Again => {
                self.duplicated += 1;
                return;
            }
        }
        self.deliveries += 1;
        let message = self.messages.entry(number).or_insert(Message {
            subscribers: 0,
            first: now,
            last: now,
        });
        message.subscribers += 1;
        message.last = now;
    }
}

impl LoadThread {
    pub(super) fn new(plan: Plan, first: usize, share: usize, phase: Arc<AtomicU8>) -> Self {
        Self {
            plan,
            first,
            share,
            phase,
            subscribers: Vec::with_capacity(share),
        }
    }

    /// Opens this thread's connections, one after the other.
    pub(super) fn connect(&mut self) -> anyhow::Result<()> {
        for n in self.first..self.first + self.share {
            let subscriber = Subscriber::connect(self.plan.addr, &self.plan.target, n)?;
            self.subscribers.push(Some(subscriber));
        }
        Ok(())
    }

    /// Reads until it is told to stop. Counts what comes while it is told to measure.
    pub(super) fn run(mut self) -> anyhow::Result<Tally> {
        let mut poll = Poll::new()?;
        for (n, subscriber) in self.subscribers.iter_mut().enumerate() {
            if let Some(subscriber) = subscriber {
                poll.registry()
                    .register(&mut subscriber.socket, Token(n), Interest::READABLE)?;
            }
        }
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 65_536];
        let mut tally = Tally::default();
        loop {
            match poll.poll(&mut events, Some(Duration::from_millis(50))) {
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            let phase = self.phase.load(Relaxed);
            if phase == STOP {
                return Ok(tally);
            }
            for event in &events {
                let place = &mut self.subscribers[event.token().0];
                let Some(subscriber) = place else { continue };
                let now = Instant::now();
                let goes_on = subscriber.read(&mut buffer, |number, arrival| {
                    if phase == MEASURE {
                        tally.count(number, arrival, now);
                    }
                });
                if !matches!(goes_on, Ok(true)) {
                    tally.closed += 1;
                    *place = None;
                }
            }
        }
    }
}
