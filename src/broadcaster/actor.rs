//! The central actor. It owns the ticking timer and the registry of client channels, and appends numbered
//! messages and presence events to the log. With a Redis log, tasks of the log append numbered messages and
//! epochs instead. The actor never waits for a socket, and sends one signal for all subscribers of a worker
//! thread.

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
    event_log::{Appender, LogUnavailable, MemoryLog, Opened, Tick, Ticker, TickerSettings},
    metrics::Metrics,
};

/// Maximum number of numbered messages in flight. At this limit, the ticker waits until one is acknowledged.
const MAX_TICKS_IN_FLIGHT: usize = 64;

/// The actor that registers subscribers and runs the ticker. Start it with [`Hub::start`](crate::Hub).
#[derive(Debug)]
pub struct Broadcaster {
    pub(super) log: Arc<MemoryLog>,
    pub(super) appender: Arc<dyn Appender>,
    /// Present if the log itself appends the numbered messages. Passes it the settings; `None`: append none.
    pub(super) ticking_by_log: Option<watch::Sender<Option<TickerSettings>>>,
    pub(super) clients: ClientRegistry,
    pub(super) ticker: Ticker,
    /// Numbered messages that are appended but not acknowledged.
    pub(super) ticks_in_flight: usize,
    /// How often the log refused numbered messages. A refusal also refuses all that were in flight, so a
    /// later refusal counts only if its message was sent after the last counted one.
    pub(super) refusals: u64,
    /// The timer for the ticker's next deadline.
    pub(super) ticking: SpawnHandle,
    pub(super) metrics: Arc<Metrics>,
    /// Resolves when the log's thread has ended. `None`: the log is in memory only and has no thread.
    pub(super) log_gone: Option<oneshot::Receiver<Infallible>>,
    /// Dropped with the actor, however it ends. This resolves [`Gone`](super::Gone).
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

    /// Appends a numbered message. If the log refuses it, it also refuses those after it, and the ticker
    /// continues with the number that the log expects next.
    fn publish_tick(&mut self, tick: Tick, ctx: &mut Context<Self>) {
        let (done, appended) = oneshot::channel();
        let event = Event::tick(tick.number, tick.message);
        self.appender.append(event, Some(done));
        self.ticks_in_flight += 1;
        let refusals = self.refusals;
        let appended = appended.into_actor(self).map(move |appended, this, ctx| {
            let was_full = this.ticks_in_flight == MAX_TICKS_IN_FLIGHT;
            this.ticks_in_flight -= 1;
            match appended {
                Ok(Ok(_)) => this.metrics.observe_tick(tick.lateness),
                Ok(Err(LogUnavailable)) if refusals == this.refusals => {
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
            // Without its thread, the log accepts no events. The actor ends, and with it the process.
            ctx.spawn(gone.into_actor(self).map(|_, _, ctx| ctx.terminate()));
        }
        self.wait_for_tick(ctx);
    }
}

/// Changes the settings without disconnecting a subscriber or skipping a number.
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

/// Drains the server: rejects new subscribers and updates, and ends each stream.
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

/// Ends the actor, and with it the process, because the fan-out of a worker thread has died.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GiveUp;

impl Handler<GiveUp> for Broadcaster {
    type Result = ();

    fn handle(&mut self, _: GiveUp, ctx: &mut Self::Context) {
        ctx.terminate();
    }
}

/// Requests the actor's part of the server's status.
#[derive(Debug, Message)]
#[rtype(result = "Inspection")]
pub(crate) struct Inspect;

/// The actor's part of the server's status.
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
