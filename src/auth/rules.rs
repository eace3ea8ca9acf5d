//! Defines which kinds of tokens are accepted, and their limits.

/// The media type of access tokens. A token has it as `typ` in its header.
pub(super) const TOKEN_TYPE: &str = "at+jwt";

/// Which tokens are accepted, and their limits. A token that exceeds a limit is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenRules {
    /// Whether tokens of older protocol versions are accepted.
    pub(crate) legacy: bool,
    /// Maximum length of a token, in bytes.
    pub(crate) bytes: usize,
    /// Maximum number of Mercure authorization details in a token.
    pub(crate) details: usize,
    /// Maximum number of topics in each detail.
    pub(crate) topics: usize,
    /// Maximum length of each topic or pattern, in bytes.
    pub(crate) pattern: usize,
}
