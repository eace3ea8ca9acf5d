//! Parses `application/x-www-form-urlencoded` (WHATWG URL, section 5.1), as used in queries and bodies.
//!
//! [`text()`] refuses a name or value that is not UTF-8. The standard would replace the invalid bytes
//! instead.

use percent_encoding::percent_decode;
use thiserror::Error;

/// The error for a name or a value that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a name or a value is not UTF-8")]
pub(crate) struct NotUtf8;

/// The decoded names and values of a form, in order. Empty fields, as in `a=1&&b=2`, are skipped.
pub(crate) fn pairs(form: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let fields = form.split(|byte| *byte == b'&');
    fields.filter(|field| !field.is_empty()).map(|field| {
        let at = field.iter().position(|byte| *byte == b'=');
        let (name, value) = match at {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &[][..]),
        };
        (decode(name), decode(value))
    })
}

/// Decodes a name or a value: `+` is a space, and `%XX` a byte. Any other `%` stays.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).collect()
}

/// Converts a decoded name or value to text. Fails if it is not UTF-8.
pub(crate) fn text(decoded: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(decoded).map_err(|_| NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(form: &str) -> Result<Vec<(String, String)>, NotUtf8> {
        read(form.as_bytes())
    }

    fn read(form: &[u8]) -> Result<Vec<(String, String)>, NotUtf8> {
        pairs(form)
            .map(|(name, value)| Ok((text(name)?, text(value)?)))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        assert_eq!(
            all("a=1&a=2&&b=x+y%20z&c&=d&e==f&%67=%2B%"),
            Ok(owned(&[
                ("a", "1"),
                ("a", "2"),
                ("b", "x y z"),
                ("c", ""),
                ("", "d"),
                ("e", "=f"),
                ("g", "+%"),
            ]))
        );
        assert_eq!(all(""), Ok(Vec::new()));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        for form in ["a=%ff", "%c3=a", "a=%ed%a0%80", "a=\u{fffd}%80"] {
            assert_eq!(all(form), Err(NotUtf8), "{form}");
        }
        assert_eq!(all("a=%EF%BF%BD"), Ok(owned(&[("a", "\u{fffd}")])));
    }

    proptest! {
        #[test]
        fn what_a_library_writes_reads_back(
            written in prop::collection::vec(("\\PC{0,8}", "\\PC{0,20}"), 0..8),
        ) {
            let text = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&written)
                .finish();

            prop_assert_eq!(all(&text), Ok(written));
        }

        #[test]
        fn any_bytes_are_read_as_a_library_reads_them_or_refused(form: Vec<u8>) {
            if let Ok(read) = read(&form) {
                let expected: Vec<_> = form_urlencoded::parse(&form).into_owned().collect();
                prop_assert_eq!(read, expected);
            }
        }
    }
}
