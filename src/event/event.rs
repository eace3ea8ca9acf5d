//! Events and their ids. Each field is checked where it is made, so that nothing past this file
//! checks it again.

use thiserror::Error;

use super::given_id::GivenId;
use super::topic::{Topic, has_invisible};

/// The name of what the hub says of its subscriptions.
pub(crate) const OF_HUB: &str = "mercure";

/// An event's type, which a page listens to with `addEventListener(name, ...)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(String);

/// The text cannot be an [`EventName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidEventName {
    /// A line break would end the field, and what follows would be read as another; the rest is
    /// invisible.
    #[error("an event name cannot hold control or format characters")]
    Invisible,
    /// The name of an event that only the server sends, such as a gap.
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
    /// The longest name accepted, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// The names of the server's own events.
    const RESERVED: [&str; 4] = ["checkpoint", "gap", "expiring", OF_HUB];

    /// Checks a name. An empty one is allowed, and is the same as none to a browser.
    pub fn parse(name: impl Into<String>) -> Result<Self, InvalidEventName> {
        let name = name.into();
        if name.len() > Self::MAX_BYTES {
            return Err(InvalidEventName::TooLong);
        }
        if has_invisible(&name) {
            return Err(InvalidEventName::Invisible);
        }
        // Some clients trim it.
        if Self::RESERVED.contains(&name.trim()) {
            return Err(InvalidEventName::Reserved);
        }
        Ok(Self(name))
    }

    /// The name of what the hub says of its subscriptions.
    fn of_hub() -> Self {
        Self(OF_HUB.to_owned())
    }

    /// A name that was checked before.
    pub(crate) fn stored(name: String) -> Self {
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom an event is for: those who asked for one of its topics and, if it is private, may read one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audience {
    /// At least one.
    pub(crate) topics: Vec<Topic>,
    pub(crate) private: bool,
}

/// What is published: the log gives it an [`EventId`] when it takes it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `None`: that of the hub's numbered messages.
    pub(crate) audience: Option<Audience>,
    /// `None`: subscribers get the hub's own id.
    given_id: Option<GivenId>,
    name: Option<EventName>,
    data: String,
    /// In milliseconds.
    retry: Option<u64>,
    /// Present on the ticker's messages: which number this is, from 0.
    tick: Option<u64>,
}

impl Event {
    /// An event without a name: a page's `onmessage` gets it. `data` may hold any text; CR, LF and
    /// CRLF each reach the page as one `\n`. Unless [topics](Self::on) are named, it is on the hub's
    /// own topic, that of the numbered messages.
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

    /// The ticker's message of this number, from 0.
    pub(crate) fn tick(number: u64, message: String) -> Self {
        Self {
            tick: Some(number),
            ..Self::message(message)
        }
    }

    /// The number of the ticker's message; `None`: the event is none.
    pub(crate) fn tick_number(&self) -> Option<u64> {
        self.tick
    }

    /// Whether it tells of a subscription. Publishers cannot use its name.
    pub(crate) fn is_presence(&self) -> bool {
        self.name
            .as_ref()
            .is_some_and(|name| name.as_str() == OF_HUB)
    }

    /// How much memory its topics, its id and its name take, in bytes, about.
    pub(crate) fn bytes_beside_data(&self) -> usize {
        /// A counted reference: where it is held, and the counts before the text.
        const COUNTED: usize = 48;
        let topics = self.topics().iter();
        let topics: usize = topics.map(|topic| COUNTED + topic.as_str().len()).sum();
        // An index finds events by the ids that they were given.
        let given = self.given_id.as_ref();
        let given = given.map_or(0, |given| 4 * COUNTED + given.as_str().len());
        let name = self.name.as_ref().map_or(0, |name| name.as_str().len());
        topics + given + name
    }

    /// How much memory it takes, in bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.bytes_beside_data()
    }

    /// What the hub says of its subscriptions.
    pub(crate) fn of_hub(data: String) -> Self {
        Self::message(data).named(EventName::of_hub())
    }

    /// The same event under a name.
    #[must_use]
    pub fn named(self, name: EventName) -> Self {
        Self {
            name: Some(name),
            ..self
        }
    }

    /// The same event on a topic, for those who asked for it. Said again, it is on both.
    #[must_use]
    pub fn on(mut self, topic: Topic) -> Self {
        let audience = self.audience.get_or_insert(Audience {
            topics: Vec::new(),
            private: false,
        });
        audience.topics.push(topic);
        self
    }

    /// The same event under an id of the publisher's own, which subscribers can resume from. One
    /// that was used before means the older event for as long as that is retained.
    #[must_use]
    pub fn with_id(self, id: GivenId) -> Self {
        Self {
            given_id: Some(id),
            ..self
        }
    }

    /// The same event, which tells clients to wait so many milliseconds before they reconnect.
    #[must_use]
    pub fn with_retry(self, ms: u64) -> Self {
        Self {
            retry: Some(ms),
            ..self
        }
    }

    /// The event's name, if it has one.
    pub fn name(&self) -> Option<&EventName> {
        self.name.as_ref()
    }

    /// The event's text.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// How long clients are told to wait before they reconnect, in milliseconds.
    pub(crate) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The topics that it names.
    pub(crate) fn topics(&self) -> &[Topic] {
        let audience = self.audience.as_ref();
        audience.map_or(&[], |audience| &audience.topics)
    }

    /// The id that it was given, if it was.
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
