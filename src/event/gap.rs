//! The gap event: it tells a subscriber why events are missing from its stream, and where the stream
//! continues. It is part of the stream, because a browser's `EventSource` shows a page neither status nor
//! headers.

use serde::Serialize;

use super::{event_id::EventId, given_id::GivenId};

/// The name of the event that reports a [`Gap`] to a client.
pub(crate) const EVENT_NAME: &str = "gap";

/// Why events are missing from a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapReason {
    /// The events are no longer in the log. Usually they were evicted; in Redis, another program may also
    /// have deleted them.
    Evicted,
    /// The last event id of the client has another epoch (first number) than the events that follow, so
    /// events may have been lost. The id is from before a restart of a log in memory, from before a loss of
    /// events, or from another server.
    Epoch,
    /// The log knows no event with the requested id. The event does not exist yet, no retained event has this
    /// id that a publisher chose, or the text is not an id.
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

/// Reports that events are missing from a stream, and where the stream continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    /// Why the events are missing.
    pub(crate) reason: GapReason,
    /// The last event id that the client sent. For a gap within a stream: the id of the last event before the
    /// gap, or `earliest` if that id is unknown. Characters outside ASCII are
    /// [percent-encoded](crate::event::given_id::to_uri). Truncated to [`Gap::MAX_REQUESTED`] characters.
    pub(crate) requested: String,
    /// The id after which the stream continues. `None`: a snapshot follows, or this id is unknown, and the
    /// stream continues with the oldest retained event.
    pub(crate) resumed_after: Option<EventId>,
    /// How many of the missing events this subscriber would have received. `None`: unknown.
    pub(crate) missed: Option<u64>,
}

impl Gap {
    /// Maximum length of `requested`, in characters. No valid id is longer.
    pub(crate) const MAX_REQUESTED: usize = GivenId::MAX_BYTES;

    /// Creates a gap for a stream that continues after `resumed_after`. Truncates `requested` to
    /// [`Self::MAX_REQUESTED`] characters.
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
