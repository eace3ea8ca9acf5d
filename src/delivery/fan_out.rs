//! The fan-out of a worker thread: one task that writes new events to all live subscribers of the thread.
//!
//! It sends events in rounds. A round is a batch of events that is encoded once and written with one system
//! call for each subscriber. Writing wakes no task of a subscriber.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{net::TcpStream, time::timeout_at};

use super::{
    registry::{GroupId, KeepAlive, Lagging, LiveId, Part, Registry},
    round::Round,
    subscriber::Subscriber,
};
use crate::{
    broadcaster::{BroadcasterGone, Hub, HubState},
    event::wire,
    event_log::{Portion, Read, ReadFrom},
    metrics::DeliveryStats,
};

/// Maximum bytes of events in a round, the batch of events that is written to the live subscribers together.
/// A larger event is a round by itself. Events beyond this limit wait in the log for the next round.
const MAX_ROUND_BYTES: usize = 16 * 1024;

/// Approximate limit on the work of matching topics in one round, counted in matches of a simple pattern.
/// Such a match takes up to a microsecond and blocks the worker thread. A match of a complex pattern counts
/// as several. Events beyond the limit wait in the log for the next round.
const MATCH_BUDGET: usize = 32 * 1024;

/// After serving this many slots, each for at most one subscriber, the fan-out yields its CPU core to other
/// threads. Otherwise, a round for 10,000 subscribers would delay the thread that publishes the ticker's
/// messages. With 5,000 subscribers and 1,000 events per second on two cores, yielding raised the share of
/// these messages that arrived within 5 ms from 98.3 % to 99.8 %.
const SLOTS_PER_CHUNK: usize = 256;

/// After serving this many slots, each for at most one subscriber, the fan-out yields to the other tasks of
/// its thread. These tasks answer requests and serve subscribers that are catching up.
const SLOTS_PER_TURN: usize = 4 * SLOTS_PER_CHUNK;

/// Pause after a round that reached the head of the log, as a multiple of the time that the round took.
/// Events that arrive during the pause share the next round: one system call for each subscriber sends all of
/// them. With 1,000 events per second and 1,000 subscribers, the pause reduced the CPU time of a delivery
/// from 1.3 to 0.4 µs, and the time until the last subscriber has an event from 50 to 35 ms
/// (docs/explain/performance.md).
const PAUSE_FACTOR: u32 = 4;

/// Maximum pause after a round, even if [`PAUSE_FACTOR`] gives a longer one.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// Minimum pause after a round: the resolution of the timer. If the computed pause is shorter, the fan-out
/// does not pause. The round was then short, so a pause would save little.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// A handle to the fan-out of one worker thread. Clones share one registry of live subscribers.
#[derive(Debug, Clone)]
pub(crate) struct FanOut(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: Hub,
    registry: RefCell<Registry<Rc<TcpStream>>>,
}

impl FanOut {
    /// Starts the fan-out on this thread, which must run an actix `Arbiter` or a `LocalSet`. It delivers the
    /// events that are appended from now on.
    pub(crate) fn start(hub: Hub) -> Self {
        let head = hub.log().next();
        let registry = Registry::new(hub.url().clone(), head);
        let fan_out = Self(Rc::new(Inner {
            hub,
            registry: RefCell::new(registry),
        }));
        actix_rt::spawn(fan_out.clone().run(head));
        fan_out
    }

    /// Makes a subscriber live: the fan-out then writes new events to its socket. The subscriber must be at
    /// the head.
    ///
    /// Waits until the subscriber is no longer live, and returns what must be sent next. It stops being live
    /// when its socket does not accept everything, when events are missing, when the server drains, or when
    /// something is [due](Subscriber::due). Fails if the Broadcaster has stopped; the inner error is that of
    /// the socket.
    pub(crate) async fn live(
        &self,
        socket: Rc<TcpStream>,
        subscriber: &mut Subscriber,
    ) -> Result<io::Result<Lagging>, BroadcasterGone> {
        let _live = subscriber.live();
        let registry = &self.0.registry;
        let (id, removed) = registry.borrow_mut().join(
            subscriber.selection(),
            socket,
            subscriber.position(),
            Instant::now(),
        );
        let membership = Membership { id, registry };
        let removed = async { removed.await.map_err(|_| BroadcasterGone) };
        match subscriber.due() {
            None => removed.await,
            Some(due) => match timeout_at(due.into(), removed).await {
                Ok(lagging) => lagging,
                Err(_) => membership.leave().map(Ok),
            },
        }
    }

    /// Sends new events, from position `cursor` on, and heartbeats to the live subscribers, until the
    /// Broadcaster ends.
    async fn run(self, cursor: u64) {
        let _guard = Guard(&self.0.hub);
        let registry = &self.0.registry;
        let mut state = self.0.hub.state();
        let mut next_idle_check = Instant::now();
        let mut from = ReadFrom {
            cursor,
            presence: cursor,
        };
        loop {
            let HubState {
                heartbeat,
                checkpoints,
                draining,
            } = *state.borrow_and_update();
            let sent = self.send_round(from).await;
            from = sent.unwrap_or(from);
            if draining {
                registry.borrow_mut().take_off_all();
            }
            let now = Instant::now();
            if next_idle_check <= now {
                self.keep_alive(from.cursor, heartbeat, checkpoints, now)
                    .await;
                // With this interval between checks, a heartbeat is late by at most a tenth of its own
                // interval, and by at most a second, plus the time of a round.
                next_idle_check = now + (heartbeat / 10).min(Duration::from_secs(1));
            }
            if sent.is_none()
                && let Ok(Err(_)) = timeout_at(next_idle_check.into(), state.changed()).await
            {
                break;
            }
        }
        registry.borrow_mut().clear();
    }

    /// Sends one round, a batch of new events, to the live subscribers, starting at `from`. If events are
    /// missing, removes the subscribers that may need them. Returns where the next round starts, or `None` if
    /// there is nothing new.
    async fn send_round(&self, from: ReadFrom) -> Option<ReadFrom> {
        let log = self.0.hub.log();
        let registry = &self.0.registry;
        let begin = Instant::now();
        let mut entries = Vec::new();
        let portion = Portion {
            bytes: MAX_ROUND_BYTES,
            topics: 1 + MATCH_BUDGET / registry.borrow().match_cost().max(1),
        };
        let read = log.read(from, portion, |entry| {
            entries.push(entry.clone());
            true
        });
        match read {
            Read::Events { end } => {
                let rounds = registry.borrow_mut().route(&entries, begin);
                let is_all = end >= log.next();
                self.send(&rounds).await;
                registry.borrow_mut().set_delivered_to(end);
                // Pause only if no further events are waiting in the log.
                if is_all {
                    pause_after(begin.elapsed()).await;
                } else {
                    tokio::task::yield_now().await;
                }
                Some(ReadFrom {
                    cursor: end,
                    ..from
                })
            }
            Read::PresenceEvicted { before } => {
                registry.borrow_mut().take_off_presence();
                Some(ReadFrom {
                    presence: before,
                    ..from
                })
            }
            // The next events were evicted before delivery, or this log never received them. Remove all
            // subscribers from the registry: each of them then reads the log itself, and receives a `gap`
            // event if it cannot get the missing events.
            Read::Evicted { .. } | Read::Missing => {
                let end = log.next();
                registry.borrow_mut().take_off_all();
                registry.borrow_mut().set_delivered_to(end);
                Some(ReadFrom {
                    cursor: end,
                    ..from
                })
            }
            Read::Head => None,
        }
    }

    async fn send(&self, rounds: &[(GroupId, Round)]) {
        let now = Instant::now();
        let mut turn = 0;
        let mut stats = DeliveryStats::default();
        for (group, round) in rounds {
            stats += self
                .each_part(*group, &mut turn, |registry, part| {
                    registry.deliver(round, part, now)
                })
                .await;
        }
        let metrics = self.0.hub.metrics();
        metrics.count_deliveries(&stats);
        let arrived = rounds.iter().map(|(_, round)| round.arrived()).min();
        if let Some(arrived) = arrived.filter(|_| stats.delivered > 0) {
            metrics.observe_fan_out(arrived.elapsed());
        }
    }

    async fn keep_alive(&self, cursor: u64, heartbeat: Duration, checkpoints: bool, now: Instant) {
        let log = self.0.hub.log();
        let id = log.id_before(cursor).filter(|_| checkpoints);
        let frames = KeepAlive {
            comment: wire::heartbeat(),
            checkpoint: id.map(wire::checkpoint),
            newer_half: log.newer_half(now),
        };
        let groups = self.0.registry.borrow().groups();
        let mut turn = 0;
        let mut stats = DeliveryStats::default();
        for group in groups {
            stats += self
                .each_part(group, &mut turn, |registry, part| {
                    registry.keep_alive(&frames, part, heartbeat, now)
                })
                .await;
        }
        self.0.hub.metrics().count_deliveries(&stats);
    }

    /// Calls `deliver` for all slots of a group, one part after another, and returns the sum of the results.
    /// Between parts, it yields to other threads and tasks. `turn` is the number of slots since the last
    /// yield to other tasks; the caller passes the same variable for each group.
    async fn each_part(
        &self,
        group: GroupId,
        turn: &mut usize,
        mut deliver: impl FnMut(&mut Registry<Rc<TcpStream>>, Part) -> DeliveryStats,
    ) -> DeliveryStats {
        let registry = &self.0.registry;
        let mut stats = DeliveryStats::default();
        let all = registry.borrow_mut().slots(group);
        let mut first = 0;
        while first < all {
            if *turn >= SLOTS_PER_TURN {
                *turn = 0;
                tokio::task::yield_now().await;
            }
            let end = all.min(first + SLOTS_PER_CHUNK - *turn % SLOTS_PER_CHUNK);
            *turn += end - first;
            let slots = first..end;
            stats += deliver(&mut registry.borrow_mut(), Part { group, slots });
            if turn.is_multiple_of(SLOTS_PER_CHUNK) {
                std::thread::yield_now();
            }
            first = end;
        }
        stats
    }
}

/// If the fan-out panics, the drop of this guard stops the Broadcaster, and the server then fails. Otherwise
/// the live subscribers of this thread would wait and receive nothing more.
struct Guard<'a>(&'a Hub);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
    }
}

async fn pause_after(round: Duration) {
    let pause = (round * PAUSE_FACTOR).min(MAX_PAUSE);
    if pause >= MIN_PAUSE {
        tokio::time::sleep(pause).await;
    }
}

/// A subscriber in the registry. Dropping this value removes the subscriber.
struct Membership<'a> {
    id: LiveId,
    registry: &'a RefCell<Registry<Rc<TcpStream>>>,
}

impl Membership<'_> {
    /// Removes the subscriber from the registry and returns its position. Fails if the Broadcaster has ended,
    /// because the registry is then cleared.
    fn leave(self) -> Result<Lagging, BroadcasterGone> {
        let position = self.registry.borrow_mut().leave(self.id);
        let position = position.ok_or(BroadcasterGone)?;
        let rest = Bytes::new();
        Ok(Lagging { rest, position })
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.registry.borrow_mut().leave(self.id);
    }
}
