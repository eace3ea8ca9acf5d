//! The central actor. It owns the ticker, the channel through which every subscriber hears of news,
//! and the count of those there may be. What this process appends to the log goes through it; only
//! where the log is in Redis, numbered messages and new epochs are appended by tasks of the log's own.
//! It never waits for a socket, and one message of its own does for all subscribers.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{dev::MessageResponse, prelude::*};
use tokio::sync::{oneshot, watch};

use super::{live_settings::LiveSettings, presence::Presence, seats::Seats};
use crate::{
    event::{Event, EventId, PresenceChange},
    event_log::{
        Appender, Archive, Done, Later, LogUnavailable, MemoryLog, Numbering, Opened, Ticker,
    },
    metrics::Metrics,
};

/// How many numbered messages may be on their way into the log. Those that are due beyond wait.
const MOST_IN_FLIGHT: usize = 64;

/// The actor that appends each event to the log and tells of it; each worker thread writes it to its
/// own subscribers. Start it with [`Hub::start`](crate::Hub).
#[derive(Debug)]
pub struct Broadcaster {
    pub(super) log: Arc<MemoryLog>,
    pub(super) appender: Arc<dyn Appender>,
    pub(super) numbering: Numbering,
    pub(super) archive: Option<Archive>,
    pub(super) seats: Seats,
    /// Present if it is told who subscribes to what.
    pub(super) presence: Option<Presence>,
    pub(super) news: Arc<watch::Sender<News>>,
    pub(super) ticker: Ticker,
    /// Numbered messages that are on their way into the log.
    pub(super) ticks_in_flight: usize,
    /// How often some of those were refused. What becomes of others that were on their way then says
    /// nothing new.
    pub(super) refusals: u64,
    /// The timer that waits for the ticker's next deadline.
    pub(super) ticking: SpawnHandle,
    pub(super) metrics: Arc<Metrics>,
    /// Resolves when the thread that keeps the log has ended; there is one, unless it is in memory alone.
    pub(super) log_gone: Option<oneshot::Receiver<Infallible>>,
    /// Dropped with the actor, however it ends: whoever waits for the other end learns of it.
    pub(super) _alive: oneshot::Sender<Infallible>,
}

/// What everyone who sends to subscribers has to know. It is sent anew with each event, so that
/// whoever waits looks into the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    /// A subscriber that got nothing for this long is sent a comment.
    pub(crate) heartbeat: Duration,
    /// Whether an idle subscriber gets a checkpoint instead of the comment when its last id is in the older
    /// half of the history.
    pub(crate) checkpoints: bool,
    /// Every stream is to end after the newest event.
    pub(crate) draining: bool,
}

impl Broadcaster {
    pub(crate) fn new(
        log: Opened,
        news: Arc<watch::Sender<News>>,
        seats: Seats,
        presence: Option<Presence>,
        settings: LiveSettings,
        metrics: Arc<Metrics>,
        alive: oneshot::Sender<Infallible>,
    ) -> Self {
        let Opened {
            memory,
            appender,
            numbering,
            archive,
            gone: log_gone,
        } = log;
        let next = match &numbering {
            Numbering::Here { next, .. } => *next,
            Numbering::ByLog(_) => 0,
        };
        Self {
            log: memory,
            appender,
            numbering,
            archive,
            seats,
            presence,
            news,
            ticker: Ticker::new(settings.ticker, next, Instant::now()),
            ticks_in_flight: 0,
            refusals: 0,
            ticking: SpawnHandle::default(),
            metrics,
            log_gone,
            _alive: alive,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.news.borrow().draining
    }

    pub(super) fn announce_all(&mut self, changes: Vec<PresenceChange>) {
        for change in changes {
            self.appender.announce(change);
        }
    }

    fn wait_for_tick(&mut self, ctx: &mut Context<Self>) {
        ctx.cancel_future(self.ticking);
        let appender = match &self.numbering {
            Numbering::Here { appender, .. } => appender.clone(),
            Numbering::ByLog(told) => {
                let settings = (!self.is_draining()).then(|| self.ticker.settings().clone());
                told.send_replace(settings);
                return;
            }
        };
        if self.is_draining() || self.ticks_in_flight >= MOST_IN_FLIGHT {
            return;
        }
        if let Some(due) = self.ticker.due() {
            let wait = due.saturating_duration_since(Instant::now());
            let wait = wait.max(appender.rest());
            self.ticking = ctx.run_later(wait, move |this, ctx| {
                let now = Instant::now();
                while this.ticks_in_flight < MOST_IN_FLIGHT
                    && let Some(tick) = this.ticker.fire(now)
                {
                    let event = Event::message(tick.message);
                    match appender.append(event, tick.number, now) {
                        Some(later) => this.wait_for_append(later, tick.lateness, ctx),
                        None => this.metrics.observe_tick(tick.lateness),
                    }
                }
                this.wait_for_tick(ctx);
            });
        }
    }

    /// Waits until a numbered message is in the log. If it is refused, so are those behind it, and the
    /// ticker goes on with the number that the log is to get next.
    fn wait_for_append(&mut self, later: Later, lateness: Duration, ctx: &mut Context<Self>) {
        self.ticks_in_flight += 1;
        let refusals = self.refusals;
        let appended = later.into_actor(self).map(move |appended, this, ctx| {
            let was_full = this.ticks_in_flight == MOST_IN_FLIGHT;
            this.ticks_in_flight -= 1;
            match appended {
                Ok(Ok(())) => this.metrics.observe_tick(lateness),
                Ok(Err(next)) if refusals == this.refusals => {
                    this.refusals += 1;
                    this.ticker.go_on_from(next);
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
            // Without whoever keeps the log nothing is to be had any more.
            ctx.spawn(gone.into_actor(self).map(|_, _, ctx| ctx.terminate()));
        }
        self.wait_for_tick(ctx);
    }
}

/// Publishes an event; answers with its id once it is in the log, as safe as the log makes it.
#[derive(Debug, Message)]
#[rtype(result = "Result<EventId, LogUnavailable>")]
pub struct Publish {
    /// What to publish.
    pub event: Event,
}

impl Handler<Publish> for Broadcaster {
    type Result = Publishing;

    fn handle(&mut self, Publish { event }: Publish, _: &mut Self::Context) -> Publishing {
        let appender = self.appender.clone();
        Publishing { event, appender }
    }
}

/// An event that goes into the log, which itself tells whoever waits for it.
#[derive(Debug)]
pub struct Publishing {
    event: Event,
    appender: Arc<dyn Appender>,
}

impl MessageResponse<Broadcaster, Publish> for Publishing {
    fn handle(self, _: &mut Context<Broadcaster>, waits: Option<Done>) {
        self.appender.append(self.event, waits);
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
        self.news.send_modify(|news| {
            news.heartbeat = settings.heartbeat;
            news.checkpoints = settings.checkpoints;
        });
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
        self.news.send_modify(|news| news.draining = true);
        self.wait_for_tick(ctx);
    }
}

/// Ends the Broadcaster: a thread that sends for it has died.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GiveUp;

impl Handler<GiveUp> for Broadcaster {
    type Result = ();

    fn handle(&mut self, _: GiveUp, ctx: &mut Self::Context) {
        ctx.terminate();
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
        let live = self.metrics.live();
        Inspection {
            live,
            catching_up: self.seats.taken().saturating_sub(live),
            max_subscribers: self.seats.most(),
            draining: self.is_draining(),
            ticker_enabled: ticker.enabled,
            ticker_interval: ticker.interval,
        }
    }
}
