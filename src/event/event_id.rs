//! The id that the log assigns to each event, and its text form.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The id that the log assigns to an event: `#<epoch>-<seq>`, for example `#1763856000000-42`.
///
/// Ids are short, ASCII, and ordered by epoch, then by `seq`. If the epoch changes, the log may have lost
/// events. If `seq` jumps within an epoch, the client did not receive the events in between, for example
/// because they have other topics. The `#` distinguishes these ids from those that publishers choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// The epoch of the event: a period in which the log loses no event. The number is about the time at
    /// which the epoch began, in milliseconds since 1970. A log in memory begins a new epoch at each start. A
    /// log in a file or in Redis begins one when it is created, and whenever it may have lost events that
    /// publishers were told are stored.
    pub epoch: u64,
    /// The number of the event. Numbers start at 1 and increase by one; 0 is the position before the first
    /// event. In memory and in Redis, each epoch starts again at 1. In a file, a new epoch continues the
    /// numbers.
    pub seq: u64,
}

/// The word that a client sends as its last event id to request every retained event.
pub(crate) const EARLIEST: &str = "earliest";

/// Error: the text is not a valid [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an event id: expected #<epoch>-<seq>, with two decimal numbers")]
pub struct InvalidEventId;

impl EventId {
    /// Parses the form that [`Display`](fmt::Display) writes, with or without the `#`. Signs, spaces and
    /// leading zeros are refused, so each id has exactly these two spellings.
    pub fn parse(text: &str) -> Result<Self, InvalidEventId> {
        let bare = text.strip_prefix('#').unwrap_or(text);
        let (epoch, seq) = bare.split_once('-').ok_or(InvalidEventId)?;
        Ok(Self {
            epoch: canonical_number(epoch)?,
            seq: canonical_number(seq)?,
        })
    }

    /// The id without the `#`: the form of the ids in a Redis stream.
    pub(crate) fn bare(self) -> String {
        format!("{}-{}", self.epoch, self.seq)
    }
}

fn canonical_number(digits: &str) -> Result<u64, InvalidEventId> {
    let canonical = match digits.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return Err(InvalidEventId);
    }
    digits.parse().map_err(|_| InvalidEventId)
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}-{}", self.epoch, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_is_parsed_from_both_of_its_forms(epoch: u64, seq: u64) {
            let id = EventId { epoch, seq };

            prop_assert_eq!(EventId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(EventId::parse(&id.bare()), Ok(id));
        }

        #[test]
        fn an_id_has_one_spelling_with_and_one_without_the_hash(text in "#?[0-9#+ -]{0,24}") {
            if let Ok(id) = EventId::parse(&text) {
                prop_assert!(text == id.to_string() || text == id.bare());
            }
        }
    }

    #[test]
    fn other_spellings_of_an_id_are_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "01-1",
            "1-01",
            "+1-1",
            "1-+1",
            " 1-1",
            "1-1 ",
            "1-1-1",
            "##1-1",
            "a-1",
            "1-\u{661}",
            "18446744073709551616-0",
            "0-18446744073709551616",
        ] {
            assert_eq!(EventId::parse(text), Err(InvalidEventId), "{text:?}");
        }
    }

    #[test]
    fn ids_are_ordered_by_epoch_then_number() {
        let id = |epoch, seq| EventId { epoch, seq };

        assert!(id(1, 9) < id(2, 0));
        assert!(id(2, 0) < id(2, 1));
    }
}
