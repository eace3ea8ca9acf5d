//! Topics, which events have and subscribers ask for. They are validated when they are created, by the rules
//! of the Mercure protocol (chapter Terminology).

use std::{fmt, sync::Arc};

use icu_properties::{CodePointMapData, props::GeneralCategory};
use thiserror::Error;

/// The subject of an event, usually a URL. It can be any text of 1 to [`Topic::MAX_BYTES`] bytes except `*`,
/// without control and format characters. Two topics are equal only if all their bytes are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is not a valid [`Topic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidTopic {
    /// The topic is empty. It is unclear whether an empty topic would match everything or nothing.
    #[error("a topic cannot be empty")]
    Empty,
    /// The topic is `*`. In a request, `*` means every topic.
    #[error("\"*\" means every topic, so it cannot be a topic")]
    Wildcard,
    /// The topic contains a control or format character. Such characters are invisible, so two different
    /// topics could look the same.
    #[error("a topic cannot contain control or format characters")]
    Invisible,
    /// The topic is longer than [`Topic::MAX_BYTES`].
    #[error("a topic is at most {} bytes long", Topic::MAX_BYTES)]
    TooLong,
}

impl Topic {
    /// Maximum length of a topic in bytes. Longer topics are refused.
    pub const MAX_BYTES: usize = 4096;

    /// Validates a topic.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, InvalidTopic> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(InvalidTopic::Empty);
        }
        if text == "*" {
            return Err(InvalidTopic::Wildcard);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidTopic::TooLong);
        }
        if has_invisible(text) {
            return Err(InvalidTopic::Invisible);
        }
        Ok(Self(text.into()))
    }

    /// Creates a topic without validation, from a text of the hub itself or from one that was validated
    /// before it was stored. A text of the hub may exceed the maximum length.
    pub(crate) fn of_hub(text: &str) -> Self {
        Self(text.into())
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Whether a text contains characters that topics, ids, names and matchers must not contain: control
/// characters (C0, DEL, C1) or format characters (general category `Cf`), such as zero-width and
/// bidirectional ones.
pub(crate) fn has_invisible(text: &str) -> bool {
    let categories = CodePointMapData::<GeneralCategory>::new();
    let is_format = |c: char| !c.is_ascii() && categories.get(c) == GeneralCategory::Format;
    text.chars().any(|c| c.is_control() || is_format(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_any_visible_text() {
        for text in [
            "https://example.com/books/1",
            "a b",
            "caf\u{e9}",
            "\u{1f980}",
            "**",
            "#",
        ] {
            assert_eq!(Topic::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn texts_that_are_invisible_reserved_or_too_long_are_refused() {
        for text in [
            "a\nb",
            "a\0",
            "\u{7f}",
            "\u{85}",
            "a\u{ad}b",
            "a\u{200b}b",
            "\u{202e}",
            "\u{feff}",
            "\u{e0001}",
        ] {
            assert_eq!(Topic::parse(text), Err(InvalidTopic::Invisible), "{text:?}");
        }
        assert_eq!(Topic::parse("*"), Err(InvalidTopic::Wildcard));
        assert_eq!(Topic::parse(""), Err(InvalidTopic::Empty));
        let long = "x".repeat(Topic::MAX_BYTES + 1);
        assert_eq!(Topic::parse(long), Err(InvalidTopic::TooLong));
    }
}
