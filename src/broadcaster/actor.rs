//! The central actor. It owns the registry of subscribers and the timer of the ticker. It appends presence
//! events (about active subscriptions) and the ticker's messages to the log. Only a log in Redis appends the
//! ticker's messages itself. The actor never waits for a socket. It signals the worker threads when settings
//! change or the server drains; the log signals them when there are new events.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use tokio::sync::{oneshot, watch};

use super::{client_registry::ClientRegistry, live_settings::LiveSettings};
use crate::{
    event::{Event, PresenceChange},
    event_log::{Ack, Append, Appender, MemoryLog, Opened, Refusal, Tick, Ticker, TickerSettings},
    metrics::Metrics,
};

/// Maximum number of ticker messages that wait for the log's response. At this limit, the ticker waits.
const MAX_TICKS_IN_FLIGHT: usize = 64;

/// The central actor, which registers subscribers and runs the ticker. Start it with
/// [`Hub::start`](crate::Hub).
#[derive(Debug)]
pub struct Broadcaster {
    pub(super) log: Arc<MemoryLog>,
    pub(super) appender: Arc<dyn Appender>,
    /// For a log that appends the ticker's messages itself (Redis): passes it the ticker's settings, or
    /// `None` during a drain, when this server requests no messages. For all other logs, this field is
    /// `None`, and this actor appends the messages.
    pub(super) ticking_by_log: Option<watch::Sender<Option<TickerSettings>>>,
    pub(super) clients: ClientRegistry,
    pub(super) ticker: Ticker,
    /// Number of ticker messages that were passed to the log and are not acknowledged or refused yet.
    pub(super) ticks_in_flight: usize,
    /// How often the ticker was reset because the log refused one of its messages. The log then also refuses
    /// all messages that wait for its response. Each message remembers the value of this counter when it was
    /// sent, so that only the first of these refusals resets the ticker.
    pub(super) refusals: u64,
    /// Handle of the timer that fires when the ticker's next message is due.
    pub(super) ticking: SpawnHandle,
    pub(super) metrics: Arc<Metrics>,
    /// Resolves when the log's thread has ended. `None` for a log in memory, which has no thread. Also `None`
    /// after the actor has started, because the receiver is then in a future that waits for it.
    pub(super) log_gone: Option<oneshot::Receiver<Infallible>>,
    /// Dropped when the actor ends for any reason. The drop resolves [`Gone`](super::Gone), which tells the
    /// process that the actor has ended.
    pub(super) _alive: oneshot::Sender<Infallible>,
}

impl Broadcaster {
    pub(crate) fn new(
        log: Opened,
        clients: ClientRegistry,
        settings: LiveSettings,
        metrics: Arc<Metrics>,
        alive: oneshot::Sender<Infallible>,
    ) -> Self {
        let Opened {
            memory,
            appender,
            ticking: ticking_by_log,
            archive: _,
            gone: log_gone,
        } = log;
        let ticker = Ticker::new(settings.ticker, memory.ticks(), Instant::now());
        Self {
            log: memory,
            appender,
            ticking_by_log,
            clients,
            ticker,
            ticks_in_flight: 0,
            refusals: 0,
            ticking: SpawnHandle::default(),
            metrics,
            log_gone,
            _alive: alive,
        }
    }

    pub(super) fn announce_all(&mut self, changes: Vec<PresenceChange>) {
        for change in changes {
            self.appender.announce(change);
        }
    }

    fn wait_for_tick(&mut self, ctx: &mut Context<Self>) {
        ctx.cancel_future(self.ticking);
        if let Some(ticking) = &self.ticking_by_log {
            let settings = (!self.clients.is_draining()).then(|| self.ticker.settings().clone());
            ticking.send_replace(settings);
            return;
        }
        if self.clients.is_draining() || self.ticks_in_flight >= MAX_TICKS_IN_FLIGHT {
            return;
        }
        if let Some(due) = self.ticker.due() {
            let wait = due.saturating_duration_since(Instant::now());
            let wait = wait.max(self.appender.tick_pause());
            self.ticking = ctx.run_later(wait, |this, ctx| {
                let now = Instant::now();
                while this.ticks_in_flight < MAX_TICKS_IN_FLIGHT
                    && let Some(tick) = this.ticker.fire(now)
                {
                    this.publish_tick(tick, ctx);
                }
                this.wait_for_tick(ctx);
            });
        }
    }

    /// Appends a message of the ticker. If the log refuses it, the log also refuses the later messages that
    /// wait for its response. The ticker then continues with the number that the log expects next.
    fn publish_tick(&mut self, tick: Tick, ctx: &mut Context<Self>) {
        let (done, appended) = oneshot::channel();
        let event = Event::tick(tick.number, tick.message);
        self.appender
            .append(Append::new(event, Some(Ack::One(done))));
        self.ticks_in_flight += 1;
        let refusals = self.refusals;
        let appended = appended.into_actor(self).map(move |appended, this, ctx| {
            let was_full = this.ticks_in_flight == MAX_TICKS_IN_FLIGHT;
            this.ticks_in_flight -= 1;
            match appended {
                Ok(Ok(_)) => this.metrics.observe_tick(tick.lateness),
                Ok(Err(Refusal::Unavailable(_))) if refusals == this.refusals => {
                    this.refusals += 1;
                    this.ticker.go_on_from(this.log.ticks());
                }
                _ => {}
            }
            if was_full {
                this.wait_for_tick(ctx);
            }
        });
        ctx.spawn(appended);
    }
}

impl Actor for Broadcaster {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(gone) = self.log_gone.take() {
            // Without its thread, the log accepts no events. So the actor ends, which tells the process to
            // end.
            ctx.spawn(gone.into_actor(self).map(|_, _, ctx| ctx.terminate()));
        }
        self.wait_for_tick(ctx);
    }
}

/// Message to the actor: change the settings of ticker, heartbeat and checkpoints. No subscriber is
/// disconnected, and no number of the ticker is skipped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reconfigure {
    /// The new settings. Values outside their range are clamped.
    pub settings: LiveSettings,
}

impl Handler<Reconfigure> for Broadcaster {
    type Result = ();

    fn handle(&mut self, Reconfigure { settings }: Reconfigure, ctx: &mut Self::Context) {
        let settings = settings.in_range();
        self.clients.send(|state| {
            state.heartbeat = settings.heartbeat;
            state.checkpoints = settings.checkpoints;
        });
        self.ticker.change(settings.ticker, Instant::now());
        self.wait_for_tick(ctx);
    }
}

/// Message to the actor: drain the server. It then rejects new subscribers and publish requests, stops the
/// ticker, and ends each stream. The reply does not wait for the streams to end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for Broadcaster {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) {
        self.clients.send(|state| state.draining = true);
        self.wait_for_tick(ctx);
    }
}

/// Message to the actor: end, because the fan-out of a worker thread has panicked. The end of the actor tells
/// the process to end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GiveUp;

impl Handler<GiveUp> for Broadcaster {
    type Result = ();

    fn handle(&mut self, _: GiveUp, ctx: &mut Self::Context) {
        ctx.terminate();
    }
}

/// Message to the actor: return its part of the server's status.
#[derive(Debug, Message)]
#[rtype(result = "Inspection")]
pub(crate) struct Inspect;

/// The part of the server's status that the actor knows: subscribers, drain and ticker.
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
        let live = self.metrics.live();
        Inspection {
            live,
            catching_up: self.clients.len().saturating_sub(live),
            max_subscribers: self.clients.max_clients(),
            draining: self.clients.is_draining(),
            ticker_enabled: ticker.enabled,
            ticker_interval: ticker.interval,
        }
    }
}
