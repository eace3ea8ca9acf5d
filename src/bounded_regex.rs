//! Regular expressions that are made of what anybody sends: of a bounded size. Their matching takes
//! linear time.

use regex::{Error, Regex, RegexBuilder};

/// How large one may become, in bytes. One that is larger is refused. That of a pattern such as
/// `/books/:id` takes a hundredth of it.
const PROGRAM_BYTES: usize = 128 * 1024;

/// How much one may keep of what it worked out while matching, in bytes.
const CACHE_BYTES: usize = 128 * 1024;

/// How deep groups may be nested.
const DEPTH: u32 = 24;

/// Compiles one, unless it is malformed or too large.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Error> {
    RegexBuilder::new(pattern)
        .size_limit(PROGRAM_BYTES)
        .dfa_size_limit(CACHE_BYTES)
        .nest_limit(DEPTH)
        .build()
}
