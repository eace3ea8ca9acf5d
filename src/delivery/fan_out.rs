//! Writes each event to the live subscribers of one worker thread: encoded once, one system call
//! each, without waking a task for any of them.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{net::TcpStream, time::timeout_at};

use super::{
    registry::{Behind, GroupId, KeepAlive, LiveId, Outlet, Part, Registry},
    round::Round,
    subscriber::Subscriber,
};
use crate::{
    broadcaster::{BroadcasterGone, Hub, HubState},
    event::wire,
    event_log::{Portion, Read, ReadFrom},
    metrics::DeliveryStats,
};

/// How much is read from the log at once, in bytes, and so the most that is written to a live
/// subscriber at once, but for a larger event, which is written whole. When events come faster than
/// they are written, so many wait for the next round.
const PORTION_BYTES: usize = 16 * 1024;

/// How often a simple pattern is tried at a time, to find whom events are for, about: the thread does
/// nothing else meanwhile, and one takes up to a microsecond. One that is not simple counts for more.
const TRIES: usize = 32 * 1024;

/// After so many subscribers other threads get their turn. A round for 10,000 would else keep the
/// Broadcaster from its core for longer than a tick may be late: with 5,000 subscribers and 1,000
/// events a second, two cores for all, 98.3 % of the ticks came within 5 ms, and so 99.8 %.
const SLOTS_AT_ONCE: usize = 256;

/// After so many the thread's other tasks get theirs: requests, and those who catch up.
const SLOTS_A_TURN: usize = 4 * SLOTS_AT_ONCE;

/// So many times as long as a round took, the next one waits. What comes meanwhile goes out with
/// it: one system call for each subscriber, and not one for each of its events. At 1,000 events a
/// second to 1,000 subscribers this took the CPU time of a delivery from 1.3 to 0.4 us and also the
/// time until the last had got it from 50 to 35 ms (docs/explain/performance.md).
const PAUSE_FACTOR: u32 = 4;

/// However long a round took, the next one waits no longer than this.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// What a timer can measure; there is no shorter rest. With few subscribers there is nothing to gain.
const MIN_PAUSE: Duration = Duration::from_millis(1);

impl Outlet for Rc<TcpStream> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }
}

/// The live subscribers of this thread.
#[derive(Debug, Clone)]
pub(crate) struct FanOut(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: Hub,
    registry: RefCell<Registry<Rc<TcpStream>>>,
}

impl FanOut {
    /// Starts it on this thread, which has to run an actix `Arbiter` or a `LocalSet`.
    pub(crate) fn start(hub: Hub) -> Self {
        let head = hub.log.next();
        let registry = Registry::new(hub.url().clone(), head);
        let fan_out = Self(Rc::new(Inner {
            hub,
            registry: RefCell::new(registry),
        }));
        actix_rt::spawn(fan_out.clone().run(head));
        fan_out
    }

    /// Sends a subscriber that got everything there is for it whatever comes, for as long as its
    /// socket takes all of it at once, and until it is due to be told something. What it returns is
    /// to be sent next, or the socket's error; nothing: there is no Broadcaster any more.
    pub(crate) async fn live(
        &self,
        socket: Rc<TcpStream>,
        subscriber: &mut Subscriber,
    ) -> Result<io::Result<Behind>, BroadcasterGone> {
        let _live = subscriber.live();
        let registry = &self.0.registry;
        let (id, taken_off) = registry.borrow_mut().join(
            subscriber.selection(),
            socket,
            subscriber.place(),
            Instant::now(),
        );
        let place = Seated { id, registry };
        let taken_off = async { taken_off.await.map_err(|_| BroadcasterGone) };
        match subscriber.due() {
            None => taken_off.await,
            Some(due) => match timeout_at(due.into(), taken_off).await {
                Ok(behind) => behind,
                Err(_) => place.leave().map(Ok),
            },
        }
    }

    /// Sends everything from `cursor` on, for as long as there is a Broadcaster.
    async fn run(self, cursor: u64) {
        let _guard = Guard(&self.0.hub);
        let registry = &self.0.registry;
        let mut news = self.0.hub.state();
        let mut look_for_idle = Instant::now();
        let mut from = ReadFrom {
            cursor,
            presence: cursor,
        };
        loop {
            let HubState {
                heartbeat,
                checkpoints,
                draining,
            } = *news.borrow_and_update();
            let sent = self.send_portion(from).await;
            from = sent.unwrap_or(from);
            if draining {
                registry.borrow_mut().take_off_all();
            }
            let now = Instant::now();
            if look_for_idle <= now {
                self.keep_alive(from.cursor, heartbeat, checkpoints, now)
                    .await;
                // A comment comes at most a tenth of the heartbeat, and at most a second, late.
                look_for_idle = now + (heartbeat / 10).min(Duration::from_secs(1));
            }
            if sent.is_none()
                && let Ok(Err(_)) = timeout_at(look_for_idle.into(), news.changed()).await
            {
                break;
            }
        }
        registry.borrow_mut().clear();
    }

    /// Sends a portion of what the log has from a place on, and returns where that ends; nothing:
    /// there is nothing.
    async fn send_portion(&self, from: ReadFrom) -> Option<ReadFrom> {
        let log = &self.0.hub.log;
        let registry = &self.0.registry;
        let begin = Instant::now();
        let mut entries = Vec::new();
        let portion = Portion {
            bytes: PORTION_BYTES,
            topics: 1 + TRIES / registry.borrow().match_cost().max(1),
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
                registry.borrow_mut().all_handed_over(end);
                // Whoever is late goes on at once.
                if is_all {
                    rest(begin.elapsed()).await;
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
            // Each is to be told of what it missed.
            Read::Evicted { .. } | Read::Missing => {
                let end = log.next();
                registry.borrow_mut().take_off_all();
                registry.borrow_mut().all_handed_over(end);
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
        let mut handed_over = DeliveryStats::default();
        for (group, round) in rounds {
            handed_over += self
                .each_part(*group, &mut turn, |registry, part| {
                    registry.deliver(round, part, now)
                })
                .await;
        }
        let metrics = &self.0.hub.metrics;
        metrics.count_hand_over(&handed_over);
        let arrived = rounds.iter().map(|(_, round)| round.arrived()).min();
        if let Some(arrived) = arrived.filter(|_| handed_over.delivered > 0) {
            metrics.observe_fan_out(arrived.elapsed());
        }
    }

    async fn keep_alive(&self, cursor: u64, heartbeat: Duration, checkpoints: bool, now: Instant) {
        let log = &self.0.hub.log;
        let id = log.id_before(cursor).filter(|_| checkpoints);
        let frames = KeepAlive {
            comment: wire::heartbeat(),
            checkpoint: id.map(wire::checkpoint),
            newer_half: log.newer_half(now),
        };
        let groups = self.0.registry.borrow().groups();
        let mut turn = 0;
        let mut handed_over = DeliveryStats::default();
        for group in groups {
            handed_over += self
                .each_part(group, &mut turn, |registry, part| {
                    registry.keep_alive(&frames, part, heartbeat, now)
                })
                .await;
        }
        self.0.hub.metrics.count_hand_over(&handed_over);
    }

    /// Goes through a group in parts, between which the thread does other things. `turn` counts the
    /// slots since these had theirs, also over groups.
    async fn each_part(
        &self,
        group: GroupId,
        turn: &mut usize,
        mut hand_over: impl FnMut(&mut Registry<Rc<TcpStream>>, Part) -> DeliveryStats,
    ) -> DeliveryStats {
        let registry = &self.0.registry;
        let mut handed_over = DeliveryStats::default();
        let all = registry.borrow_mut().slots(group);
        let mut first = 0;
        while first < all {
            if *turn >= SLOTS_A_TURN {
                *turn = 0;
                tokio::task::yield_now().await;
            }
            let end = all.min(first + SLOTS_AT_ONCE - *turn % SLOTS_AT_ONCE);
            *turn += end - first;
            let slots = first..end;
            handed_over += hand_over(&mut registry.borrow_mut(), Part { group, slots });
            if turn.is_multiple_of(SLOTS_AT_ONCE) {
                std::thread::yield_now();
            }
            first = end;
        }
        handed_over
    }
}

/// A panic of the fan-out is the end of the process: its subscribers would get nothing any more.
struct Guard<'a>(&'a Hub);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
    }
}

async fn rest(round: Duration) {
    let rest = (round * PAUSE_FACTOR).min(MAX_PAUSE);
    if rest >= MIN_PAUSE {
        tokio::time::sleep(rest).await;
    }
}

/// A live subscriber's entry in the registry, until this is dropped.
struct Seated<'a> {
    id: LiveId,
    registry: &'a RefCell<Registry<Rc<TcpStream>>>,
}

impl Seated<'_> {
    /// Gives the entry up; what the subscriber has still to get.
    fn leave(self) -> Result<Behind, BroadcasterGone> {
        let place = self.registry.borrow_mut().leave(self.id);
        let place = place.ok_or(BroadcasterGone)?;
        let rest = Bytes::new();
        Ok(Behind { rest, place })
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.registry.borrow_mut().leave(self.id);
    }
}
