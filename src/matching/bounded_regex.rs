//! Regular expressions that are made of what anybody sends: compiling one takes a bounded time, and it
//! becomes of a bounded size. Their matching takes linear time.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ast::{self, Ast, parse::ParserBuilder};
use thiserror::Error;

/// How large one may become, in bytes. The smallest of these that is enough is what it counts: for one
/// such as that of `/books/:id` the first.
const SIZES: [usize; 5] = [4 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10];

/// How much one may keep of what it worked out while matching, in bytes: for each direction, on each
/// thread that uses it.
const CACHE_BYTES: usize = 32 * 1024;

/// How deep groups may be nested.
const DEPTH: u32 = 24;

/// One that is small enough.
#[derive(Debug)]
pub(crate) struct BoundedRegex {
    regex: Regex,
    bytes: usize,
}

/// It is malformed, too large or has flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a regular expression, or one that is too complex")]
pub(crate) struct InvalidRegex;

impl BoundedRegex {
    /// Compiles one that takes so many bytes at most. Its classes, such as `\w`, are those of ASCII: the
    /// tables of Unicode would cost some hundred times as much, also where what is made of them is
    /// thrown away.
    pub(crate) fn parse(pattern: &str, most: usize) -> Result<Self, InvalidRegex> {
        let parsed = ParserBuilder::new()
            .nest_limit(DEPTH)
            .build()
            .parse(pattern);
        let parsed = parsed.map_err(|_| InvalidRegex)?;
        ast::visit(&parsed, NoFlags)?;
        let compile = |bytes| {
            let mut regex = RegexBuilder::new(pattern);
            regex.unicode(false).nest_limit(DEPTH);
            regex.size_limit(bytes).dfa_size_limit(CACHE_BYTES);
            regex.build().map(|regex| Self { regex, bytes })
        };
        let [first, larger @ ..] = SIZES;
        let larger = larger.into_iter().filter(|bytes| *bytes <= most);
        larger
            .fold(compile(first), |result, bytes| match result {
                Err(regex::Error::CompiledTooBig(_)) => compile(bytes),
                result => result,
            })
            .map_err(|_| InvalidRegex)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// How large it may be, compiled, in bytes: without what matching keeps.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it was compiled from.
    pub(crate) fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}

/// Refuses flags: with them, one could have the tables of Unicode again, or upper case for lower case.
struct NoFlags;

impl ast::Visitor for NoFlags {
    type Output = ();
    type Err = InvalidRegex;

    fn finish(self) -> Result<(), InvalidRegex> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), InvalidRegex> {
        match ast {
            Ast::Flags(_) => Err(InvalidRegex),
            Ast::Group(group) if group.flags().is_some_and(|flags| !flags.items.is_empty()) => {
                Err(InvalidRegex)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_costs_much_to_compile_and_leaves_little_is_cheap_or_refused() {
        for pattern in [
            "[[^a]b]{0}".repeat(100),
            r"\w{0}".repeat(200),
            r"[\w~~\W]{0}".repeat(90),
            r"(?:(?:a{100}){100}){0}".repeat(45),
        ] {
            let start = Instant::now();
            for _ in 0..100 {
                drop(BoundedRegex::parse(&pattern, 32 << 10));
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{pattern}");
        }
    }

    #[test]
    fn flags_are_refused_and_groups_are_not() {
        for pattern in ["(?i:a)", "(?u:a)", "(?i)a", "a(?-u)", "((?x:a))", r"\p{L}"] {
            let refused = BoundedRegex::parse(pattern, 32 << 10).err();
            assert_eq!(refused, Some(InvalidRegex), "{pattern}");
        }
        for pattern in ["(?:a)", "(?<name>a)", r"\(?i", "[(?i)]"] {
            assert!(BoundedRegex::parse(pattern, 32 << 10).is_ok(), "{pattern}");
        }
    }
}
