//! The handle through which request handlers use the actor and the log. It is cheap to clone, and each worker
//! thread has its own.

use std::{sync::Arc, time::Duration};

use actix::prelude::*;
use thiserror::Error;
#[cfg(test)]
use tokio::sync::SemaphorePermit;
use tokio::sync::{Semaphore, oneshot, watch};

use super::{
    actor::{Broadcaster, Drain, GiveUp, Inspect, Reconfigure},
    client_registry::{ClientLimits, ClientRegistry},
    hub_settings::HubSettings,
    hub_state::HubState,
    live_settings::LiveSettings,
    presence::Presence,
};
#[cfg(test)]
use crate::matching::Reservation;
use crate::{
    auth::Access,
    event::ResumeFrom,
    event_log::{
        self, Appender, Archive, KeysInProgress, Listener, LogError, LogKind, MemoryLog,
        ResumeLookup, RevocationChange, Revocations,
    },
    matching::{HubUrl, InvalidMatcher, Matcher, MatcherText, Selection, Selections},
    metrics::{Metrics, Totals},
};

const MAX_RETRY: Duration = Duration::from_secs(3600);

/// Error: the Broadcaster, the central actor, has stopped. The process should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the Broadcaster has stopped")]
pub struct BroadcasterGone;

/// Maximum number of publish requests in flight. Beyond it, publishing returns 503 with `Retry-After`.
const MAX_PUBLISHES_IN_FLIGHT: usize = 4096;

/// Maximum number of publish requests with many updates in flight. Beyond it, such a request returns 503 with
/// `Retry-After`.
const MAX_BULK_REQUESTS: usize = 256;

/// A handle to a running Broadcaster, the central actor, and to its log. Clones share both.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(super) broadcaster: Addr<Broadcaster>,
    log: Arc<MemoryLog>,
    pub(super) appender: Arc<dyn Appender>,
    /// Permits that limit the publish requests in flight. [`Hub::publish`], which an application that embeds
    /// the hub calls, needs no permit.
    pub(super) publish_permits: Arc<Semaphore>,
    /// Permits for publish requests with many updates. Such a request may be slow, so it must not hold a
    /// permit of the others.
    pub(super) bulk_permits: Arc<Semaphore>,
    pub(super) keys_in_progress: Arc<KeysInProgress>,
    /// Reads events older than those in memory. Only a log in Redis has such events; otherwise `None`.
    archive: Option<Archive>,
    metrics: Arc<Metrics>,
    state: watch::Receiver<HubState>,
    retry: Duration,
    selections: Arc<Selections>,
    /// What a subscriber without a topic and a token receives: the public events on the default topic.
    default_selection: Arc<Selection>,
}

/// Resolves when the Broadcaster has stopped: after a failure, or because all handles to it were dropped.
pub type Gone = oneshot::Receiver<std::convert::Infallible>;

impl Hub {
    /// Starts a Broadcaster on its own thread, with a log in memory. It requires a running actix `System`.
    ///
    /// The second value resolves when the Broadcaster has stopped. The process should then end: without the
    /// Broadcaster, a server would accept connections and deliver nothing.
    ///
    /// Settings outside their range are clamped.
    pub fn start(settings: HubSettings) -> (Self, Gone) {
        Self::start_with_log(settings, LogKind::Memory).expect("a log in memory always opens")
    }

    /// Like [`Self::start`], with a log of the given kind. Loads the newest events that the log has stored,
    /// and blocks the calling thread meanwhile. If Redis cannot be reached, fails after 10 s or some seconds
    /// more.
    ///
    /// Returns a [`LogError`] if the file cannot be created, read or locked, is damaged or is not a log. With
    /// Redis, returns it if Redis cannot be reached or used, or has other data under the log's keys.
    pub fn start_with_log(
        mut settings: HubSettings,
        log: LogKind,
    ) -> Result<(Self, Gone), LogError> {
        settings.live = settings.live.in_range();
        let topic = vec![Matcher::exact(&settings.topic)];
        let default_selection = Selection::new(settings.url.clone(), topic, Vec::new());
        let metrics = Arc::new(Metrics::default());
        let (state_sender, state) = watch::channel(HubState {
            heartbeat: settings.live.heartbeat,
            checkpoints: settings.live.checkpoints,
            draining: false,
        });
        let state_sender = Arc::new(state_sender);
        let notify = {
            let state_sender = state_sender.clone();
            move || state_sender.send_modify(|_| ())
        };
        let listener = Listener {
            metrics: metrics.clone(),
            notify: Box::new(notify),
        };
        let opened = event_log::open(
            log,
            settings.retention,
            settings.topic,
            settings.publishing,
            listener,
        )?;
        let (log, appender) = (opened.memory.clone(), opened.appender.clone());
        let archive = opened.archive.clone();
        let (alive, gone) = oneshot::channel();
        let presence = settings.subscriptions;
        let presence =
            presence.then(|| Presence::new(settings.url.clone(), settings.matcher_bytes));
        let limits = ClientLimits {
            max: settings.max_subscribers,
            max_with_token: settings.max_with_token,
            at_token_limit: settings.at_token_limit,
        };
        let clients = ClientRegistry::new(state_sender, limits, presence);
        let broadcaster = Broadcaster::new(opened, clients, settings.live, metrics.clone(), alive);
        let hub = Self {
            broadcaster: Broadcaster::start_in_arbiter(&Arbiter::new().handle(), |_| broadcaster),
            log,
            appender,
            publish_permits: Arc::new(Semaphore::new(MAX_PUBLISHES_IN_FLIGHT)),
            bulk_permits: Arc::new(Semaphore::new(MAX_BULK_REQUESTS)),
            keys_in_progress: Arc::default(),
            archive,
            metrics,
            state,
            retry: settings.retry.min(MAX_RETRY),
            selections: Arc::new(Selections::new(settings.url, settings.matcher_bytes)),
            default_selection: Arc::new(default_selection),
        };
        Ok((hub, gone))
    }

    /// The hub's URL as its clients know it.
    pub fn url(&self) -> &HubUrl {
        self.selections.hub()
    }

    /// The address of the actor, which handles [`Reconfigure`] and [`Drain`].
    pub fn broadcaster(&self) -> &Addr<Broadcaster> {
        &self.broadcaster
    }

    /// The metric counters since the hub started.
    pub fn totals(&self) -> Totals {
        self.metrics.totals()
    }

    /// Whether the server is draining.
    pub(crate) fn is_draining(&self) -> bool {
        self.state.borrow().draining
    }

    /// Takes every publish permit, as if the maximum number of publish requests were in flight.
    #[cfg(test)]
    pub(crate) async fn hold_publish_permits(&self) -> SemaphorePermit<'_> {
        let permits = self
            .publish_permits
            .acquire_many(MAX_PUBLISHES_IN_FLIGHT as u32);
        permits.await.expect("the semaphore is never closed")
    }

    /// Number of idempotency keys that are remembered, and when the oldest was used, in milliseconds since
    /// 1970.
    pub(crate) fn idempotency_keys(&self) -> (usize, Option<u64>) {
        self.appender.remembered_keys()
    }

    /// The revoked tokens, and their changes.
    pub(crate) fn revocations(&self) -> watch::Receiver<Arc<Revocations>> {
        self.appender.revocations()
    }

    /// Changes the revoked tokens. If the log has ended, the request is dropped.
    pub(crate) fn revoke(&self, change: RevocationChange) {
        self.appender.revoke(change);
    }

    /// Whether the log accepts events, as far as is known without trying.
    pub(crate) fn is_writable(&self) -> bool {
        self.appender.is_writable()
    }

    /// Waits until the log has flushed or refused all events so far. These include the presence events about
    /// the subscriptions that ended because their subscribers left.
    pub(crate) async fn flush(&self) {
        // The actor handles messages in order. When it answers this message, it has handled all earlier ones,
        // such as those of subscribers that left.
        self.ask(Inspect).await.ok();
        // An error means that the log has ended, so there is nothing to flush.
        self.appender.flush().await.ok();
    }

    /// Changes the settings of ticker, heartbeat and checkpoints. No subscriber is disconnected, and no
    /// number of the ticker is skipped.
    pub async fn reconfigure(&self, settings: LiveSettings) -> Result<(), BroadcasterGone> {
        self.ask(Reconfigure { settings }).await
    }

    /// Starts the drain, without waiting for the streams to end: rejects new streams, and ends each existing
    /// stream with a random `retry:` and the id to resume from. A stream that reads from memory first sends
    /// every event up to the head. A stream that still reads older events from Redis ends at once.
    pub async fn drain(&self) -> Result<(), BroadcasterGone> {
        self.ask(Drain).await
    }

    /// Returns the selection (compiled matchers and rights) for these matchers and this token. If a
    /// subscriber already has the same matchers and rights, its selection is shared instead of compiled
    /// again. `names_topics`: see [`Selection::names_topics`]. Fails if a matcher is invalid or the memory for
    /// matchers is exhausted.
    pub(crate) async fn select(
        &self,
        matchers: Vec<MatcherText>,
        access: Option<&Access>,
        names_topics: bool,
    ) -> Result<Arc<Selection>, InvalidMatcher> {
        let authorized = access.map_or(&[][..], Access::authorized);
        let granted = access.and_then(Access::compiled);
        let selections = &self.selections;
        selections
            .select(matchers, authorized, granted, names_topics)
            .await
    }

    /// The selection of a subscriber that asks for no topic and has these rights: the events on the default
    /// topic.
    pub(crate) async fn select_default(
        &self,
        access: Option<&Access>,
        names_topics: bool,
    ) -> Result<Arc<Selection>, InvalidMatcher> {
        if !names_topics && access.is_none_or(|access| access.authorized().is_empty()) {
            return Ok(self.default_selection.clone());
        }
        self.select(self.default_selection.written(), access, names_topics)
            .await
    }

    /// The selection of a subscriber that asks for no topic and has no token. It needs no memory for
    /// matchers.
    pub(crate) fn default_selection(&self) -> Arc<Selection> {
        self.default_selection.clone()
    }

    /// The events in memory.
    pub(crate) fn log(&self) -> &MemoryLog {
        &self.log
    }

    /// Reads events older than those in memory. `None`: the log has no such events.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Looks up in memory where a subscriber starts. If memory cannot tell, the result has what is needed to
    /// find it in the archive (the whole log in Redis).
    pub(crate) fn look_up(&self, from: &ResumeFrom, selection: &Selection) -> ResumeLookup {
        event_log::look_up(&self.log, self.archive.as_ref(), from, selection)
    }

    /// Exhausts the memory for matchers until the reservation is dropped.
    #[cfg(test)]
    pub(crate) fn fill_matcher_memory(&self) -> Reservation {
        self.selections.fill()
    }

    /// A receiver of the hub's state. It is notified at each new event and at each change of the state.
    pub(crate) fn state(&self) -> watch::Receiver<HubState> {
        self.state.clone()
    }

    /// Ends the Broadcaster, which tells the process to end.
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

    /// The reconnect delay for one client. It is random, so that clients that were disconnected together do
    /// not reconnect together.
    pub(crate) fn jittered_retry(&self) -> Duration {
        self.retry.mul_f64(0.5 + fastrand::f64())
    }
}
