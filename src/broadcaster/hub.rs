//! What a request handler needs of the Broadcaster: its address, the log that its subscribers read,
//! and the counters. Cheap to clone, one for each worker.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use thiserror::Error;
#[cfg(test)]
use tokio::sync::SemaphorePermit;
use tokio::sync::{Semaphore, oneshot, watch};

use super::{
    actor::{Broadcaster, Drain, GiveUp, Inspect, Reconfigure},
    client_registry::ClientRegistry,
    hub_state::HubState,
    live_settings::LiveSettings,
    presence::Presence,
};
use crate::{
    auth::Access,
    event::{Event, EventId, Topic},
    event_log::{
        self, Appender, Archive, Listener, LogError, LogKind, LogUnavailable, MemoryLog, Retention,
        TickerSettings,
    },
    matching::{HubUrl, InvalidMatcher, Matcher, MatcherText, Selection, Selections},
    metrics::{Metrics, Totals},
};

const MAX_RETRY: Duration = Duration::from_secs(3600);

/// How a [`Hub`] is set up. The default has no ticker: it sends what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// Ticker, heartbeat and checkpoints.
    pub live: LiveSettings,
    /// How much is kept for those who resume or fall behind.
    pub retention: Retention,
    /// How many subscribers there may be at once; whoever comes then is told to come again.
    pub max_subscribers: usize,
    /// How many of them there may be with the same access token.
    pub max_with_token: usize,
    /// How long a client waits before it reconnects, at most an hour. Each is told its own, 50 to
    /// 150 % of this.
    pub retry: Duration,
    /// What events are on that name no topic, such as the numbered messages; subscribers that ask
    /// for no topic get those.
    pub topic: Topic,
    /// Whether it is told who subscribes to what, to those whose token allows it.
    pub subscriptions: bool,
    /// Memory budget for what all subscribers ask for, in bytes.
    pub matcher_bytes: usize,
    /// The hub's URL as clients know it: relative topics and patterns are relative to it.
    pub url: HubUrl,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            live: LiveSettings {
                ticker: TickerSettings {
                    enabled: false,
                    interval: Duration::from_secs(1),
                    message: "Message number: {n}".to_owned(),
                },
                heartbeat: Duration::from_secs(15),
                checkpoints: true,
            },
            retention: Retention {
                events: 10_000,
                presence: 1000,
                bytes: 16 << 20,
                age: None,
                queue: 64,
            },
            max_subscribers: 10_000,
            max_with_token: 1000,
            retry: Duration::from_secs(2),
            topic: Topic::parse("/ticker").expect("this is a topic"),
            subscriptions: false,
            matcher_bytes: 128 << 20,
            url: HubUrl::parse("http://localhost/.well-known/mercure").expect("this is a URL"),
        }
    }
}

/// The Broadcaster has stopped: the process should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the Broadcaster has stopped")]
pub struct BroadcasterGone;

/// An event was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// There is more to publish than can be taken in. To be tried again a little later.
    #[error("too many updates are being published: try again later")]
    Busy,
    /// It is to be published elsewhere, or after the restart.
    #[error("the server is draining")]
    Draining,
    /// Where the log lives there is no room, or it is not there. To be tried again later.
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
    /// The process should end.
    #[error(transparent)]
    Gone(#[from] BroadcasterGone),
}

/// Maximum number of updates that publishers wait for at once. Beyond it, publishing returns 503 with
/// `Retry-After`.
const MAX_PUBLISHES_IN_FLIGHT: usize = 4096;

/// A running Broadcaster and what belongs to it.
#[derive(Debug, Clone)]
pub struct Hub {
    broadcaster: Addr<Broadcaster>,
    pub(crate) log: Arc<MemoryLog>,
    appender: Arc<dyn Appender>,
    /// Permits for updates from the network.
    publish_permits: Arc<Semaphore>,
    /// Where older events are than those in the log, if they are anywhere.
    pub(crate) archive: Option<Archive>,
    pub(crate) metrics: Arc<Metrics>,
    state: watch::Receiver<HubState>,
    retry: Duration,
    pub(crate) selections: Arc<Selections>,
    /// What subscribers get that ask for no topic.
    pub(crate) own: Arc<Selection>,
}

/// Resolves when the Broadcaster has stopped, which it never does by itself.
pub type Gone = oneshot::Receiver<std::convert::Infallible>;

impl Hub {
    /// Starts a Broadcaster on an Arbiter of its own. Needs a running actix `System`.
    ///
    /// The second value tells of the Broadcaster's death; a server that goes on without it would
    /// be up and mute.
    ///
    /// Settings out of their range are taken as the nearest that is in it.
    pub fn start(settings: HubSettings) -> (Self, Gone) {
        Self::start_with_log(settings, LogKind::Memory).expect("memory is there")
    }

    /// The same with a log that lives elsewhere, and what is in it is read first. That blocks the
    /// thread: a Redis that is not there is waited for, for some 10 s.
    ///
    /// A [`LogError`] says that the file cannot be made, read or locked, or is no log; or that Redis
    /// is not there, cannot be used, or has something else under these keys.
    pub fn start_with_log(
        mut settings: HubSettings,
        log: LogKind,
    ) -> Result<(Self, Gone), LogError> {
        settings.live = settings.live.in_range();
        let own = vec![Matcher::exact(&settings.topic)];
        let own = Selection::new(settings.url.clone(), own, Vec::new());
        let metrics = Arc::new(Metrics::default());
        let (channels, state) = watch::channel(HubState {
            heartbeat: settings.live.heartbeat,
            checkpoints: settings.live.checkpoints,
            draining: false,
        });
        let channels = Arc::new(channels);
        let told = {
            let channels = channels.clone();
            move || channels.send_modify(|_| ())
        };
        let listener = Listener {
            metrics: metrics.clone(),
            told: Box::new(told),
        };
        let opened = event_log::open(log, settings.retention, settings.topic, listener)?;
        let (log, appender) = (opened.memory.clone(), opened.appender.clone());
        let archive = opened.archive.clone();
        let (alive, gone) = oneshot::channel();
        let presence = settings.subscriptions;
        let presence =
            presence.then(|| Presence::new(settings.url.clone(), settings.matcher_bytes));
        let (max, max_with_token) = (settings.max_subscribers, settings.max_with_token);
        let clients = ClientRegistry::new(channels, max, max_with_token, presence);
        let broadcaster = Broadcaster::new(opened, clients, settings.live, metrics.clone(), alive);
        let hub = Self {
            broadcaster: Broadcaster::start_in_arbiter(&Arbiter::new().handle(), |_| broadcaster),
            log,
            appender,
            publish_permits: Arc::new(Semaphore::new(MAX_PUBLISHES_IN_FLIGHT)),
            archive,
            metrics,
            state,
            retry: settings.retry.min(MAX_RETRY),
            selections: Arc::new(Selections::new(settings.url, settings.matcher_bytes)),
            own: Arc::new(own),
        };
        Ok((hub, gone))
    }

    /// The hub's URL, as its clients know it.
    pub fn url(&self) -> &HubUrl {
        self.selections.hub()
    }

    /// The actor's address: it takes [`Reconfigure`] and [`Drain`].
    pub fn broadcaster(&self) -> &Addr<Broadcaster> {
        &self.broadcaster
    }

    /// What was counted since the start.
    pub fn totals(&self) -> Totals {
        self.metrics.totals()
    }

    /// Publishes an event to every subscriber. Its id comes back once it is in the log, as safe as
    /// the log makes it. However much waits, it is taken in, and while the hub drains, too.
    ///
    /// [`PublishError::Unavailable`]: the log has no room, or is not there. Where only Redis' answer was
    /// lost, the event is delivered all the same. [`PublishError::Gone`]: the Broadcaster has stopped.
    pub async fn publish(&self, event: Event) -> Result<EventId, PublishError> {
        if !self.broadcaster.connected() {
            return Err(BroadcasterGone.into());
        }
        let (done, appended) = oneshot::channel();
        self.appender.append(event, Some(done));
        let appended = appended.await.map_err(|_| BroadcasterGone)?;
        Ok(appended?)
    }

    /// The same, but only if it can be taken in now.
    pub(crate) async fn publish_now(&self, event: Event) -> Result<EventId, PublishError> {
        if self.state.borrow().draining {
            return Err(PublishError::Draining);
        }
        let permit = self.publish_permits.try_acquire();
        let (Ok(_permit), false) = (permit, self.appender.is_full()) else {
            return Err(PublishError::Busy);
        };
        self.publish(event).await
    }

    /// Takes every permit, as so many publishers would.
    #[cfg(test)]
    pub(crate) async fn hold_publish_permits(&self) -> SemaphorePermit<'_> {
        let permits = self
            .publish_permits
            .acquire_many(MAX_PUBLISHES_IN_FLIGHT as u32);
        permits.await.expect("the semaphore is never closed")
    }

    /// Whether events are taken in, as far as is known.
    pub(crate) fn is_writable(&self) -> bool {
        self.appender.is_writable()
    }

    /// Waits until all that was published is as safe as the log makes it, and so is who left.
    pub(crate) async fn flush(&self) {
        // What was sent to the Broadcaster before, it has done before it answers.
        self.ask(Inspect).await.ok();
        // Who is gone has nothing left to do.
        self.appender.flush().await.ok();
    }

    /// Changes ticker, heartbeat and checkpoints without dropping a subscriber or skipping a number.
    pub async fn reconfigure(&self, settings: LiveSettings) -> Result<(), BroadcasterGone> {
        self.ask(Reconfigure { settings }).await
    }

    /// Ends every stream, each after the last event it can be given, with a `retry:` of its own and the
    /// id to resume from.
    /// New ones are turned away from now on.
    pub async fn drain(&self) -> Result<(), BroadcasterGone> {
        self.ask(Drain).await
    }

    /// What is to be sent to whoever asks for this and may read that.
    pub(crate) async fn select(
        &self,
        matchers: Vec<MatcherText>,
        access: Option<&Access>,
    ) -> Result<Arc<Selection>, InvalidMatcher> {
        let authorized = access.map_or(&[][..], Access::authorized);
        let granted = access.and_then(Access::compiled);
        self.selections.select(matchers, authorized, granted).await
    }

    /// Tells of each event, and of whatever else those who send to subscribers have to know.
    pub(crate) fn state(&self) -> watch::Receiver<HubState> {
        self.state.clone()
    }

    /// Ends the Broadcaster, and with it the process.
    pub(crate) fn give_up(&self) {
        self.broadcaster.do_send(GiveUp);
    }

    pub(crate) async fn ask<M>(&self, message: M) -> Result<M::Result, BroadcasterGone>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Broadcaster: Handler<M>,
    {
        let _waiting = self.metrics.mark_message();
        self.broadcaster
            .send(message)
            .await
            .map_err(|_| BroadcasterGone)
    }

    /// How long one client is told to wait before it reconnects: spread, so that those who were
    /// cut off together do not come back together.
    pub(crate) fn jittered_retry(&self) -> Duration {
        self.retry.mul_f64(0.5 + fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_while_too_much_waits_is_refused_and_nothing_of_it_is_done() {
        System::new().block_on(async {
            let (hub, _gone) = Hub::start(HubSettings::default());
            let all = hub
                .publish_permits
                .acquire_many(MAX_PUBLISHES_IN_FLIGHT as u32)
                .await;

            let refused = hub.publish_now(Event::message("0")).await;
            drop(all);
            let taken = hub.publish_now(Event::message("1")).await;

            assert_eq!(refused, Err(PublishError::Busy));
            assert_eq!(taken, Ok(hub.log.id(1)));
        });
    }

    #[test]
    fn a_hub_that_drains_takes_nothing_in() {
        System::new().block_on(async {
            let (hub, _gone) = Hub::start(HubSettings::default());

            hub.drain().await.unwrap();

            let refused = hub.publish_now(Event::message("0")).await;
            assert_eq!(refused, Err(PublishError::Draining));
            assert_eq!(hub.log.next(), 1);
        });
    }
}
