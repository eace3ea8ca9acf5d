//! The vocabulary of all other modules: events with their ids, names, topics and audience, the gap that
//! reports missing events, where a client resumes, and the bytes of a `text/event-stream`. Names, ids and
//! topics are validated when they are created. This module imports nothing else from this crate.

mod content_hash;
#[allow(
    clippy::module_inception,
    reason = "`event.rs` defines `Event`, the other files its parts"
)]
mod event;
mod event_id;
mod frame;
mod gap;
mod given_id;
mod presence_change;
mod resume;
mod since;
mod topic;
pub(crate) mod urn;
pub(crate) mod wire;

#[cfg(test)]
pub(crate) use self::given_id::to_uri;
pub(crate) use self::{
    content_hash::{Hash128, KeyedUpdate, content_hash, publisher_hash},
    event::{Audience, OF_HUB},
    event_id::EARLIEST,
    frame::{Batch, Frame, Framing},
    gap::{Gap, GapReason},
    presence_change::PresenceChange,
    resume::{LEGACY_PARAMETERS, PARAMETERS, ResumeFrom},
    since::Since,
    topic::has_invisible,
    wire::LAST_CHUNK,
};
pub use self::{
    event::{Event, EventName, InvalidEventName},
    event_id::{EventId, InvalidEventId},
    given_id::{GivenId, InvalidGivenId},
    topic::{InvalidTopic, Topic},
};
