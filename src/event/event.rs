//! Events and their names. A field is validated when it is created, so no other code checks it again.

use thiserror::Error;

use super::given_id::GivenId;
use super::topic::{Topic, has_invisible};

/// The name of every presence event.
pub(crate) const OF_HUB: &str = "mercure";

/// The type of an event. A page receives such events with `addEventListener(name, ...)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(String);

/// Why a text is not a valid [`EventName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidEventName {
    /// A line break would end the field, and the rest of the name would be parsed as another field. The
    /// other characters are refused because nobody can see them.
    #[error("an event name cannot hold control or format characters")]
    Invisible,
    /// Only the server sends events with this name, for example `gap`.
    #[error(
        "the event names \"checkpoint\", \"gap\", \"expiring\" and \"mercure\" are reserved for the \
         server"
    )]
    Reserved,
    /// Longer than [`EventName::MAX_BYTES`].
    #[error("an event name is at most {} bytes long", EventName::MAX_BYTES)]
    TooLong,
}

impl EventName {
    /// Maximum length of a name in bytes. A longer one is refused.
    pub const MAX_BYTES: usize = 256;

    /// Names of events that only the server sends.
    const RESERVED: [&str; 4] = ["checkpoint", "gap", "expiring", OF_HUB];

    /// Validates a name. An empty name is allowed; a browser treats it as no name.
    pub fn parse(name: impl Into<String>) -> Result<Self, InvalidEventName> {
        let name = name.into();
        if name.len() > Self::MAX_BYTES {
            return Err(InvalidEventName::TooLong);
        }
        if has_invisible(&name) {
            return Err(InvalidEventName::Invisible);
        }
        // Trimmed, because some clients trim the names that they receive.
        if Self::RESERVED.contains(&name.trim()) {
            return Err(InvalidEventName::Reserved);
        }
        Ok(Self(name))
    }

    /// The name of every presence event.
    fn of_hub() -> Self {
        Self(OF_HUB.to_owned())
    }

    /// A name that was validated before it was stored.
    pub(crate) fn stored(name: String) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which subscribers receive an event: those with a matcher for one of its topics. If the event is private,
/// they must also be authorized to read one of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience {
    /// Never empty.
    pub(crate) topics: Vec<Topic>,
    pub(crate) private: bool,
}

/// An event without its [`EventId`](super::event_id::EventId), which the log assigns when it appends the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Topics and privacy. `None`: public, on the hub's own topic, as the numbered messages are.
    pub(crate) audience: Option<Audience>,
    /// `None`: subscribers receive the [`EventId`].
    given_id: Option<GivenId>,
    name: Option<EventName>,
    data: String,
    /// Reconnect delay for clients, in milliseconds. `None`: they keep the one that they have.
    retry: Option<u64>,
    /// The number of a numbered message, from 0. `None`: any other event.
    tick: Option<u64>,
}

impl Event {
    /// An event without a name, which a page receives in `onmessage`. `data` can be any text. The page
    /// receives each CR, LF and CRLF in it as one `\n`. Without [topics](Self::on), the event is on the
    /// hub's own topic, as the numbered messages are.
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

    /// The numbered message with this number, from 0.
    pub(crate) fn tick(number: u64, message: String) -> Self {
        Self {
            tick: Some(number),
            ..Self::message(message)
        }
    }

    /// The number of a numbered message, from 0. `None`: any other event.
    pub(crate) fn tick_number(&self) -> Option<u64> {
        self.tick
    }

    /// Whether this is a presence event. The name is proof, because it is reserved for the server.
    pub(crate) fn is_presence(&self) -> bool {
        self.name
            .as_ref()
            .is_some_and(|name| name.as_str() == OF_HUB)
    }

    /// Approximate memory of the topics, the given id and the name, in bytes.
    pub(crate) fn bytes_beside_data(&self) -> usize {
        /// Overhead of one `Arc<str>`: the reference, and the counters before the text.
        const COUNTED: usize = 48;
        let topics = self.topics().iter();
        let topics: usize = topics.map(|topic| COUNTED + topic.as_str().len()).sum();
        // The log also keeps the id in an index that finds events by given id.
        let given = self.given_id.as_ref();
        let given = given.map_or(0, |given| 4 * COUNTED + given.as_str().len());
        let name = self.name.as_ref().map_or(0, |name| name.as_str().len());
        topics + given + name
    }

    /// Approximate memory of the event, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.bytes_beside_data()
    }

    /// A presence event with this data.
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

    /// Adds a topic. Subscribers to any topic of the event receive it.
    #[must_use]
    pub fn on(mut self, topic: Topic) -> Self {
        let audience = self.audience.get_or_insert(Audience {
            topics: Vec::new(),
            private: false,
        });
        audience.topics.push(topic);
        self
    }

    /// Sets an id that the publisher chose. Subscribers can resume from it. If an older event has the same
    /// id, the id names the older event while that event is retained.
    #[must_use]
    pub fn with_id(self, id: GivenId) -> Self {
        Self {
            given_id: Some(id),
            ..self
        }
    }

    /// Makes clients that receive the event wait this many milliseconds whenever they reconnect.
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

    /// Reconnect delay for clients, in milliseconds. `None`: they keep the one that they have.
    pub(crate) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The topics. Empty if the event is on the hub's own topic.
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
    fn a_name_cannot_end_its_line_or_pose_as_the_server() {
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
