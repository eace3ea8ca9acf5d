//! What a subscriber is told when events are missing, where a browser's `EventSource` can read it.

use serde::Serialize;

use super::{event_id::EventId, given_id::GivenId};

/// The name of the in-band event that carries a [`Gap`].
pub(crate) const EVENT_NAME: &str = "gap";

/// Why the events after an id cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    /// They were once in this log and are no longer kept.
    Evicted,
    /// The id is of another log: the server was restarted, or it is another server.
    Epoch,
    /// The id names no event that ever was: not yet, or not an id at all.
    Unknown,
}

impl GapReason {
    pub(crate) const ALL: [Self; 3] = [Self::Evicted, Self::Epoch, Self::Unknown];

    /// As clients and metrics are told it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Epoch => "epoch",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for GapReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A hole in what a subscriber gets. What follows it starts right after `resumed_after`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    /// Why there is a hole.
    pub(crate) reason: GapReason,
    /// The id after which the subscriber should have resumed: what it asked for, in its
    /// [URI form](crate::event::given_id::to_uri), at most [`Gap::MAX_REQUESTED`] characters of it.
    pub(crate) requested: String,
    /// The stream continues after this event; `None`: with the oldest retained event, and the id before
    /// that is unknown.
    pub(crate) resumed_after: Option<EventId>,
    /// How many events are missing; `None` where that cannot be known.
    pub(crate) missed: Option<u64>,
}

impl Gap {
    /// How much of a requested id is repeated to the client, in characters. Enough for every valid id.
    pub(crate) const MAX_REQUESTED: usize = GivenId::MAX_BYTES;

    /// A gap of a stream that continues after an event.
    pub(crate) fn new(
        reason: GapReason,
        requested: &dyn ToString,
        resumed_after: Option<EventId>,
        missed: Option<u64>,
    ) -> Self {
        let requested = requested.to_string();
        Self {
            reason,
            requested: requested.chars().take(Self::MAX_REQUESTED).collect(),
            resumed_after,
            missed,
        }
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
