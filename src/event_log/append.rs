//! An event to append, its answer, and the idempotency keys of the requests in progress.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::error::LogUnavailable;
use crate::{
    event::{Event, EventId, Hash128, KeyedUpdate},
    matching::Reservation,
};

/// How a log recognizes an update that a publisher repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishSettings {
    /// Whether an event is refused if a retained event has the same publisher-chosen id and other content. If
    /// false, it is appended, as Mercure allows. An event with the same id and the same content is never
    /// appended again.
    pub unique_ids: bool,
    /// An idempotency key is remembered for at least this long, unless `idempotency_keys` is reached.
    pub idempotency_window: Duration,
    /// Maximum number of idempotency keys that are remembered. Beyond it, the oldest are forgotten. A key
    /// uses about 120 bytes of memory.
    pub idempotency_keys: usize,
}

impl Default for PublishSettings {
    fn default() -> Self {
        Self {
            unique_ids: false,
            idempotency_window: Duration::from_secs(600),
            idempotency_keys: 1_000_000,
        }
    }
}

/// An event to append.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) event: Event,
    /// The idempotency key that the publisher sent. `None`: it sent none.
    pub(crate) key: Option<AppendKey>,
    /// Who waits for the answer. `None`: nobody.
    pub(crate) ack: Option<Ack>,
    /// Counts the event as queued until this is dropped. Set by the log.
    pub(super) queued: Option<Reservation>,
}

/// An append without its event, which is somewhere else until the append is answered.
#[derive(Debug)]
pub(super) struct Pending {
    key: Option<AppendKey>,
    ack: Option<Ack>,
    _queued: Option<Reservation>,
}

impl Append {
    /// An event without an idempotency key.
    pub(crate) fn new(event: Event, ack: Option<Ack>) -> Self {
        Self {
            event,
            key: None,
            ack,
            queued: None,
        }
    }

    pub(super) fn keyed_update(&self) -> Option<KeyedUpdate> {
        self.key.as_ref().map(|key| key.keyed_update)
    }

    pub(super) fn into_parts(self) -> (Event, Pending) {
        let pending = Pending {
            key: self.key,
            ack: self.ack,
            _queued: self.queued,
        };
        (self.event, pending)
    }

    pub(super) fn answer(self, result: AppendResult) {
        self.into_parts().1.answer(result);
    }
}

impl Pending {
    pub(super) fn answer(self, result: AppendResult) {
        // The key is no longer in progress when the publisher has its answer.
        drop(self.key);
        if let Some(ack) = self.ack {
            ack.send(result);
        }
    }
}

/// An event that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) id: EventId,
    /// Whether the event was in the log already, because the publisher repeats a request.
    pub(crate) is_replay: bool,
}

/// Why an event was not appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Unavailable(#[from] LogUnavailable),
    /// The idempotency key was used before, for another update.
    #[error("the idempotency key was used for another update")]
    KeyReused,
    /// Ids must be unique, and a retained event with other content has this id.
    #[error("another event has this id")]
    IdTaken,
}

pub(crate) type AppendResult = Result<Appended, Refusal>;

/// Sends the answer to whoever waits for it. If this is dropped, they learn that the log has ended.
#[derive(Debug)]
pub(crate) enum Ack {
    One(oneshot::Sender<AppendResult>),
    OfMany(NumberedAck),
}

/// The answer to one of the many appends of a request. If this is dropped, the answer is that the log is
/// unavailable.
#[derive(Debug)]
pub(crate) struct NumberedAck {
    number: u64,
    sender: mpsc::UnboundedSender<(u64, AppendResult)>,
    is_sent: bool,
}

impl NumberedAck {
    pub(crate) fn new(number: u64, sender: mpsc::UnboundedSender<(u64, AppendResult)>) -> Self {
        Self {
            number,
            sender,
            is_sent: false,
        }
    }

    fn send(&mut self, result: AppendResult) {
        self.is_sent = true;
        // Sending fails if the request has ended, which is not an error.
        self.sender.send((self.number, result)).ok();
    }
}

impl Drop for NumberedAck {
    fn drop(&mut self) {
        if !self.is_sent {
            self.send(Err(LogUnavailable.into()));
        }
    }
}

impl Ack {
    pub(super) fn send(self, result: AppendResult) {
        // Sending fails if the publisher no longer waits for the answer, which is not an error.
        match self {
            Self::One(sender) => drop(sender.send(result)),
            Self::OfMany(mut ack) => ack.send(result),
        }
    }
}

/// The idempotency keys of the publish requests that wait for the log.
#[derive(Debug, Default)]
pub(crate) struct KeysInProgress(Mutex<HashMap<Hash128, Hash128>>);

/// The idempotency key of an append. If it was added to [`KeysInProgress`], it is in progress until this is
/// dropped.
#[derive(Debug)]
pub(crate) struct AppendKey {
    keyed_update: KeyedUpdate,
    registered_in: Option<Arc<KeysInProgress>>,
}

/// Another request with the same key is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlreadyInProgress {
    WithSameUpdate,
    WithAnother,
}

impl KeysInProgress {
    /// Marks a key as in progress.
    pub(crate) fn begin(
        self: &Arc<Self>,
        keyed_update: KeyedUpdate,
    ) -> Result<AppendKey, AlreadyInProgress> {
        let KeyedUpdate { key, update } = keyed_update;
        let mut keys = self.0.lock();
        match keys.get(&key) {
            Some(other) if *other == update => Err(AlreadyInProgress::WithSameUpdate),
            Some(_) => Err(AlreadyInProgress::WithAnother),
            None => {
                keys.insert(key, update);
                Ok(AppendKey {
                    keyed_update,
                    registered_in: Some(self.clone()),
                })
            }
        }
    }
}

impl AppendKey {
    /// A key of a request that waits for its turn, whatever other requests are in progress.
    pub(crate) fn unregistered(keyed_update: KeyedUpdate) -> Self {
        Self {
            keyed_update,
            registered_in: None,
        }
    }
}

impl Drop for AppendKey {
    fn drop(&mut self) {
        if let Some(keys) = &self.registered_in {
            keys.0.lock().remove(&self.keyed_update.key);
        }
    }
}
