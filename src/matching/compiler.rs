//! Compiles matchers within a memory budget. Any client can send matchers, and compiling them requires time
//! and memory. So there is a limit for the patterns of one request or token, and a budget for all matchers of
//! one compiler: one compiler is for tokens, another for subscribers.

use std::sync::Arc;

use super::{
    hub_url::HubUrl,
    matcher::{InvalidMatcher, Matcher, MatcherText},
    memory_budget::{MemoryBudget, Reservation},
};

/// Maximum total compiled size of the patterns of one request or of one token, in bytes. When it is exceeded,
/// the request or token is refused and its remaining patterns are not compiled. So one client can neither
/// occupy a worker thread for long nor exhaust the memory.
const MAX_BYTES: usize = 1 << 20;

/// Memory budget for the matchers of all tokens that are cached or have open streams, in bytes. When it is
/// exhausted, a request with a new token receives 503. A token with only a few exact topics is still accepted
/// (see [`FREE_BYTES`]).
const TOKEN_MATCHERS_BUDGET: usize = 128 << 20;

/// Approximate memory of a matcher in bytes, without its text and its compiled form: the struct itself and
/// its entries in an index.
const MATCHER_OVERHEAD: usize = 192;

/// For each request or token, this many bytes of its matchers are not counted in the budget. They are enough
/// for a few topics with their [`MATCHER_OVERHEAD`]. The compiled form of patterns is always counted.
const FREE_BYTES: usize = 1024;

/// Compiles matchers. While its memory budget is exhausted, refuses all of them except a few exact topics of
/// each request or token.
#[derive(Debug)]
pub(crate) struct Compiler {
    hub: HubUrl,
    /// Counts the memory of all matchers that are in use, in bytes, without the [`FREE_BYTES`] of each
    /// request or token.
    in_use: MemoryBudget,
    /// Limit on `in_use`, in bytes.
    budget: usize,
}

/// Compiles the matchers of one request or of one token.
#[derive(Debug)]
pub(crate) struct Compiling<'a> {
    compiler: &'a Compiler,
    held: Reservation,
    /// Approximate memory of the compiled forms of the matchers compiled so far, in bytes.
    compiled: usize,
    /// Approximate memory of the matchers so far without their compiled forms, in bytes: their texts and
    /// [`MATCHER_OVERHEAD`] for each.
    written: usize,
}

impl Compiler {
    /// A compiler for the matchers of all tokens. Relative patterns are resolved against `hub`.
    pub(crate) fn new(hub: HubUrl) -> Self {
        Self::with_budget(hub, TOKEN_MATCHERS_BUDGET)
    }

    /// A compiler whose matchers in use may need at most `budget` bytes. Relative patterns are resolved
    /// against `hub`.
    pub(crate) fn with_budget(hub: HubUrl, budget: usize) -> Self {
        let in_use = MemoryBudget::default();
        Self {
            hub,
            in_use,
            budget,
        }
    }

    pub(crate) fn hub(&self) -> &HubUrl {
        &self.hub
    }

    /// Exhausts the budget until the reservation is dropped.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> Reservation {
        self.in_use.reserve(self.budget)
    }

    pub(crate) fn begin(&self) -> Compiling<'_> {
        Compiling {
            compiler: self,
            held: self.in_use.reserve(0),
            compiled: 0,
            written: 0,
        }
    }
}

impl Compiling<'_> {
    pub(crate) fn compile(&mut self, written: MatcherText) -> Result<Matcher, InvalidMatcher> {
        let Compiler {
            hub,
            in_use,
            budget,
        } = self.compiler;
        self.written += MATCHER_OVERHEAD + written.text.len();
        let matcher = Matcher::compile(written, hub)?;
        self.compiled += matcher.bytes();
        if self.compiled > MAX_BYTES {
            return Err(InvalidMatcher::TooMuch);
        }
        let counted = self.compiled + self.written.saturating_sub(FREE_BYTES);
        let more = counted - self.held.bytes();
        self.held.grow(more);
        if more > 0 && in_use.reserved() > *budget {
            return Err(InvalidMatcher::Crowded);
        }
        Ok(matcher)
    }

    /// Returns the memory reservation for the compiled matchers. It ends when its last owner drops it.
    pub(crate) fn finish(self) -> Arc<Reservation> {
        Arc::new(self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::MatcherType;
    use super::*;

    fn compiler() -> Compiler {
        Compiler::new(HubUrl::parse("http://localhost/.well-known/mercure").unwrap())
    }

    /// Compiles `count` variants of `pattern`.
    fn compile(
        compiler: &Compiler,
        count: usize,
        pattern: &str,
    ) -> Result<Arc<Reservation>, InvalidMatcher> {
        let mut compiling = compiler.begin();
        for n in 0..count {
            let text = format!("/{n}/{pattern}");
            let written = MatcherText::parse(MatcherType::UrlPattern, &text, 1024);
            compiling.compile(written.unwrap())?;
        }
        Ok(compiling.finish())
    }

    #[test]
    fn patterns_that_together_need_too_much_memory_are_refused() {
        let compiler = compiler();

        assert!(compile(&compiler, 10, "([a-z]{300})").is_ok());
        assert!(compile(&compiler, 100, ":id").is_ok());
        let refused = compile(&compiler, 100, "([a-z]{300})").err();
        assert_eq!(refused, Some(InvalidMatcher::TooMuch));
        assert_eq!(compiler.in_use.reserved(), 0, "no matcher is in use");
    }

    #[test]
    fn patterns_of_every_kind_use_the_budget_until_they_are_dropped() {
        for pattern in ["", ":id", "*", "([a-z]{300})"] {
            let compiler = compiler();
            let few = compile(&compiler, 1, pattern).unwrap();
            let one = compiler.in_use.reserved();
            assert!(one > 256, "{pattern}: {one}");
            drop(few);
            assert_eq!(compiler.in_use.reserved(), 0);

            let all = compiler.fill();
            let refused = compile(&compiler, 1, pattern).err();
            assert_eq!(refused, Some(InvalidMatcher::Crowded), "{pattern}");
            drop(all);
            assert!(compile(&compiler, 1, pattern).is_ok());
        }
    }

    #[test]
    fn exact_topics_use_the_budget_beyond_a_few_free_ones() {
        let compiler = compiler();
        let compile = |count: usize, len: usize| {
            let mut compiling = compiler.begin();
            for n in 0..count {
                let text = format!("{n:0len$}");
                let written = MatcherText::parse(MatcherType::Exact, &text, 1024);
                compiling.compile(written.unwrap())?;
            }
            Ok::<_, InvalidMatcher>(compiling.finish())
        };
        let few = compile(3, 100).unwrap();
        assert_eq!(compiler.in_use.reserved(), 0);
        let many = compile(100, 1000).unwrap();
        assert!(compiler.in_use.reserved() > 100_000);
        drop(many);
        assert_eq!(compiler.in_use.reserved(), 0);

        let _all = compiler.fill();
        assert!(compile(3, 100).is_ok());
        assert_eq!(compile(100, 1000).err(), Some(InvalidMatcher::Crowded));
        drop(few);
    }
}
