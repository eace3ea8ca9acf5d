//! Parses the last event id of a request: where a subscriber wants its stream to start. A client can send any
//! bytes, so the value is truncated to a maximum length and parsed once, in this file.

use std::fmt;

use super::{
    event_id::{EARLIEST, EventId},
    gap::Gap,
    given_id::{GivenId, to_uri},
    since::Since,
};

/// Where a subscriber wants its stream to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResumeFrom {
    /// The stream starts with the next event that is published.
    Now,
    /// The stream starts with the current value of each topic, and continues with the next event.
    Snapshot,
    /// The stream starts with the first event at or after this time.
    Since(Since),
    /// The stream starts with the oldest event that is retained.
    Earliest,
    /// The stream starts after the event to which the log assigned this id. `is_bare`: the client sent the id
    /// without its `#`.
    After { id: EventId, is_bare: bool },
    /// The stream starts after the event for which a publisher chose this id.
    AfterGiven(GivenId),
    /// The client sent a text that is not a valid id, so the stream starts with the oldest retained event,
    /// after a gap. The text is stored in its [URI form](to_uri), truncated to [`Gap::MAX_REQUESTED`]
    /// characters.
    Unknown(String),
}

impl ResumeFrom {
    /// Parses the last event id that a client sent. An empty value means [`ResumeFrom::Now`], because some
    /// clients without an id send an empty one.
    ///
    /// A value that is not UTF-8 is decoded as Latin-1, which some clients use for characters outside ASCII.
    /// Both encodings result in the same [URI form](to_uri).
    pub(crate) fn parse(last_event_id: &[u8]) -> Self {
        // A value longer than this limit is not a valid id. After truncation it is still too long for one, so
        // it becomes `Unknown`.
        let head = &last_event_id[..last_event_id.len().min(4 * Gap::MAX_REQUESTED)];
        let text = match std::str::from_utf8(head) {
            Ok(text) => text.to_owned(),
            Err(_) => head.iter().map(|byte| char::from(*byte)).collect(),
        };
        match &*text {
            "" => return Self::Now,
            EARLIEST => return Self::Earliest,
            _ => {}
        }
        if let Ok(id) = EventId::parse(&text) {
            let is_bare = !text.starts_with('#');
            return Self::After { id, is_bare };
        }
        GivenId::parse(&text).map_or_else(
            |_| Self::Unknown(to_uri(&text).chars().take(Gap::MAX_REQUESTED).collect()),
            Self::AfterGiven,
        )
    }
}

impl From<EventId> for ResumeFrom {
    fn from(id: EventId) -> Self {
        let is_bare = false;
        Self::After { id, is_bare }
    }
}

/// Writes the last event id in its URI form, or the time that the client named, and nothing if it sent
/// neither. An id that the log assigned has
/// its `#` only if the client sent it.
impl fmt::Display for ResumeFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now | Self::Snapshot => Ok(()),
            Self::Since(since) => since.fmt(f),
            Self::Earliest => f.write_str(EARLIEST),
            Self::After { id, is_bare: true } => f.write_str(&id.bare()),
            Self::After { id, is_bare: false } => id.fmt(f),
            Self::AfterGiven(given) => f.write_str(given.as_str()),
            Self::Unknown(requested) => f.write_str(requested),
        }
    }
}

/// Query parameters in which a client can send its last event id.
pub(crate) const PARAMETERS: [&[u8]; 2] = [b"last_event_id", b"lastEventId"];

/// Query parameters in which clients of older Mercure versions send their last event id.
pub(crate) const LEGACY_PARAMETERS: [&[u8]; 2] = [b"lastEventID", b"Last-Event-ID"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: EventId = EventId { epoch: 7, seq: 42 };

    #[test]
    fn earliest_and_an_empty_value_have_special_meanings() {
        assert_eq!(ResumeFrom::parse(b"earliest"), ResumeFrom::Earliest);
        assert_eq!(ResumeFrom::parse(b""), ResumeFrom::Now);
    }

    #[test]
    fn a_value_that_is_not_an_id_is_truncated() {
        let megabyte = vec![b'x'; 1 << 20];

        assert_eq!(
            ResumeFrom::parse(b"a\x01"),
            ResumeFrom::Unknown("a\u{1}".into())
        );
        assert_eq!(
            ResumeFrom::parse(&megabyte),
            ResumeFrom::Unknown("x".repeat(Gap::MAX_REQUESTED))
        );
    }

    #[test]
    fn ids_of_the_hub_are_parsed_with_and_without_the_hash_and_other_ids_are_given_ids() {
        let given = |id| ResumeFrom::AfterGiven(GivenId::parse(id).unwrap());
        let after = |is_bare| ResumeFrom::After { id: ID, is_bare };

        assert_eq!(ResumeFrom::parse(b"#7-42"), after(false));
        assert_eq!(ResumeFrom::parse(b"7-42"), after(true));
        assert_eq!(ResumeFrom::parse(b"urn:x:1"), given("urn:x:1"));
        for text in ["##7-42", "7-042", "7-99999999999999999999"] {
            let unknown = ResumeFrom::Unknown(text.into());
            assert_eq!(ResumeFrom::parse(text.as_bytes()), unknown);
        }
        for text in ["earliest", "#7-42", "7-42", "urn:x:1", "##7-42", ""] {
            assert_eq!(ResumeFrom::parse(text.as_bytes()).to_string(), text);
        }
    }

    #[test]
    fn an_id_outside_ascii_is_found_however_a_client_sends_it_back() {
        let given = ResumeFrom::AfterGiven(GivenId::parse("caf\u{e9}-1").unwrap());

        for sent in ["caf\u{e9}-1".as_bytes(), b"caf\xe9-1", b"caf%C3%A9-1"] {
            assert_eq!(ResumeFrom::parse(sent), given, "{sent:?}");
        }
        assert_eq!(given.to_string(), "caf%C3%A9-1");
        let control = ResumeFrom::parse("\u{200b}".as_bytes());
        assert_eq!(control, ResumeFrom::Unknown("%E2%80%8B".into()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic_and_bounded(bytes: Vec<u8>) {
            let written = ResumeFrom::parse(&bytes).to_string();

            prop_assert!(written.is_ascii() && written.len() <= Gap::MAX_REQUESTED);
        }
    }
}
