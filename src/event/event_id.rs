//! The ids that the hub gives events.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The id that the hub gives an event: `#<epoch>-<seq>`, e.g. `#1763856000000-42`.
///
/// Short ASCII and comparable; it tells a restart (another epoch) from a hole (a jump in the
/// sequence). The `#` tells it from every id that a publisher can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// When the log was born, in milliseconds since 1970. Where a part of it may have been lost, in
    /// Redis or by a crash before a file was synced, a later epoch begins: then it is when that began.
    pub epoch: u64,
    /// The event's number in its log, from 1 and without holes; 0 stands before the first event. In
    /// Redis each epoch counts from 1; in a file, a later epoch continues the count.
    pub seq: u64,
}

/// The word that a client says instead of an id to ask for everything that is retained.
pub(crate) const EARLIEST: &str = "earliest";

/// The text is not an [`EventId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an event id: expected #<epoch>-<seq>, with two decimal numbers")]
pub struct InvalidEventId;

impl EventId {
    /// Reads the form that [`Display`](fmt::Display) writes, with or without the `#`. No sign, space
    /// or leading zero is accepted.
    pub fn parse(text: &str) -> Result<Self, InvalidEventId> {
        let bare = text.strip_prefix('#').unwrap_or(text);
        let (epoch, seq) = bare.split_once('-').ok_or(InvalidEventId)?;
        Ok(Self {
            epoch: canonical_number(epoch)?,
            seq: canonical_number(seq)?,
        })
    }

    /// The id without the `#`, as Redis writes the ids of a stream.
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
        fn every_id_reads_back_as_itself(epoch: u64, seq: u64) {
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
