//! The ids that publishers choose for their events. None of them can be mistaken for an id that the log
//! assigns.

use std::{borrow::Cow, sync::Arc};

use percent_encoding::{AsciiSet, utf8_percent_encode};
use thiserror::Error;

use super::{event_id::EARLIEST, topic::has_invisible};

/// An id that a publisher chose for its event, in its URI form: characters outside ASCII are percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GivenId(Arc<str>);

/// Why a text is not a valid [`GivenId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidGivenId {
    /// The id is empty. A browser treats an empty id as no id.
    #[error("an id cannot be empty")]
    Empty,
    /// The id begins with `#`, as only the hub's own ids do.
    #[error("an id cannot begin with \"#\", as the hub's own ids do")]
    Fragment,
    /// The id has the form `<number>-<number>`. Clients may send the hub's own ids in this form, without the
    /// `#`.
    #[error("an id cannot be two numbers with a \"-\" between them, as in the hub's own ids")]
    TwoNumbers,
    /// The id is `earliest`. A client that sends this word as its last event id requests every retained
    /// event.
    #[error("the id \"earliest\" is reserved")]
    Earliest,
    /// The id contains a control or format character. A line break would end the `id:` field, and clients
    /// ignore an id that contains NUL. The other characters are refused because nobody can see them.
    #[error("an id cannot contain control or format characters")]
    Invisible,
    /// The id begins or ends with a space. HTTP trims spaces from a `Last-Event-ID` header, so a client that
    /// resumes would send another id.
    #[error("an id cannot begin or end with a space")]
    Space,
    /// The id in its URI form is longer than [`GivenId::MAX_BYTES`].
    #[error("an id is at most {} bytes long", GivenId::MAX_BYTES)]
    TooLong,
}

impl GivenId {
    /// Maximum length of an id, in bytes of its URI form. Longer ids are refused. A client may percent-encode
    /// every byte of the URI form again, which makes at most 765 bytes. The server accepts that, because it
    /// reads at least 1,020 bytes of a last event id.
    pub const MAX_BYTES: usize = 255;

    /// Validates an id and percent-encodes its characters outside ASCII (RFC 3987, section 3.1). Clients send
    /// the id back in a header. Without this encoding, different clients would encode such characters
    /// differently.
    pub fn parse(id: &str) -> Result<Self, InvalidGivenId> {
        if id.is_empty() {
            return Err(InvalidGivenId::Empty);
        }
        if id.starts_with('#') {
            return Err(InvalidGivenId::Fragment);
        }
        if is_two_numbers(id) {
            return Err(InvalidGivenId::TwoNumbers);
        }
        if id == EARLIEST {
            return Err(InvalidGivenId::Earliest);
        }
        // The URI form is never shorter than the id, so refuse an id that is too long without encoding it.
        if id.len() > Self::MAX_BYTES {
            return Err(InvalidGivenId::TooLong);
        }
        let uri = to_uri(id);
        if uri.len() > Self::MAX_BYTES {
            return Err(InvalidGivenId::TooLong);
        }
        if has_invisible(id) {
            return Err(InvalidGivenId::Invisible);
        }
        if id.starts_with(' ') || id.ends_with(' ') {
            return Err(InvalidGivenId::Space);
        }
        Ok(Self(uri.into()))
    }

    /// Creates an id from the log without validation, because it was validated before it was stored.
    pub(crate) fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// The id in its URI form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for GivenId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether an id has the form `<digits>-<digits>`, with at least one digit on each side.
fn is_two_numbers(id: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    id.split_once('-')
        .is_some_and(|(epoch, seq)| is_number(epoch) && is_number(seq))
}

/// Percent-encodes the UTF-8 bytes of each character outside ASCII (RFC 3987, section 3.1). ASCII is
/// unchanged.
pub(crate) fn to_uri(id: &str) -> Cow<'_, str> {
    utf8_percent_encode(id, &AsciiSet::EMPTY).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_uri_form_is_ascii_and_decodes_to_the_id(id in "[^%\\x00-\\x1f\\x7f]{0,40}") {
            let uri = to_uri(&id);

            prop_assert!(uri.is_ascii());
            let decoded = percent_encoding::percent_decode_str(&uri).decode_utf8();
            prop_assert_eq!(decoded.unwrap(), id.as_str());
        }
    }

    #[test]
    fn an_id_in_the_form_of_the_hubs_own_ids_is_refused() {
        for id in ["#", "#7-42", "#x"] {
            assert_eq!(GivenId::parse(id), Err(InvalidGivenId::Fragment), "{id}");
        }
        let long = format!("{}-1", "9".repeat(30));
        for id in ["7-42", "0-0", "007-0", "1-18446744073709551616", &long] {
            assert_eq!(GivenId::parse(id), Err(InvalidGivenId::TwoNumbers), "{id}");
        }
        for id in [
            "7", "7-", "-7", "7-42-1", "+7-42", "7-4a", "7--42", "7 - 42", "%237-42",
        ] {
            assert!(GivenId::parse(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn an_id_outside_ascii_is_percent_encoded_before_its_length_is_checked() {
        let given = |id: &str| GivenId::parse(id).map(|id| id.as_str().to_owned());

        assert_eq!(given("caf\u{e9}-1").unwrap(), "caf%C3%A9-1");
        assert_eq!(given("caf%C3%A9-1").unwrap(), "caf%C3%A9-1");
        assert_eq!(given("\u{65e5}\u{672c}").unwrap(), "%E6%97%A5%E6%9C%AC");
        assert_eq!(given("a b<%>\"").unwrap(), "a b<%>\"");
        assert_eq!(given(&"\u{e9}".repeat(42)).unwrap().len(), 252);
        assert_eq!(given(&"\u{e9}".repeat(43)), Err(InvalidGivenId::TooLong));
    }
}
