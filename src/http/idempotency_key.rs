//! Reads the header `Idempotency-Key` of a publish request (an IETF draft).

use actix_web::http::header::{HeaderMap, HeaderName};

use super::{problem::Problem, update};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The idempotency key of a request: from its header, or `of_update`, the one in its body. If both have one,
/// they must be equal. The value of the header may be quoted, as the IETF draft says, or not, as most clients
/// send it.
pub(super) fn key_of(
    headers: &HeaderMap,
    of_update: Option<String>,
) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(of_update);
    };
    if values.next().is_some() {
        return Err(Problem::InvalidKey);
    }
    let value = value.to_str().map_err(|_| Problem::InvalidKey)?;
    let key = unquoted(value).ok_or(Problem::InvalidKey)?;
    let key = update::parse_key(&key).map_err(|_| Problem::InvalidKey)?;
    if of_update.is_some_and(|of_update| of_update != key) {
        return Err(Problem::InvalidKey);
    }
    Ok(Some(key))
}

/// The content of a quoted text (a String of RFC 9651), or the whole text if it is not quoted. `None` if the
/// quotation is malformed.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(text.to_owned());
    };
    let mut content = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(content),
            '\\' => content.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => content.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_quoted() {
        for (text, key) in [
            ("abc", Some("abc")),
            ("\"abc\"", Some("abc")),
            (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
            ("a\"b", Some("a\"b")),
            ("\"\"", Some("")),
            ("\"abc", None),
            ("\"abc\"d", None),
            (r#""a\n""#, None),
        ] {
            assert_eq!(unquoted(text).as_deref(), key, "{text}");
        }
    }
}
