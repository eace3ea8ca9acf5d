//! Regular expressions that are safe to accept from any client. Their compile time is bounded, their memory
//! is bounded (including the state that matching caches), and matching takes linear time.

use parking_lot::Mutex;
use regex_automata::{
    Input,
    meta::{Cache, Config, Regex},
    util::syntax,
};
use regex_syntax::ast::{self, Ast, parse::ParserBuilder};
use thiserror::Error;

/// Maximum size of the cached automaton states of one expression, in bytes, for each direction of matching
/// (forward and reverse). A full cache is cleared. If one search fills it several times, a slower method
/// without this cache may finish the search.
const CACHE_BYTES: usize = 16 * 1024;

/// Compiled size in bytes up to which an expression is matched without cached automaton states. A small
/// expression is fast enough without a cache, and needs less memory.
const MAX_BYTES_WITHOUT_CACHE: usize = 2 * 1024;

/// Maximum nesting depth of an expression. A deeper expression is refused.
const MAX_DEPTH: u32 = 24;

/// A compiled regular expression.
#[derive(Debug)]
pub(crate) struct BoundedRegex {
    regex: Regex,
    /// Cached automaton states. All threads share one cache, so that the memory does not grow with the number
    /// of threads. `None`: the expression is so small that it needs no cache.
    cache: Option<Box<Mutex<Cache>>>,
    /// The source text of the expression.
    text: Box<str>,
}

/// Error: the expression is malformed, too large or too deeply nested, has flags, or uses a Unicode class
/// such as `\p{L}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a regular expression, or one that is too complex")]
pub(crate) struct InvalidRegex;

impl BoundedRegex {
    /// Compiles an expression. Refuses it if its forward or its reverse NFA would be larger than `max_bytes`,
    /// or for another reason of [`InvalidRegex`]. Classes such as `\w` match only ASCII, because compiling
    /// the Unicode tables would be about a hundred times slower.
    pub(crate) fn parse(pattern: &str, max_bytes: usize) -> Result<Self, InvalidRegex> {
        let parsed = ParserBuilder::new()
            .nest_limit(MAX_DEPTH)
            .build()
            .parse(pattern);
        let parsed = parsed.map_err(|_| InvalidRegex)?;
        ast::visit(&parsed, NoFlags)?;
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .nest_limit(MAX_DEPTH);
        let compile = |keeps_states| {
            let config = Config::new()
                .nfa_size_limit(Some(max_bytes))
                .hybrid(keeps_states)
                .hybrid_cache_capacity(CACHE_BYTES)
                .utf8_empty(false)
                .dfa(false)
                .onepass(false);
            let mut builder = Regex::builder();
            let built = builder.configure(config).syntax(syntax).build(pattern);
            built.map_err(|_| InvalidRegex)
        };
        let mut regex = compile(false)?;
        let mut cache = None;
        if regex.memory_usage() > MAX_BYTES_WITHOUT_CACHE {
            regex = compile(true)?;
            cache = Some(Box::new(Mutex::new(regex.create_cache())));
        }
        let text = pattern.into();
        Ok(Self { regex, cache, text })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let input = Input::new(text).earliest(true);
        let found = match &self.cache {
            Some(cache) => self.regex.search_half_with(&mut cache.lock(), &input),
            None => {
                let mut cache = self.regex.create_cache();
                self.regex.search_half_with(&mut cache, &input)
            }
        };
        found.is_some()
    }

    /// Approximate maximum memory of the expression in bytes, including its source text and, if it has a
    /// cache, the full cache.
    pub(crate) fn bytes(&self) -> usize {
        let cache = self.cache.as_ref().map_or(0, |_| 2 * CACHE_BYTES);
        self.regex.memory_usage() + cache + self.text.len()
    }

    /// The source text of the expression.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Refuses an expression with flags, because a flag could enable the Unicode tables or case-insensitive
/// matching.
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
    fn an_expression_that_is_slow_to_compile_is_fast_or_refused() {
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
