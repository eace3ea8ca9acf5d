//! Regular expressions that are made of what anybody sends: of a bounded size. Their matching takes
//! linear time.

use regex::{Error, Regex, RegexBuilder};

/// How large one may become, in bytes; one that is larger is refused. The smallest of these that is
/// enough is what it counts. A pattern such as `/books/:id` takes the first, `\w` the third.
const SIZES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, 128 << 10];

/// How much one may keep of what it worked out while matching, in bytes.
const CACHE_BYTES: usize = 128 * 1024;

/// How deep groups may be nested.
const DEPTH: u32 = 24;

/// One that is small enough.
#[derive(Debug)]
pub(crate) struct BoundedRegex {
    regex: Regex,
    bytes: usize,
}

impl BoundedRegex {
    /// Compiles one, unless it is malformed or too large.
    pub(crate) fn parse(pattern: &str) -> Result<Self, Error> {
        let compile = |bytes| {
            let regex = RegexBuilder::new(pattern)
                .size_limit(bytes)
                .dfa_size_limit(CACHE_BYTES)
                .nest_limit(DEPTH)
                .build()?;
            Ok(Self { regex, bytes })
        };
        let [first, larger @ ..] = SIZES;
        larger
            .into_iter()
            .fold(compile(first), |result, bytes| match result {
                Err(Error::CompiledTooBig(_)) => compile(bytes),
                result => result,
            })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// How much memory it takes at most, compiled, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it was compiled from.
    pub(crate) fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}
