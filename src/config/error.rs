//! Describes why a config is refused, in one line: the source, the key, the value found and the allowed
//! values. Keys and values are quoted only up to `MAX_QUOTED_CHARS`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::Value;

/// Maximum number of characters that an error message quotes of a key or value, counted after control
/// characters are escaped. `…` replaces the characters beyond it.
const MAX_QUOTED_CHARS: usize = 80;

/// Why a config is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The config file cannot be read.
    #[error("{}: cannot read the config file: {reason}", shown(path))]
    Unreadable {
        /// The config file.
        path: PathBuf,
        /// Why the file cannot be read.
        reason: String,
    },
    /// The config file is not valid TOML.
    #[error("{}:{line}:{column}: this is not TOML: {reason}", shown(path))]
    Syntax {
        /// The config file.
        path: PathBuf,
        /// Number of the line, counted from 1.
        line: usize,
        /// Number of the character in this line, counted from 1.
        column: usize,
        /// The error message of the TOML parser, shortened and in one line.
        reason: String,
    },
    /// A key is outside of any section of the config file: it is before the first one.
    #[error("{origin}: {} is outside of a section; it belongs under one of: {}", shorten(key), sections.join(", "))]
    OutsideOfSection {
        /// The config file.
        origin: Origin,
        /// Name of the key.
        key: String,
        /// The sections that may contain this key. If no section has such a key: all sections. Each is
        /// written as `[name]`.
        sections: Vec<String>,
    },
    /// The section does not exist.
    #[error("{origin}: there is no section {}; allowed is one of: {}", shorten(section), known.join(", "))]
    UnknownSection {
        /// The file, variable or flag that contains the section.
        origin: Origin,
        /// Name of the unknown section.
        section: String,
        /// Names of all sections that exist.
        known: Vec<String>,
    },
    /// The key does not exist.
    #[error("{origin}: there is no key {}; allowed is one of: {}", shorten(key), known.join(", "))]
    UnknownKey {
        /// The file, variable or flag that contains the key.
        origin: Origin,
        /// The unknown key, written as `section.key`.
        key: String,
        /// All keys of this section, each written as `section.key`.
        known: Vec<String>,
    },
    /// The name of an environment variable begins with `BROADCASTER__`, but does not contain a section and a
    /// key after that.
    #[error("{origin}: this does not name a key; allowed is a section and a key, as in {example}")]
    NoKey {
        /// The environment variable.
        origin: Origin,
        /// An example of a valid name.
        example: String,
    },
    /// The value of a key is not allowed, or a value stands where a section must be.
    #[error("{origin}: {key}: {message}")]
    Value {
        /// The file, variable or flag that contains the value.
        origin: Origin,
        /// The key, written as `section.key`, or the name of the section.
        key: String,
        /// The value found (unless it may contain a password), and the allowed values.
        message: String,
    },
}

/// The source that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A config file, by its path.
    File(PathBuf),
    /// An environment variable, by its name.
    Variable(String),
    /// A command-line flag, as written.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(&shown(path)),
            Self::Variable(name) => write!(f, "environment variable {}", shorten(name)),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl ConfigError {
    /// Converts an error of the TOML parser. Keeps its position and its message, which is shortened. Omits
    /// the lines of the file that its full text would quote.
    pub(super) fn syntax(path: PathBuf, text: &str, err: &toml::de::Error) -> Self {
        // An error without a position is about the whole file. For example, the nesting is too deep. It is
        // reported at the first line.
        let at = err.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self::Syntax {
            path,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason: shorten(&err.message().lines().collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Formats a path in one line, with control characters escaped. Does not shorten it.
pub(super) fn shown(path: &Path) -> String {
    escape(&path.display().to_string()).collect()
}

/// Escapes the control characters of a text, so that it is one line, and returns at most the first
/// `MAX_QUOTED_CHARS` characters. `…` replaces the characters beyond them.
pub(super) fn shorten(text: &str) -> String {
    let mut all = escape(text);
    let mut start: String = all.by_ref().take(MAX_QUOTED_CHARS).collect();
    if all.next().is_some() {
        start.push('…');
    }
    start
}

/// Formats a value as it is written in a config file, but in one line and shortened as by [`shorten`].
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shorten(text)),
        other => shorten(&other.to_string()),
    }
}

fn escape(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|c| {
        let escaped = c.is_control().then(|| c.escape_default());
        let plain = escaped.is_none().then_some(c);
        plain.into_iter().chain(escaped.into_iter().flatten())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax(text: &str) -> String {
        let err = text.parse::<toml::Table>().unwrap_err();
        ConfigError::syntax("c.toml".into(), text, &err).to_string()
    }

    #[test]
    fn a_syntax_error_says_where_in_one_line() {
        assert_eq!(
            syntax("[ticker]\nmessage = \"é\" interval = \"1s\"\n"),
            "c.toml:2:15: this is not TOML: unexpected key or value, expected newline, `#`"
        );
        assert!(syntax("[ticker").starts_with("c.toml:1:8: this is not TOML: "));
        assert!(syntax("a = \"\n\n\n").starts_with("c.toml:1:6: this is not TOML: "));
    }

    #[test]
    fn too_deep_nesting_is_refused_with_a_short_message() {
        let depth = 100_000;
        for text in [
            "[".repeat(depth),
            format!("a = {}", "[".repeat(depth)),
            format!("a = {}", "{a=".repeat(depth)),
            format!("{}a = 1", "a.".repeat(depth)),
            format!("[{}a]", "a.".repeat(depth)),
        ] {
            let message = syntax(&text);

            assert!(message.len() < 200, "{message}");
        }
    }

    #[test]
    fn quoted_text_is_one_line_and_bounded() {
        assert_eq!(shorten("a\nb\r\u{1b}[0m"), "a\\nb\\r\\u{1b}[0m");
        assert_eq!(shorten(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(shorten(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
        assert_eq!(found(&Value::String("a\nb".into())), "\"a\\nb\"");
        assert_eq!(found(&Value::Integer(5)), "5");
        let nested = Value::Array(vec![Value::String("a\nb\nc".into())]);
        assert!(!found(&nested).contains('\n'), "{}", found(&nested));
    }
}
