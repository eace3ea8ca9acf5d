//! Decides what the bearer of an access token may do. It verifies tokens as JWT access tokens (RFC 9068,
//! RFC 8725) against the keys of trusted issuers (Mercure, chapter Token Validation), creates tokens, and
//! reports when the key of a verified token is no longer trusted.

mod access;
mod algorithms;
mod claims;
mod fetch;
mod identity;
mod invalid_token;
mod issuer;
mod key_check;
mod key_set;
mod keys;
mod legacy;
mod mint;
mod revocation;
mod revoked;
mod rules;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

pub(crate) use self::{
    access::{Access, DETAIL_TYPE},
    algorithms::{ALL as ALGORITHMS, name as algorithm_name},
    key_set::KeySetStatus,
    keys::read_secret,
    mint::{Grant, MintError, Signer},
    revocation::Revocation,
    revoked::RevokedTokens,
    rules::TokenRules,
    verifier::TokenVerifier,
};
pub use self::{
    issuer::{Action, IssuerConfig, KeySource},
    keys::KeyError,
    trust::check_issuers,
};
