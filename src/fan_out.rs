//! Writes each event to the live subscribers of one worker thread: encoded once, one system call
//! each, without waking a task for any of them.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::timeout_at};

use crate::{
    broadcaster::News,
    event_log::Read,
    hub::Hub,
    registry::{Behind, HandOver, LiveId, Outlet, Registry, Round, RoundBuilder},
    subscriber::{Orphaned, Subscriber},
    wire,
};

/// How much is written to a live subscriber at once, in bytes; a larger event is written whole.
/// When events come faster than they are written, so many wait for the next round.
const ROUND_BYTES: usize = 16 * 1024;

/// After so many subscribers the thread's other tasks get their turn: requests, and those who
/// catch up.
const SLOTS_AT_ONCE: usize = 64;

impl Outlet for Rc<TcpStream> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }
}

/// The live subscribers of this thread.
#[derive(Debug, Clone)]
pub(crate) struct FanOut {
    registry: Rc<RefCell<Registry<Rc<TcpStream>>>>,
}

impl FanOut {
    /// Starts it on this thread, which has to run an actix `Arbiter` or a `LocalSet`.
    pub(crate) fn start(hub: Hub) -> Self {
        let fan_out = Self {
            registry: Rc::default(),
        };
        let head = hub.log.next();
        actix_rt::spawn(fan_out.clone().run(hub, head));
        fan_out
    }

    /// Sends a subscriber that got everything there is whatever comes, for as long as its socket
    /// takes all of it at once. What it returns is to be sent next, or the socket's error; nothing:
    /// there is no Broadcaster any more.
    pub(crate) async fn live(
        &self,
        socket: Rc<TcpStream>,
        subscriber: &mut Subscriber,
    ) -> Result<io::Result<Behind>, Orphaned> {
        let _live = subscriber.live();
        let mut registry = self.registry.borrow_mut();
        let (id, taken_off) = registry.join(socket, subscriber.cursor(), Instant::now());
        drop(registry);
        let _place = Place {
            id,
            registry: &self.registry,
        };
        taken_off.await.map_err(|_| Orphaned)
    }

    /// Sends everything from `cursor` on, for as long as there is a Broadcaster.
    async fn run(self, hub: Hub, mut cursor: u64) {
        let mut news = hub.news();
        let mut look_for_idle = Instant::now();
        loop {
            let News {
                heartbeat,
                draining,
            } = *news.borrow_and_update();
            loop {
                let mut round = RoundBuilder::new(cursor);
                match hub
                    .log
                    .read(cursor, ROUND_BYTES, |entry| round.push(&entry.frame))
                {
                    Read::Events(_) => {
                        let round = round.finish();
                        cursor = round.next();
                        let handed_over = self.deliver(&round).await;
                        hub.totals.delivered.add(handed_over.delivered);
                    }
                    // Each is to be told of what it missed.
                    Read::Evicted { .. } => {
                        self.registry.borrow_mut().take_off_all();
                        cursor = hub.log.next();
                    }
                    Read::Head => break,
                }
            }
            if draining {
                self.registry.borrow_mut().take_off_all();
            }
            let now = Instant::now();
            if look_for_idle <= now {
                self.registry
                    .borrow_mut()
                    .keep_alive(&wire::heartbeat(), heartbeat, now);
                // A comment comes at most a tenth of the heartbeat, and at most a second, late.
                look_for_idle = now + (heartbeat / 10).min(Duration::from_secs(1));
            }
            if let Ok(Err(_)) = timeout_at(look_for_idle.into(), news.changed()).await {
                break;
            }
        }
        self.registry.borrow_mut().clear();
    }

    async fn deliver(&self, round: &Round) -> HandOver {
        let now = Instant::now();
        let mut handed_over = HandOver::default();
        let slots = self.registry.borrow().slots();
        for first in (0..slots).step_by(SLOTS_AT_ONCE) {
            if first > 0 {
                tokio::task::yield_now().await;
            }
            let slots = first..first + SLOTS_AT_ONCE;
            handed_over += self.registry.borrow_mut().deliver(round, slots, now);
        }
        handed_over
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
