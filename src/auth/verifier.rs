//! Verifies access tokens as JWT access tokens (RFC 9068, RFC 8725) against the keys of trusted issuers
//! (Mercure, chapter Token Validation). Verified tokens are cached, but each use checks the time again.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher as _,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use jsonwebtoken::{
    Algorithm, Header, Validation, dangerous::insecure_decode_claims, decode, decode_header,
    errors::ErrorKind,
};
use quick_cache::{Weighter, sync::Cache};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::{sync::watch, time::timeout};

use super::{
    access::Access,
    claims::{Claims, UnverifiedClaims},
    identity::Identity,
    invalid_token::InvalidToken,
    issuer::IssuerConfig,
    key_set::KeySetStatus,
    keys::{Issuer, Key, KeyError},
    legacy::MercureClaim,
    revocation::Revocation,
    revoked::Revoked,
    rules::{NOT_BEFORE_LEEWAY, TOKEN_TYPE, TokenRules},
    trust::{Trust, Trusted},
};
use crate::{
    event::publisher_hash,
    event_log::Revocations,
    matching::{Compiler, HubUrl},
};

/// Approximate maximum memory of the cache of verified tokens, in bytes. When it is exceeded, the cache
/// evicts tokens. They are verified again at their next use.
const CACHE_BYTES: u64 = 16 << 20;

/// Estimated number of cached tokens. It is not a limit: the cache computes its number of shards from it,
/// here at most eight. Each shard has an equal part of [`CACHE_BYTES`], enough for almost every token that
/// the limits allow. A token that does not fit is not cached.
const CACHE_TOKENS: usize = 256;

/// How long a request may wait until the keys of its issuer have been fetched.
const KEY_SET_TIMEOUT: Duration = Duration::from_secs(6);

/// Verifies tokens. All threads share one verifier.
pub(crate) struct TokenVerifier {
    compiler: Compiler,
    rules: TokenRules,
    trust: Arc<Trust>,
    revoked: Revoked,
    verified: Cache<Arc<str>, Verified, BySize>,
    token_hasher: RandomState,
}

#[derive(Debug, Clone)]
struct Verified {
    generation: u64,
    not_before: f64,
    access: Arc<Access>,
}

#[derive(Debug, Clone)]
struct BySize;

impl Weighter<Arc<str>, Verified> for BySize {
    fn weight(&self, token: &Arc<str>, verified: &Verified) -> u64 {
        // An estimate. The parsed `Access` needs several times the memory of the text of the token, and in
        // addition the memory of its compiled patterns.
        let compiled = verified
            .access
            .compiled
            .as_ref()
            .map_or(0, |held| held.bytes());
        (8 * token.len() + 512 + compiled) as u64
    }
}

impl TokenVerifier {
    pub(crate) fn new(hub: HubUrl, rules: TokenRules) -> Self {
        let trust = Trust::new(hub.clone());
        Self {
            compiler: Compiler::new(hub),
            revoked: Revoked::new(rules.revocation_ttl),
            rules,
            trust,
            verified: Cache::with_weighter(CACHE_TOKENS, CACHE_BYTES, BySize),
            token_hasher: RandomState::new(),
        }
    }

    /// Loads the keys of these issuers, and from now on trusts only these issuers. Starts to fetch the keys
    /// behind URLs, unless they are fetched already. If any key file cannot be used, the trusted issuers and
    /// keys do not change.
    pub(crate) fn trust(&self, issuers: &[IssuerConfig]) -> Result<(), KeyError> {
        self.trust.trust(issuers)?;
        self.verified.clear();
        Ok(())
    }

    /// From now on, trusts only this issuer, and only tokens that are signed with this secret.
    pub(crate) fn trust_secret(&self, issuer: String, secret: &[u8]) -> Result<(), String> {
        self.trust.trust_secret(issuer, secret)
    }

    /// How fetching goes, for each URL of keys.
    pub(crate) fn key_sets(&self) -> Vec<KeySetStatus> {
        self.trust.key_sets()
    }

    /// Applies the newest list of revocations. Revoked tokens are refused, and their uses end.
    pub(crate) fn set_revocations(&self, revocations: &watch::Receiver<Arc<Revocations>>) {
        self.revoked.set(revocations);
    }

    /// Returns a [`Revocation`], which reports when a verified token that is in use is revoked, or when the key
    /// that signed it is no longer trusted.
    pub(crate) fn revocation(&self, access: &Arc<Access>) -> Revocation {
        let token_use = self.revoked.begin_use(access);
        Revocation::new(access.key, self.trust.fingerprints(), token_use)
    }

    /// Exhausts the memory budget for matchers until the reservation is dropped.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> crate::matching::Reservation {
        self.compiler.fill()
    }

    /// Verifies a token like [`Self::verify`]. If its issuer's keys are behind a URL and none is known that can
    /// have signed it, fetches them first. They may have changed, or were never fetched.
    pub(crate) async fn verify_with_new_keys(
        &self,
        token: &str,
    ) -> Result<Arc<Access>, InvalidToken> {
        match self.verify(token) {
            Err(InvalidToken::UnknownKey(key_sets)) => {
                let refreshed = join_all(key_sets.iter().map(|key_set| key_set.refresh()));
                timeout(KEY_SET_TIMEOUT, refreshed).await.ok();
                self.verify(token)
            }
            verified => verified,
        }
    }

    /// Verifies a token at the current time, and returns what its bearer may do.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Access>, InvalidToken> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        self.verify_at(token, now)
    }

    /// Verifies a token without the cache. Returns whether it is valid, apart from its time.
    #[cfg(feature = "bench")]
    pub(crate) fn verify_uncached(&self, token: &str) -> bool {
        self.check(token, &self.trust.trusted().issuers).is_ok()
    }

    pub(super) fn verify_at(&self, token: &str, now: f64) -> Result<Arc<Access>, InvalidToken> {
        if token.len() > self.rules.bytes {
            return Err(InvalidToken::TooLong);
        }
        let Trusted {
            issuers,
            generation,
        } = self.trust.trusted();
        let known = self.verified.get(token);
        let verified = match known.filter(|known| known.generation == generation) {
            Some(verified) => verified,
            None => {
                let (access, not_before) = self.check(token, &issuers)?;
                let verified = Verified {
                    generation,
                    not_before,
                    access: Arc::new(access),
                };
                self.verified.insert(token.into(), verified.clone());
                verified
            }
        };
        let Verified {
            not_before, access, ..
        } = verified;
        if access.expires_at.is_some_and(|end| end as f64 <= now) {
            return Err(InvalidToken::Expired);
        }
        if not_before > now + NOT_BEFORE_LEEWAY {
            return Err(InvalidToken::NotYet);
        }
        if self.revoked.is_revoked(&access.identity) {
            return Err(InvalidToken::Revoked);
        }
        self.revoked
            .warn_if_it_outlives(&access.identity, access.expires_at);
        Ok(access)
    }

    /// Verifies everything about a token except its length and the time. Returns what the token allows, and
    /// its `nbf`.
    fn check(&self, token: &str, issuers: &[Issuer]) -> Result<(Access, f64), InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken::Header)?;
        if header.crit.is_some() {
            return Err(InvalidToken::Critical);
        }
        // These claims are not verified yet. They only select the issuer and the rules below.
        let unverified: UnverifiedClaims =
            insecure_decode_claims(token).map_err(|_| InvalidToken::Claims)?;
        let issuer = match (&unverified.iss, issuers) {
            (Some(iss), issuers) => issuers.iter().find(|issuer| issuer.name == *iss),
            // If only one issuer is trusted, a token without `iss` is verified with the keys of this issuer.
            // Only a token of an older Mercure version may lack `iss`. Any other token without `iss` is
            // refused below.
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let issuer = issuer.ok_or(InvalidToken::Issuer)?;
        let has_type = header.typ.as_deref().is_some_and(is_token_type);
        let is_legacy = unverified.is_legacy() && (self.rules.legacy || !has_type);
        let mut validation = self.validation(header.alg, issuer);
        if is_legacy || !has_type {
            validation.required_spec_claims.clear();
            // This token has an `aud`. Requiring it makes a malformed one an error, because the library
            // treats an `aud` that it cannot parse as missing.
            if unverified.aud.is_some() {
                validation.set_required_spec_claims(&["aud"]);
            }
        }
        let (claims, key) = claims(token, &header, issuer, self.compiler.hub(), &validation)?;
        let publisher = publisher_hash(&issuer.name, claims.subject());
        let mut compiling = self.compiler.begin();
        let mut access = if is_legacy {
            if !self.rules.legacy {
                return Err(InvalidToken::LegacyDisabled);
            }
            let claim = claims.namespaced.or(claims.mercure);
            legacy_claim(claim)?.access(&mut compiling, &self.rules)?
        } else {
            let details = claims.authorization_details.as_ref();
            if !has_type {
                let lacks_all = self.rules.legacy && details.is_none();
                return Err(if lacks_all {
                    InvalidToken::NoClaim
                } else {
                    InvalidToken::Type
                });
            }
            Access::parse(details, &mut compiling, &self.rules)?
        };
        access.limit_to(&key.scope);
        access.compiled = Some(compiling.finish());
        // Rounding down makes the token expire less than a second too early, which does no harm.
        access.expires_at = claims.exp.map(|end| end.max(0.0) as u64);
        // Identifies the token for the limit on its subscribers. The signature is left out: it can be encoded
        // in several ways, and each would count as another token.
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        access.token = self.token_hasher.hash_one(signed);
        access.key = key.fingerprint;
        access.publisher = publisher;
        access.identity = Identity {
            issuer: issuer.name.clone(),
            subject: text(claims.sub),
            id: text(claims.jti),
            issued_at: claims.iat.as_ref().and_then(Value::as_f64),
        };
        Ok((access, claims.nbf))
    }

    /// Returns what the library checks in tokens of this issuer. The library does not check the time, because
    /// `verify_at` checks it at each use of a token, also of a cached one.
    fn validation(&self, algorithm: Algorithm, issuer: &Issuer) -> Validation {
        let mut validation = Validation::new(algorithm);
        let urls: Vec<_> = self.compiler.hub().all().map(HubUrl::as_str).collect();
        validation.set_audience(&urls);
        validation.set_issuer(&[&issuer.name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

/// A claim that should be a text. `None`: it is missing, or is no text.
fn text(claim: Option<Value>) -> Option<String> {
    match claim {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Parses the claim `mercure` of a token of an older Mercure version. Fails if the claim is missing or
/// malformed. It must be an object: serde alone would also accept an array with the values of the fields.
fn legacy_claim(claim: Option<Value>) -> Result<MercureClaim, InvalidToken> {
    let claim = claim.filter(Value::is_object);
    let claim = MercureClaim::deserialize(claim.ok_or(InvalidToken::LegacyClaim)?);
    claim.map_err(|_| InvalidToken::LegacyClaim)
}

/// Returns the claims, and the issuer's key that signed the token. Fails if no key of the
/// issuer signed it. Also fails if the signed token has a wrong audience or issuer, lacks a required claim,
/// or has a claim of a wrong type.
fn claims<'a>(
    token: &str,
    header: &Header,
    issuer: &'a Issuer,
    hub: &HubUrl,
    validation: &Validation,
) -> Result<(Claims, &'a Key), InvalidToken> {
    let key_sets = &issuer.key_sets;
    let is_known = |id: &String| issuer.keys.iter().any(|key| key.id.as_ref() == Some(id));
    let may_be_new = issuer.keys.is_empty() || !header.kid.as_ref().is_none_or(is_known);
    let mut result = Err(if !key_sets.is_empty() && may_be_new {
        InvalidToken::UnknownKey(key_sets.clone())
    } else {
        InvalidToken::NoKey
    });
    for key in &issuer.keys {
        // If the token names a key id (`kid`), keys with another id are skipped. A key without an id is not
        // skipped.
        let is_meant = match (&key.id, &header.kid) {
            (Some(id), Some(meant)) => id == meant,
            _ => true,
        };
        if !is_meant || !key.algorithms.contains(&header.alg) {
            continue;
        }
        match decode::<Claims>(token, &key.verifier, validation) {
            Ok(decoded) => return Ok((decoded.claims, key)),
            Err(err) => match err.kind() {
                ErrorKind::InvalidAudience => {
                    return Err(InvalidToken::Audience(hub.as_str().to_owned()));
                }
                ErrorKind::MissingRequiredClaim(name) => {
                    return Err(InvalidToken::Missing(name.clone()));
                }
                // The library finds these two errors only after it has verified the signature, like a wrong
                // audience and a missing claim. All other errors occur before that.
                ErrorKind::Json(_) | ErrorKind::InvalidIssuer => {
                    return Err(InvalidToken::Invalid(err));
                }
                _ if matches!(result, Err(InvalidToken::UnknownKey(_))) => {}
                _ => result = Err(InvalidToken::Signature),
            },
        }
    }
    result
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenVerifier")
    }
}

/// Whether the `typ` in a header is the media type of access tokens, in any letter case. The prefix
/// `application/` may be omitted (RFC 7515, section 4.1.9).
fn is_token_type(named: &str) -> bool {
    const PREFIX: &str = "application/";
    let prefix = named.get(..PREFIX.len());
    let has_prefix = prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
    let rest = if has_prefix {
        &named[PREFIX.len()..]
    } else {
        named
    };
    rest.eq_ignore_ascii_case(TOKEN_TYPE)
}
