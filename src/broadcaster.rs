//! The central actor. It owns the registry of client channels and the ticker, and is the only one
//! that appends to the log. It never waits for a socket.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::{
    event::{Event, EventId},
    event_log::{MemoryLog, Placement},
    gap::Gap,
    registry::{ClientId, Inbox, Registry},
    resume::ResumeFrom,
    ticker::{Ticker, TickerSettings},
    totals::Totals,
    wire,
};

/// The part of the settings that can change while the Broadcaster runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSettings {
    /// The numbered messages.
    pub ticker: TickerSettings,
    /// A subscriber that got nothing for this long is sent a comment: 100 ms to 1 h.
    pub heartbeat: Duration,
}

impl LiveSettings {
    /// The same with each value in its range: a timer of zero would never let go of the actor.
    fn in_range(mut self) -> Self {
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
        self.ticker.interval = self.ticker.interval.clamp(shortest, longest);
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(3600));
        self.heartbeat = self.heartbeat.clamp(shortest, longest);
        self
    }
}

/// The actor that hands each event to every subscriber. Start it with [`Hub::start`](crate::Hub).
#[derive(Debug)]
pub struct Broadcaster {
    log: Arc<MemoryLog>,
    registry: Registry,
    ticker: Ticker,
    /// The timer that waits for the ticker's next deadline.
    ticking: SpawnHandle,
    heartbeat: Duration,
    draining: bool,
    totals: Arc<Totals>,
    /// Dropped with the actor, however it ends: whoever waits for the other end learns of it.
    _alive: oneshot::Sender<Infallible>,
}

/// How many subscribers there may be, and what each may have waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) subscribers: usize,
    pub(crate) queue: usize,
}

impl Broadcaster {
    pub(crate) fn new(
        log: Arc<MemoryLog>,
        capacity: Capacity,
        settings: LiveSettings,
        totals: Arc<Totals>,
        alive: oneshot::Sender<Infallible>,
    ) -> Self {
        let settings = settings.in_range();
        Self {
            log,
            registry: Registry::new(capacity.subscribers, capacity.queue),
            ticker: Ticker::new(settings.ticker, Instant::now()),
            ticking: SpawnHandle::default(),
            heartbeat: settings.heartbeat,
            draining: false,
            totals,
            _alive: alive,
        }
    }

    fn publish(&mut self, event: &Event, now: Instant) -> EventId {
        let frame = self.log.append(event);
        let handed = self.registry.deliver(&frame, now);
        self.totals.events.add(1);
        self.totals.delivered.add(handed.delivered as u64);
        self.log.id(frame.seq)
    }

    fn wait_for_tick(&mut self, ctx: &mut Context<Self>) {
        ctx.cancel_future(self.ticking);
        if self.draining {
            return;
        }
        if let Some(due) = self.ticker.due() {
            let wait = due.saturating_duration_since(Instant::now());
            self.ticking = ctx.run_later(wait, |this, ctx| {
                let now = Instant::now();
                while let Some(message) = this.ticker.fire(now) {
                    this.publish(&Event::message(message), now);
                }
                this.wait_for_tick(ctx);
            });
        }
    }

    /// Looks for the idle often enough that a comment comes at most a tenth of the heartbeat, and
    /// at most a second, late.
    fn wait_for_idle(&self, ctx: &mut Context<Self>) {
        let pause = (self.heartbeat / 10).min(Duration::from_secs(1));
        ctx.run_later(pause, |this, ctx| {
            this.registry
                .keep_alive(&wire::HEARTBEAT, this.heartbeat, Instant::now());
            this.wait_for_idle(ctx);
        });
    }

    /// Makes a client live if it is at the head, or so near that its channel holds the rest. No
    /// event can come in between: this actor is the only one that appends.
    fn join(&mut self, client: ClientId, cursor: u64) -> Option<Inbox> {
        let missing = self.log.tail(cursor, self.registry.prefill())?;
        let handed = missing.len() as u64;
        let inbox = self.registry.go_live(client, missing, Instant::now())?;
        self.totals.delivered.add(handed);
        Some(inbox)
    }
}

impl Actor for Broadcaster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.wait_for_tick(ctx);
        self.wait_for_idle(ctx);
    }
}

/// Asks to become a subscriber.
#[derive(Debug, Message)]
#[rtype(result = "Result<Subscribed, TurnedAway>")]
pub(crate) struct Subscribe {
    pub(crate) from: ResumeFrom,
}

/// A place among the subscribers, given back when it is dropped: also by an answer that nobody
/// waited for.
#[derive(Debug)]
pub(crate) struct Seat {
    client: ClientId,
    broadcaster: Addr<Broadcaster>,
}

impl Seat {
    /// Asks to become live, having read the log up to `cursor`. Each seat asks once at a time, so
    /// the mailbox, whose bound `do_send` does not heed, holds no more of these than subscribers.
    pub(crate) fn join(&self, cursor: u64) -> oneshot::Receiver<Joined> {
        let (answer, receiver) = oneshot::channel();
        self.broadcaster.do_send(Join {
            client: self.client,
            cursor,
            answer,
        });
        receiver
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.broadcaster.do_send(Leave {
            client: self.client,
        });
    }
}

/// A subscription, and how it starts.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) seat: Seat,
    /// The number of the first event it is to get.
    pub(crate) cursor: u64,
    /// What it is to be told before anything else.
    pub(crate) gap: Option<Gap>,
    /// `None`: it has to catch up first.
    pub(crate) inbox: Option<Inbox>,
}

/// Why there is no subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    Full,
    Draining,
}

impl Handler<Subscribe> for Broadcaster {
    type Result = Result<Subscribed, TurnedAway>;

    fn handle(&mut self, Subscribe { from }: Subscribe, ctx: &mut Self::Context) -> Self::Result {
        if self.draining {
            self.totals.turned_away.add(1);
            return Err(TurnedAway::Draining);
        }
        let Some(client) = self.registry.admit() else {
            self.totals.turned_away.add(1);
            return Err(TurnedAway::Full);
        };
        let Placement { cursor, gap } = self.log.place(&from);
        self.totals.gaps.add(u64::from(gap.is_some()));
        let inbox = self.join(client, cursor);
        Ok(Subscribed {
            seat: Seat {
                client,
                broadcaster: ctx.address(),
            },
            cursor,
            gap,
            inbox,
        })
    }
}

/// Sent by [`Seat::join`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Join {
    client: ClientId,
    cursor: u64,
    answer: oneshot::Sender<Joined>,
}

/// The answer to [`Seat::join`].
#[derive(Debug)]
pub(crate) enum Joined {
    /// Events come through here from now on, the one at the cursor first.
    Live(Inbox),
    /// There is more to read first.
    Behind,
    /// The server is draining: the stream ends here.
    Leaving,
}

impl Handler<Join> for Broadcaster {
    type Result = ();

    fn handle(&mut self, join: Join, _: &mut Self::Context) {
        let Join {
            client,
            cursor,
            answer,
        } = join;
        let joined = if self.draining && cursor == self.log.next() {
            Joined::Leaving
        } else if self.draining {
            Joined::Behind
        } else if let Some(inbox) = self.join(client, cursor) {
            self.totals.caught_up.add(1);
            Joined::Live(inbox)
        } else {
            Joined::Behind
        };
        if answer.send(joined).is_err() {
            log::trace!("a subscriber left while it was joining");
        }
    }
}

/// Sent when a [`Seat`] is dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Leave {
    client: ClientId,
}

impl Handler<Leave> for Broadcaster {
    type Result = ();

    fn handle(&mut self, Leave { client }: Leave, _: &mut Self::Context) {
        self.registry.remove(client);
    }
}

/// Publishes an event; answers with its id once it is in the log.
#[derive(Debug, Message)]
#[rtype(result = "EventId")]
pub struct Publish {
    /// What to publish.
    pub event: Event,
}

impl Handler<Publish> for Broadcaster {
    type Result = MessageResult<Publish>;

    fn handle(&mut self, Publish { event }: Publish, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.publish(&event, Instant::now()))
    }
}

/// Changes the settings without dropping a subscriber or skipping a number.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reconfigure {
    /// The settings from now on.
    pub settings: LiveSettings,
}

impl Handler<Reconfigure> for Broadcaster {
    type Result = ();

    fn handle(&mut self, Reconfigure { settings }: Reconfigure, ctx: &mut Self::Context) {
        let settings = settings.in_range();
        self.heartbeat = settings.heartbeat;
        self.ticker.change(settings.ticker, Instant::now());
        self.wait_for_tick(ctx);
    }
}

/// Ends every stream, each after the last event it can be given. New ones are turned away.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for Broadcaster {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.draining = true;
        ctx.cancel_future(self.ticking);
        self.registry.suspend_all();
    }
}

/// Asks how the Broadcaster is.
#[derive(Debug, Message)]
#[rtype(result = "Inspection")]
pub(crate) struct Inspect;

/// The Broadcaster's own part of the server's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, MessageResponse)]
pub(crate) struct Inspection {
    pub(crate) live: usize,
    pub(crate) catching_up: usize,
    pub(crate) max_subscribers: usize,
    pub(crate) draining: bool,
    pub(crate) ticker_enabled: bool,
    pub(crate) ticker_interval: Duration,
}

impl Handler<Inspect> for Broadcaster {
    type Result = Inspection;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> Inspection {
        let ticker = self.ticker.settings();
        Inspection {
            live: self.registry.live(),
            catching_up: self.registry.catching_up(),
            max_subscribers: self.registry.max_clients(),
            draining: self.draining,
            ticker_enabled: ticker.enabled,
            ticker_interval: ticker.interval,
        }
    }
}
