//! The gap: what a subscriber learns when events are missing from its stream. It is an event in the stream,
//! because a browser's `EventSource` shows a page no status and no header.

use serde::Serialize;

use super::{event_id::EventId, given_id::GivenId};

/// The name of the event that reports a [`Gap`] to a client.
pub(crate) const EVENT_NAME: &str = "gap";

/// Why the events after the requested id are not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    /// The events were in this log and have been evicted.
    Evicted,
    /// The requested id was assigned in another epoch: before a restart of a server that keeps its log in
    /// memory, before the log lost events, or by another server.
    Epoch,
    /// The requested id names no event that the log knows: the event does not exist yet, no retained event
    /// has this given id (an id chosen by a publisher), or the text is not an id.
    Unknown,
}

impl GapReason {
    pub(crate) const ALL: [Self; 3] = [Self::Evicted, Self::Epoch, Self::Unknown];

    /// The text for the reason in gap events and in metric labels.
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

/// Reports that a subscriber does not receive some events. Its stream continues right after `resumed_after`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    /// Why the events are missing.
    pub(crate) reason: GapReason,
    /// The id after which the subscriber wanted to resume, with characters outside ASCII
    /// [percent-encoded](crate::event::given_id::to_uri). Truncated to [`Gap::MAX_REQUESTED`] characters.
    pub(crate) requested: String,
    /// The id after which the stream continues. `None`: the stream continues with the oldest retained event,
    /// and the id before that event is unknown.
    pub(crate) resumed_after: Option<EventId>,
    /// How many events are missing. `None`: unknown.
    pub(crate) missed: Option<u64>,
}

impl Gap {
    /// Maximum length of `requested`, in characters. No valid id is longer.
    pub(crate) const MAX_REQUESTED: usize = GivenId::MAX_BYTES;

    /// A gap in a stream that continues after `resumed_after`. Truncates `requested`.
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
