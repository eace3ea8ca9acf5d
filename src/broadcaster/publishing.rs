//! The publish methods of [`Hub`]: for a publish request with one update, for one with many, and for an
//! application that embeds the server.

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::hub::{BroadcasterGone, Hub};
use crate::{
    event::{Event, EventId, KeyedUpdate},
    event_log::{Ack, AlreadyInProgress, Append, Appended, LogUnavailable, Refusal},
};

/// Why publishing an event failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// Too many publish requests are in flight, or the log's queue is full. Retry a little later. Not
    /// returned by [`Hub::publish`].
    #[error("too many updates are being published: try again later")]
    Busy,
    /// The server is draining. Retry at another server, or after the restart. Not returned by
    /// [`Hub::publish`].
    #[error("the server is draining")]
    Draining,
    /// The log has no space, has failed or cannot be reached. Retry later. With Redis, the event may be in
    /// the log nevertheless.
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
    /// The idempotency key was used before, for another update. Not returned by [`Hub::publish`].
    #[error("the idempotency key was used for another update")]
    KeyReused,
    /// A request with the same idempotency key is in progress. Retry a little later. Not returned by
    /// [`Hub::publish`].
    #[error("a request with this idempotency key is in progress")]
    KeyInProgress,
    /// Ids must be unique ([`PublishSettings::unique_ids`](crate::PublishSettings)), and another retained
    /// event has this id.
    #[error("another event has this id")]
    IdTaken,
    /// The Broadcaster or the thread of the log has stopped. The process should end.
    #[error(transparent)]
    Gone(#[from] BroadcasterGone),
}

impl From<Refusal> for PublishError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unavailable(unavailable) => Self::Unavailable(unavailable),
            Refusal::KeyReused => Self::KeyReused,
            Refusal::IdTaken => Self::IdTaken,
        }
    }
}

impl From<AlreadyInProgress> for PublishError {
    fn from(other: AlreadyInProgress) -> Self {
        match other {
            AlreadyInProgress::WithSameUpdate => Self::KeyInProgress,
            AlreadyInProgress::WithAnother => Self::KeyReused,
        }
    }
}

impl Hub {
    /// Publishes an event, even during a drain or when the log's queue is full. Returns the event's id when
    /// the log has stored the event, as durably as the log is configured.
    ///
    /// Fails with [`PublishError::Unavailable`] if the log has no space, has failed or cannot be reached.
    /// Fails with [`PublishError::Gone`] if the Broadcaster or the thread of the log has stopped. With Redis,
    /// `Unavailable` can also mean that only the response was lost. The event is then delivered despite the
    /// error. Fails with [`PublishError::IdTaken`] if ids must be unique and another event has the id.
    ///
    /// If the event has an id that a publisher chose and a retained event has the same id, topics, data, name
    /// and privacy, nothing is appended, and the id of that event is returned.
    pub async fn publish(&self, event: Event) -> Result<EventId, PublishError> {
        if !self.broadcaster.connected() {
            return Err(BroadcasterGone.into());
        }
        let published = self.append(Append::new(event, None)).await?;
        Ok(published.id)
    }

    /// Appends an event, and waits until it is in the log.
    async fn append(&self, mut append: Append) -> Result<Appended, PublishError> {
        let (done, appended) = oneshot::channel();
        append.ack = Some(Ack::One(done));
        self.appender.append(append);
        let appended = appended.await.map_err(|_| BroadcasterGone)?;
        Ok(appended?)
    }

    /// Publishes an event for a publish request, with the idempotency key that came with it. Fails if the hub
    /// is draining, too many publish requests are in flight, the log's queue is full, or a request with the
    /// same key is in progress. Also fails like [`Self::publish`].
    pub(crate) async fn publish_now(
        &self,
        event: Event,
        key: Option<KeyedUpdate>,
    ) -> Result<Appended, PublishError> {
        if self.is_draining() {
            return Err(PublishError::Draining);
        }
        let permit = self.publish_permits.try_acquire();
        let (Ok(_permit), false) = (permit, self.appender.is_full()) else {
            return Err(PublishError::Busy);
        };
        if !self.broadcaster.connected() {
            return Err(BroadcasterGone.into());
        }
        let mut append = Append::new(event, None);
        append.key = key
            .map(|key| self.keys_in_progress.begin(key))
            .transpose()?;
        self.append(append).await
    }

    /// Takes a permit for a publish request with many updates. Fails if the hub is draining, or if too many
    /// such requests are in flight.
    pub(crate) fn begin_bulk(&self) -> Result<OwnedSemaphorePermit, PublishError> {
        if self.is_draining() {
            return Err(PublishError::Draining);
        }
        let permit = self.bulk_permits.clone().try_acquire_owned();
        permit.map_err(|_| PublishError::Busy)
    }

    /// Appends the events of a publish request that has a permit. Each is answered through its `ack`.
    pub(crate) fn append_all(&self, appends: Vec<Append>) {
        self.appender.append_all(appends);
    }

    /// Whether the log's queue is full.
    pub(crate) fn is_log_full(&self) -> bool {
        self.appender.is_full()
    }
}

#[cfg(test)]
mod tests {
    use actix::System;

    use super::{super::hub_settings::HubSettings, *};

    #[test]
    fn publishing_without_a_free_permit_is_refused_and_appends_nothing() {
        System::new().block_on(async {
            let (hub, _gone) = Hub::start(HubSettings::default());
            let all = hub.hold_publish_permits().await;

            let refused = hub.publish_now(Event::message("0"), None).await;
            drop(all);
            let taken = hub.publish_now(Event::message("1"), None).await;

            assert_eq!(refused, Err(PublishError::Busy));
            assert_eq!(taken.map(|taken| taken.id), Ok(hub.log().id(1)));
        });
    }

    #[test]
    fn a_draining_hub_refuses_publish_requests() {
        System::new().block_on(async {
            let (hub, _gone) = Hub::start(HubSettings::default());

            hub.drain().await.unwrap();

            let refused = hub.publish_now(Event::message("0"), None).await;
            assert_eq!(refused, Err(PublishError::Draining));
            assert_eq!(hub.log().next(), 1);
        });
    }
}
