//! Who may do what: access tokens are verified as JWT access tokens (RFC 9068, RFC 8725) against the
//! keys of trusted issuers (Mercure, chapter Token Validation). Also mints tokens, and reports when a
//! key that verified one is no longer trusted.

mod access;
mod invalid_token;
mod issuer;
mod key_check;
mod keys;
mod legacy;
mod mint;
mod revocation;
mod rules;
#[cfg(test)]
mod tests;
mod verifier;

pub(crate) use self::{
    access::{Access, DETAIL_TYPE},
    mint::{Grants, MintError, Signer},
    revocation::Revocation,
    rules::TokenRules,
    verifier::TokenVerifier,
};
pub use self::{
    issuer::{IssuerConfig, KeySource},
    keys::KeyError,
    verifier::check_issuers,
};
