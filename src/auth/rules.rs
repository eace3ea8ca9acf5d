//! Which tokens are read at all.

/// The media type of access tokens, as tokens name it.
pub(super) const TOKEN_TYPE: &str = "at+jwt";

/// Which tokens are read, and how much of them. What exceeds it makes a token invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenRules {
    /// Whether those of the protocol's older versions are.
    pub(crate) legacy: bool,
    /// Length of a token, in bytes.
    pub(crate) bytes: usize,
    /// Mercure authorization details in a token.
    pub(crate) details: usize,
    /// Topics in each of them.
    pub(crate) topics: usize,
    /// Length of each of those, in bytes.
    pub(crate) pattern: usize,
}
