//! Writes each event to the live subscribers of one worker thread: encoded once, one system call
//! each, without waking a task for any of them.

use std::{
    cell::RefCell,
    io,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::timeout_at};

use crate::{
    broadcaster::News,
    event_log::Read,
    hub::{BroadcasterGone, Hub},
    metrics::HandOver,
    registry::{Behind, LiveId, Outlet, Registry, Round, RoundBuilder},
    subscriber::Subscriber,
    wire,
};

/// How much is written to a live subscriber at once, in bytes; a larger event is written whole.
/// When events come faster than they are written, so many wait for the next round.
const ROUND_BYTES: usize = 16 * 1024;

/// After so many subscribers the thread's other tasks get their turn: requests, and those who
/// catch up.
const SLOTS_AT_ONCE: usize = 1024;

/// So many times as long as a round took, the next one waits. What comes meanwhile goes out with
/// it: one system call for each subscriber, and not one for each of its events. At 1,000 events a
/// second to 1,000 subscribers this took the CPU time of a delivery from 1.3 to 0.4 us and also the
/// time until the last had got it from 50 to 35 ms (docs/PERFORMANCE.md).
const REST: u32 = 4;

/// However long a round took, the next one waits no longer than this.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// What a timer can measure; there is no shorter rest. With few subscribers there is nothing to gain.
const SHORTEST_REST: Duration = Duration::from_millis(1);

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
        let fan_out = Self(Rc::new(Inner {
            hub,
            registry: RefCell::default(),
        }));
        actix_rt::spawn(fan_out.clone().run(head));
        fan_out
    }

    /// Sends a subscriber that got everything there is whatever comes, for as long as its socket
    /// takes all of it at once. What it returns is to be sent next, or the socket's error; nothing:
    /// there is no Broadcaster any more.
    pub(crate) async fn live(
        &self,
        socket: Rc<TcpStream>,
        subscriber: &mut Subscriber,
    ) -> Result<io::Result<Behind>, BroadcasterGone> {
        let _live = subscriber.live();
        let registry = &self.0.registry;
        let (id, taken_off) =
            registry
                .borrow_mut()
                .join(socket, subscriber.cursor(), Instant::now());
        let _place = Place { id, registry };
        taken_off.await.map_err(|_| BroadcasterGone)
    }

    /// Sends everything from `cursor` on, for as long as there is a Broadcaster.
    async fn run(self, mut cursor: u64) {
        let _guard = Guard(&self.0.hub);
        let registry = &self.0.registry;
        let mut news = self.0.hub.news();
        let mut look_for_idle = Instant::now();
        loop {
            let News {
                heartbeat,
                draining,
            } = *news.borrow_and_update();
            cursor = self.send_from(cursor).await;
            if draining {
                registry.borrow_mut().take_off_all();
            }
            let now = Instant::now();
            if look_for_idle <= now {
                let comment = wire::heartbeat();
                let handed_over = self
                    .each_part(|registry, slots| {
                        registry.keep_alive(&comment, slots, heartbeat, now)
                    })
                    .await;
                self.0.hub.metrics.count_hand_over(&handed_over);
                // A comment comes at most a tenth of the heartbeat, and at most a second, late.
                look_for_idle = now + (heartbeat / 10).min(Duration::from_secs(1));
            }
            if let Ok(Err(_)) = timeout_at(look_for_idle.into(), news.changed()).await {
                break;
            }
        }
        registry.borrow_mut().clear();
    }

    /// Sends what the log has from `cursor` on, and returns where it ends.
    async fn send_from(&self, mut cursor: u64) -> u64 {
        let log = &self.0.hub.log;
        loop {
            let begin = Instant::now();
            let mut round = RoundBuilder::new(cursor, begin);
            match log.read(cursor, ROUND_BYTES, |entry| round.push(entry)) {
                Read::Events(_) => {
                    let round = round.finish();
                    cursor = round.next();
                    let is_all = cursor >= log.next();
                    self.send(&round).await;
                    // Whoever is late goes on at once.
                    if is_all {
                        rest(begin.elapsed()).await;
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
                // Each is to be told of what it missed.
                Read::Evicted { .. } => {
                    self.0.registry.borrow_mut().take_off_all();
                    cursor = log.next();
                }
                Read::Head => return cursor,
            }
        }
    }

    async fn send(&self, round: &Round) {
        let now = Instant::now();
        let handed_over = self
            .each_part(|registry, slots| registry.deliver(round, slots, now))
            .await;
        let metrics = &self.0.hub.metrics;
        metrics.count_hand_over(&handed_over);
        if handed_over.delivered > 0 {
            metrics.observe_fan_out(round.arrived().elapsed());
        }
    }

    /// Goes through the registry in parts, between which the thread does other things.
    async fn each_part(
        &self,
        mut hand_over: impl FnMut(&mut Registry<Rc<TcpStream>>, Range<usize>) -> HandOver,
    ) -> HandOver {
        let registry = &self.0.registry;
        let mut handed_over = HandOver::default();
        let slots = registry.borrow().slots();
        for first in (0..slots).step_by(SLOTS_AT_ONCE) {
            if first > 0 {
                tokio::task::yield_now().await;
            }
            let part = first..first + SLOTS_AT_ONCE;
            handed_over += hand_over(&mut registry.borrow_mut(), part);
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
    let rest = (round * REST).min(LONGEST_REST);
    if rest >= SHORTEST_REST {
        tokio::time::sleep(rest).await;
    }
}

/// A live subscriber's entry in the registry, until this is dropped.
struct Place<'a> {
    id: LiveId,
    registry: &'a RefCell<Registry<Rc<TcpStream>>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.registry.borrow_mut().remove(self.id);
    }
}
