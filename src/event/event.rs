//! Events and their names. Names, ids and topics are validated when they are created, so no other code checks
//! them again.

use thiserror::Error;

use super::given_id::GivenId;
use super::topic::{Topic, has_invisible};

/// The name of presence events, which report that a subscription has started or ended. The hub publishes them
/// only if `hub.subscriptions` is on.
pub(crate) const OF_HUB: &str = "mercure";

/// The name of an event, sent in the `event:` field. A page receives events with this name through
/// `addEventListener(name, ...)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(String);

/// Why a text is not a valid [`EventName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidEventName {
    /// The name contains a control or format character. A line break would end the `event:` field, and the
    /// rest of the name would be parsed as another field. The other characters are refused because nobody can
    /// see them.
    #[error("an event name cannot contain control or format characters")]
    Invisible,
    /// The name, without surrounding spaces, is one that only the server uses, for example `gap`.
    #[error(
        "the event names \"checkpoint\", \"gap\", \"expiring\" and \"mercure\" are reserved for the \
         server"
    )]
    Reserved,
    /// The name is longer than [`EventName::MAX_BYTES`].
    #[error("an event name is at most {} bytes long", EventName::MAX_BYTES)]
    TooLong,
}

impl EventName {
    /// Maximum length of an event name in bytes. Longer names are refused.
    pub const MAX_BYTES: usize = 256;

    /// The names that publishers cannot use, because only the server sends events with these names.
    const RESERVED: [&str; 4] = ["checkpoint", "gap", "expiring", OF_HUB];

    /// Validates an event name. An empty name is allowed: a browser treats the event as one without a name.
    pub fn parse(name: impl Into<String>) -> Result<Self, InvalidEventName> {
        let name = name.into();
        if name.len() > Self::MAX_BYTES {
            return Err(InvalidEventName::TooLong);
        }
        if has_invisible(&name) {
            return Err(InvalidEventName::Invisible);
        }
        // Compare without surrounding spaces: a client that trims names would take `" gap"` for the server's
        // `gap`.
        if Self::RESERVED.contains(&name.trim()) {
            return Err(InvalidEventName::Reserved);
        }
        Ok(Self(name))
    }

    /// Creates the name of presence events, which [`Self::parse`] refuses.
    fn of_hub() -> Self {
        Self(OF_HUB.to_owned())
    }

    /// Creates a name from the log without validation, because it was validated before it was stored.
    pub(crate) fn stored(name: String) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which subscribers receive an event: those with a topic matcher that matches one of its topics. If the
/// event is private, they must also be authorized to read one of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience {
    /// The topics of the event. Never empty.
    pub(crate) topics: Vec<Topic>,
    pub(crate) private: bool,
}

/// An event without its [`EventId`](super::event_id::EventId): the log assigns the id when it appends the
/// event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The topics, and whether the event is private. `None`: a public event on the hub's default topic, for
    /// example a message of the ticker.
    pub(crate) audience: Option<Audience>,
    /// The id that the publisher chose. `None`: subscribers receive the [`EventId`] instead.
    given_id: Option<GivenId>,
    name: Option<EventName>,
    data: String,
    /// Reconnect delay for clients, in milliseconds. `None`: clients keep their current delay.
    retry: Option<u64>,
    /// The number of the message, counted from 0, if the ticker of this process created the event. `None` for
    /// all other events, for those read from a log, and for messages that Redis appends itself.
    tick: Option<u64>,
}

impl Event {
    /// Creates a public event without a name. A page receives it in `onmessage`. `data` can be any text, but
    /// the page receives each CR, LF and CRLF as one `\n`. Unless a topic is added with [`on`](Self::on), the
    /// event is on the hub's default topic.
    pub fn message(data: impl Into<String>) -> Self {
        Self {
            audience: None,
            given_id: None,
            name: None,
            data: data.into(),
            retry: None,
            tick: None,
        }
    }

    /// Creates a message of the ticker. Its number is counted from 0.
    pub(crate) fn tick(number: u64, message: String) -> Self {
        Self {
            tick: Some(number),
            ..Self::message(message)
        }
    }

    /// The number of the message, counted from 0, if the ticker of this process created the event. `None` for
    /// all other events, for those read from a log, and for messages that Redis appends itself.
    pub(crate) fn tick_number(&self) -> Option<u64> {
        self.tick
    }

    /// Whether this is a presence event, which reports that a subscription has started or ended. The name
    /// proves it, because publishers cannot use this name.
    pub(crate) fn is_presence(&self) -> bool {
        self.name
            .as_ref()
            .is_some_and(|name| name.as_str() == OF_HUB)
    }

    /// Approximate memory of the topics, the name and the id that the publisher chose, in bytes.
    pub(crate) fn bytes_beside_data(&self) -> usize {
        /// Approximate memory of an `Arc<str>` in addition to its text: the pointer and the reference counts.
        const ARC_BYTES: usize = 48;
        let topics = self.topics().iter();
        let topics: usize = topics.map(|topic| ARC_BYTES + topic.as_str().len()).sum();
        // Six times `ARC_BYTES`, because the log also stores this id in two indexes.
        let given = self.given_id.as_ref();
        let given = given.map_or(0, |given| 6 * ARC_BYTES + given.as_str().len());
        let name = self.name.as_ref().map_or(0, |name| name.as_str().len());
        topics + given + name
    }

    /// Approximate memory of the event, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.bytes_beside_data()
    }

    /// Creates a presence event, which reports that a subscription has started or ended, with this data.
    pub(crate) fn of_hub(data: String) -> Self {
        Self::message(data).named(EventName::of_hub())
    }

    /// Sets the name.
    #[must_use]
    pub fn named(self, name: EventName) -> Self {
        Self {
            name: Some(name),
            ..self
        }
    }

    /// Adds a topic. A subscriber receives the event if it subscribes to at least one of the event's topics.
    /// An event with a topic is not on the hub's default topic unless that is added too.
    #[must_use]
    pub fn on(mut self, topic: Topic) -> Self {
        let audience = self.audience.get_or_insert(Audience {
            topics: Vec::new(),
            private: false,
        });
        audience.topics.push(topic);
        self
    }

    /// Sets an id that the publisher chose. Subscribers can resume after this id. If a retained older event
    /// has the same id, they resume after the older event.
    #[must_use]
    pub fn with_id(self, id: GivenId) -> Self {
        Self {
            given_id: Some(id),
            ..self
        }
    }

    /// Sets the reconnect delay of all clients that receive the event, in milliseconds.
    #[must_use]
    pub fn with_retry(self, ms: u64) -> Self {
        Self {
            retry: Some(ms),
            ..self
        }
    }

    /// The name, if the event has one.
    pub fn name(&self) -> Option<&EventName> {
        self.name.as_ref()
    }

    /// The data, with line breaks as they were published.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Reconnect delay for clients, in milliseconds. `None`: clients keep their current delay.
    pub(crate) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The topics. Empty if the event is on the hub's default topic because no topic was added.
    pub(crate) fn topics(&self) -> &[Topic] {
        let audience = self.audience.as_ref();
        audience.map_or(&[], |audience| &audience.topics)
    }

    /// The id that the publisher chose, if any.
    pub(crate) fn given_id(&self) -> Option<&GivenId> {
        self.given_id.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_line_breaks_and_reserved_names_are_refused() {
        assert_eq!(EventName::parse("a\nb"), Err(InvalidEventName::Invisible));
        assert_eq!(EventName::parse("a\rb"), Err(InvalidEventName::Invisible));
        for name in EventName::RESERVED {
            for name in [name.to_owned(), format!("{name} "), format!(" {name}")] {
                assert_eq!(EventName::parse(name), Err(InvalidEventName::Reserved));
            }
        }
        assert_eq!(
            EventName::parse("x".repeat(EventName::MAX_BYTES + 1)),
            Err(InvalidEventName::TooLong)
        );
        assert!(EventName::parse("price").is_ok());
    }
}
