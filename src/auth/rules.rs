//! Defines which kinds of tokens are accepted, and their limits.

use std::time::Duration;

/// The media type of access tokens, which is the `typ` in the header of a token. Tokens of older Mercure
/// versions may have any `typ`.
pub(super) const TOKEN_TYPE: &str = "at+jwt";

/// Leeway for `nbf` (not before), in seconds: a token is accepted up to this long before its `nbf`, because
/// clocks of machines differ. `exp` has no leeway.
pub(super) const NOT_BEFORE_LEEWAY: f64 = 5.0;

/// Which tokens are accepted, and their limits. A token that exceeds a limit is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenRules {
    /// Whether tokens of older versions of the Mercure protocol are accepted.
    pub(crate) legacy: bool,
    /// Maximum length of a token, in bytes.
    pub(crate) bytes: usize,
    /// Maximum number of authorization details for Mercure in a token.
    pub(crate) details: usize,
    /// Maximum number of topics in each authorization detail, and in each list of the claim `mercure` of
    /// older versions.
    pub(crate) topics: usize,
    /// Maximum length of each topic or pattern in a token, in bytes.
    pub(crate) pattern: usize,
    /// How long a revocation lasts.
    pub(crate) revocation_ttl: Duration,
}
