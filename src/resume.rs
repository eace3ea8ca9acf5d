//! Where a subscriber wants its stream to start. What a client says here is arbitrary bytes: it is
//! bounded and read once, in this file.

use crate::{event::EventId, gap::Gap};

/// The word that asks for everything that is retained.
pub(crate) const EARLIEST: &str = "earliest";

/// Where a stream starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ResumeFrom {
    /// With the next event.
    Now,
    /// With the oldest event that is retained.
    Earliest,
    /// With the event after this one.
    After(EventId),
    /// After something that is no id. Holds what was asked, at most [`Gap::MAX_REQUESTED`]
    /// characters of it.
    Unknown(String),
}

impl ResumeFrom {
    /// Reads what a client sent as its last event id. Empty is what a client sends that has none.
    pub(crate) fn parse(last_event_id: &[u8]) -> Self {
        if last_event_id.is_empty() {
            return Self::Now;
        }
        match std::str::from_utf8(last_event_id) {
            Ok(EARLIEST) => Self::Earliest,
            Ok(text) => match EventId::parse(text) {
                Ok(id) => Self::After(id),
                Err(_) => Self::unknown(last_event_id),
            },
            Err(_) => Self::unknown(last_event_id),
        }
    }

    fn unknown(last_event_id: &[u8]) -> Self {
        // A character is at most four bytes long: no need to decode a megabyte to keep its head.
        let head = &last_event_id[..last_event_id.len().min(Gap::MAX_REQUESTED * 4)];
        let requested = String::from_utf8_lossy(head);
        Self::Unknown(requested.chars().take(Gap::MAX_REQUESTED).collect())
    }
}

/// Reads the header, or else the query parameter `last_event_id` or `lastEventId`, for clients
/// that cannot set headers. The header wins: a browser that reconnects sends the newest id there
/// and the page's first one in the address.
pub(crate) fn resume_from(header: Option<&[u8]>, query: &str) -> ResumeFrom {
    if let Some(header) = header {
        return ResumeFrom::parse(header);
    }
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "last_event_id" || key == "lastEventId")
        .map_or(ResumeFrom::Now, |(_, value)| {
            ResumeFrom::parse(value.as_bytes())
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: EventId = EventId { epoch: 7, seq: 42 };

    #[test]
    fn the_header_wins_over_the_query() {
        assert_eq!(
            resume_from(Some(b"7-42"), "last_event_id=7-1"),
            ResumeFrom::After(ID)
        );
    }

    #[test]
    fn both_spellings_of_the_query_parameter_are_read() {
        assert_eq!(
            resume_from(None, "a=b&last_event_id=7-42"),
            ResumeFrom::After(ID)
        );
        assert_eq!(resume_from(None, "lastEventId=7-42"), ResumeFrom::After(ID));
        assert_eq!(
            resume_from(None, "lastEventId=%37-42"),
            ResumeFrom::After(ID)
        );
        assert_eq!(resume_from(None, "last=7-42"), ResumeFrom::Now);
    }

    #[test]
    fn earliest_and_nothing_have_their_own_meaning() {
        assert_eq!(resume_from(Some(b"earliest"), ""), ResumeFrom::Earliest);
        assert_eq!(
            resume_from(None, "last_event_id=earliest"),
            ResumeFrom::Earliest
        );
        assert_eq!(
            resume_from(Some(b""), "last_event_id=7-42"),
            ResumeFrom::Now
        );
        assert_eq!(resume_from(None, ""), ResumeFrom::Now);
    }

    #[test]
    fn what_is_no_id_is_kept_in_a_bounded_form() {
        let megabyte = vec![b'x'; 1 << 20];

        assert_eq!(
            resume_from(Some(b"\xff-1"), ""),
            ResumeFrom::Unknown("\u{fffd}-1".into())
        );
        assert_eq!(
            resume_from(Some(&megabyte), ""),
            ResumeFrom::Unknown("x".repeat(Gap::MAX_REQUESTED))
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
