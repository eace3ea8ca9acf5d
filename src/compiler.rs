//! Compiles matchers within bounds: anybody may ask for patterns, and they take time and memory.

use std::sync::Arc;

use crate::{
    hub_url::HubUrl,
    matcher::{InvalidMatcher, Matcher, MatcherText},
    tally::{Held, Tally},
};

/// How much memory the patterns of one request, or of one token, may take, compiled, in bytes. What
/// takes more is refused before the rest is compiled: it is not to hold the worker, or the memory, of
/// others.
const MOST: usize = 1 << 20;

/// How much those of all subscribers may take, and those of all tokens. Beyond, whoever brings patterns is
/// told to come again; a subscriber whose matchers somebody else has is not.
const MOST_IN_ALL: usize = 128 << 20;

/// Compiles matchers for as long as there is room for them.
#[derive(Debug)]
pub(crate) struct Compiler {
    hub: HubUrl,
    compiled: Tally,
}

/// Compiles the matchers of one request, or of one token.
#[derive(Debug)]
pub(crate) struct Compiling<'a> {
    compiler: &'a Compiler,
    held: Held,
}

impl Compiler {
    /// Relative patterns are relative to the hub's URL.
    pub(crate) fn new(hub: HubUrl) -> Self {
        let compiled = Tally::default();
        Self { hub, compiled }
    }

    pub(crate) fn hub(&self) -> &HubUrl {
        &self.hub
    }

    /// Takes all the room that there is.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> Held {
        self.compiled.hold(MOST_IN_ALL)
    }

    pub(crate) fn begin(&self) -> Compiling<'_> {
        Compiling {
            compiler: self,
            held: self.compiled.hold(0),
        }
    }
}

impl Compiling<'_> {
    pub(crate) fn compile(&mut self, written: MatcherText) -> Result<Matcher, InvalidMatcher> {
        let Compiler { hub, compiled } = self.compiler;
        let matcher = Matcher::compile(written, hub)?;
        let bytes = matcher.bytes();
        self.held.grow(bytes);
        if self.held.bytes() > MOST {
            return Err(InvalidMatcher::TooMuch);
        }
        if bytes > 0 && compiled.bytes() > MOST_IN_ALL {
            return Err(InvalidMatcher::Crowded);
        }
        Ok(matcher)
    }

    /// What was compiled counts for as long as what is returned is kept.
    pub(crate) fn finish(self) -> Arc<Held> {
        Arc::new(self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::MatcherType;

    fn compiler() -> Compiler {
        Compiler::new(HubUrl::parse("http://localhost/.well-known/mercure").unwrap())
    }

    /// Compiles patterns such as this, each a little different.
    fn compile(
        compiler: &Compiler,
        count: usize,
        pattern: &str,
    ) -> Result<Arc<Held>, InvalidMatcher> {
        let mut compiling = compiler.begin();
        for n in 0..count {
            let text = format!("/{n}/{pattern}");
            let written = MatcherText::parse(MatcherType::UrlPattern, &text, 1024);
            compiling.compile(written.unwrap())?;
        }
        Ok(compiling.finish())
    }

    #[test]
    fn patterns_are_refused_that_take_too_much_together() {
        let compiler = compiler();

        assert!(compile(&compiler, 10, "([a-z]{300})").is_ok());
        assert!(compile(&compiler, 100, ":id").is_ok());
        let refused = compile(&compiler, 100, "([a-z]{300})").err();
        assert_eq!(refused, Some(InvalidMatcher::TooMuch));
        assert_eq!(compiler.compiled.bytes(), 0, "nobody has them");
    }

    #[test]
    fn patterns_of_every_kind_count_for_as_long_as_somebody_has_them() {
        for pattern in ["", ":id", "*", "([a-z]{300})"] {
            let compiler = compiler();
            let few = compile(&compiler, 1, pattern).unwrap();
            let one = compiler.compiled.bytes();
            assert!(one > 256, "{pattern}: {one}");
            drop(few);
            assert_eq!(compiler.compiled.bytes(), 0);

            let all = compiler.fill();
            let refused = compile(&compiler, 1, pattern).err();
            assert_eq!(refused, Some(InvalidMatcher::Crowded), "{pattern}");
            drop(all);
            assert!(compile(&compiler, 1, pattern).is_ok());
        }
    }
}
