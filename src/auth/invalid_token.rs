//! Defines the reasons for which a token is refused, and which of them the client may learn.

use std::sync::Arc;

use thiserror::Error;

use super::{access::InvalidDetails, key_set::KeySet};
use crate::matching::InvalidMatcher;

/// Why a token is refused. The server logs every reason at level `debug`. The client receives only reasons
/// that were found after the signature was verified.
#[derive(Debug, Error)]
pub(crate) enum InvalidToken {
    #[error("it is longer than limits.token")]
    TooLong,
    #[error("its header cannot be read, or names an algorithm that is not supported")]
    Header,
    #[error("it has critical extensions")]
    Critical,
    #[error("its claims cannot be read")]
    Claims,
    #[error("its issuer is not trusted (auth.issuers)")]
    Issuer,
    #[error("its issuer has no key for its algorithm")]
    NoKey,
    /// A key that may have signed the token may be in one of these sets, which can be fetched again.
    #[error("its issuer has no key with its id, or no key yet (jwks_url in auth.issuers)")]
    UnknownKey(Vec<Arc<KeySet>>),
    #[error("its signature matches none of its issuer's keys")]
    Signature,
    #[error("the `typ` of its header is not at+jwt")]
    Type,
    #[error(
        "it has a claim of an older version of the protocol (`mercure` or `https://mercure.rocks/`): set \
         hub.legacy = true to accept it"
    )]
    LegacyDisabled,
    #[error(
        "its claim `mercure` or `https://mercure.rocks/` is malformed: `publish` and `subscribe` must be \
         lists of topic selectors, or of matchers with a `match`"
    )]
    LegacyClaim,
    #[error("it has neither authorization_details nor a claim `mercure`")]
    NoClaim,
    #[error("its claim `aud` does not contain {0}, the URL of the hub (hub.url)")]
    Audience(String),
    #[error("it has no claim `{0}`")]
    Missing(String),
    #[error("{0}")]
    Invalid(jsonwebtoken::errors::Error),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it was revoked")]
    Revoked,
    #[error("{0}")]
    Details(#[from] InvalidDetails),
}

impl InvalidToken {
    /// Whether this error was found after the signature was verified. Only then may the client learn the
    /// reason.
    pub(crate) fn is_signed(&self) -> bool {
        !matches!(
            self,
            Self::TooLong
                | Self::Header
                | Self::Critical
                | Self::Claims
                | Self::Issuer
                | Self::NoKey
                | Self::UnknownKey(_)
                | Self::Signature
        )
    }

    /// Whether the token is refused only because no key of its issuer was fetched yet.
    pub(crate) fn lacks_all_keys(&self) -> bool {
        let is_missing = |key_set: &Arc<KeySet>| key_set.latest().is_none();
        matches!(self, Self::UnknownKey(key_sets) if key_sets.iter().any(is_missing))
    }

    /// Whether the token is refused only because the memory for the matchers of all tokens is exhausted. The
    /// same token may be accepted later, when some of this memory has been released.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            Self::Details(InvalidDetails::Matcher(InvalidMatcher::Crowded))
        )
    }
}
