//! Where a subscriber wants its stream to start. What a client says here is arbitrary bytes: it is
//! bounded and read once, in this file.

use crate::{
    event::{EARLIEST, EventId, GivenId},
    gap::Gap,
};

/// Where a stream starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResumeFrom {
    /// With the next event.
    Now,
    /// With the oldest event that is retained.
    Earliest,
    /// With the event after this one.
    After(EventId),
    /// After the event to which its publisher gave this id.
    AfterGiven(GivenId),
    /// After something that can be no id. Holds what was asked, at most [`Gap::MAX_REQUESTED`]
    /// characters of it.
    Unknown(String),
}

impl ResumeFrom {
    /// Reads what a client sent as its last event id. Empty is what a client sends that has none.
    pub(crate) fn parse(last_event_id: &[u8]) -> Self {
        if last_event_id.is_empty() {
            return Self::Now;
        }
        let text = match std::str::from_utf8(last_event_id) {
            Ok(EARLIEST) => return Self::Earliest,
            Ok(text) => text,
            Err(_) => return Self::unknown(last_event_id),
        };
        if let Ok(id) = EventId::parse(text.strip_prefix('#').unwrap_or(text)) {
            return Self::After(id);
        }
        GivenId::parse(text).map_or_else(|_| Self::unknown(last_event_id), Self::AfterGiven)
    }

    fn unknown(last_event_id: &[u8]) -> Self {
        // A character is at most four bytes long: no need to decode a megabyte to keep its head.
        let head = &last_event_id[..last_event_id.len().min(Gap::MAX_REQUESTED * 4)];
        let requested = String::from_utf8_lossy(head);
        Self::Unknown(requested.chars().take(Gap::MAX_REQUESTED).collect())
    }
}

/// The names of a query's parameters that hold a last event id.
pub(crate) const PARAMETERS: [&[u8]; 2] = [b"last_event_id", b"lastEventId"];

/// Those of the protocol's older versions.
pub(crate) const LEGACY_PARAMETERS: [&[u8]; 2] = [b"lastEventID", b"Last-Event-ID"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: EventId = EventId { epoch: 7, seq: 42 };

    #[test]
    fn earliest_and_nothing_have_their_own_meaning() {
        assert_eq!(ResumeFrom::parse(b"earliest"), ResumeFrom::Earliest);
        assert_eq!(ResumeFrom::parse(b""), ResumeFrom::Now);
    }

    #[test]
    fn what_is_no_id_is_kept_in_a_bounded_form() {
        let megabyte = vec![b'x'; 1 << 20];

        assert_eq!(
            ResumeFrom::parse(b"\xff-1"),
            ResumeFrom::Unknown("\u{fffd}-1".into())
        );
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
    fn the_hubs_ids_are_read_with_and_without_the_hash_and_others_are_a_publishers() {
        let given = |id| ResumeFrom::AfterGiven(GivenId::parse(id).unwrap());

        assert_eq!(ResumeFrom::parse(b"#7-42"), ResumeFrom::After(ID));
        assert_eq!(ResumeFrom::parse(b"urn:x:1"), given("urn:x:1"));
        assert_eq!(ResumeFrom::parse(b"7-042"), given("7-042"));
        assert_eq!(
            ResumeFrom::parse(b"##7-42"),
            ResumeFrom::Unknown("##7-42".into())
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_bounded(bytes: Vec<u8>) {
            if let ResumeFrom::Unknown(requested) = ResumeFrom::parse(&bytes) {
                prop_assert!(requested.chars().count() <= Gap::MAX_REQUESTED);
            }
        }
    }
}
