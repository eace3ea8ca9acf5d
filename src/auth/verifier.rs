//! Who may do what: access tokens, verified as JWT access tokens (RFC 9068, RFC 8725) against the
//! keys of trusted issuers (Mercure, chapter Token Validation).

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher as _,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, Header, Validation, dangerous::insecure_decode_claims, decode, decode_header,
    errors::ErrorKind,
};
use parking_lot::RwLock;
use quick_cache::{Weighter, sync::Cache};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    access::Access,
    invalid_token::InvalidToken,
    issuer::IssuerConfig,
    keys::{Issuer, KeyError},
    legacy::MercureClaim,
    revocation::{Marks, Revocation},
    rules::{TOKEN_TYPE, TokenRules},
};
use crate::matching::{Compiler, HubUrl};

/// How many seconds before its `nbf` a token is taken already: the clocks of two machines differ. Its end
/// is kept to the moment.
const NOT_BEFORE_LEEWAY: f64 = 5.0;

/// How much is kept of tokens that were verified, in bytes, about.
const CACHE_BYTES: u64 = 16 << 20;

/// How many those are, about: the cache is laid out for so many in eight parts at most, each of which
/// has room for the largest.
const CACHE_TOKENS: usize = 256;

/// Verifies tokens. One for all threads.
pub(crate) struct TokenVerifier {
    compiler: Compiler,
    rules: TokenRules,
    trusted: RwLock<Trusted>,
    marks: watch::Sender<Marks>,
    verified: Cache<Arc<str>, Verified, BySize>,
    tell_apart: RandomState,
}

#[derive(Clone, Default)]
struct Trusted {
    issuers: Arc<Vec<Issuer>>,
    /// Grows whenever these are changed: what was verified before counts no more.
    generation: u64,
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
        // What it allows is in it, and takes some times as much when it is read.
        let compiled = verified
            .access
            .compiled
            .as_ref()
            .map_or(0, |held| held.bytes());
        (8 * token.len() + 512 + compiled) as u64
    }
}

/// The claims that matter. Others are the issuer's business.
#[derive(Debug, Deserialize)]
struct Claims {
    exp: Option<f64>,
    /// From the start, where it is not there.
    #[serde(default)]
    nbf: f64,
    #[serde(default)]
    authorization_details: Option<Value>,
    #[serde(default)]
    mercure: Option<Value>,
    /// The same under the name that the protocol's older versions prefer.
    #[serde(default, rename = "https://mercure.rocks/")]
    namespaced: Option<Value>,
}

/// What is read of a token before its signature is verified.
#[derive(Debug, Deserialize)]
struct UnverifiedClaims {
    iss: Option<String>,
    aud: Option<Value>,
    authorization_details: Option<Value>,
    mercure: Option<Value>,
    #[serde(rename = "https://mercure.rocks/")]
    namespaced: Option<Value>,
}

impl UnverifiedClaims {
    /// Whether the claims are those of the protocol's older versions.
    fn is_legacy(&self) -> bool {
        let details = self.authorization_details.as_ref();
        let is_empty = |details: &Value| details.as_array().is_some_and(Vec::is_empty);
        (self.mercure.is_some() || self.namespaced.is_some()) && details.is_none_or(is_empty)
    }
}

/// Reads the keys of a config's issuers, as the server does when it starts, to see whether they are
/// good.
///
/// The [`KeyError`] is that of the first whose file cannot be read, is too long, or has no key of the
/// kind that the config says.
pub fn check_issuers(issuers: &[IssuerConfig]) -> Result<(), KeyError> {
    issuers
        .iter()
        .try_for_each(|issuer| Issuer::load(issuer).map(drop))
}

impl TokenVerifier {
    pub(crate) fn new(hub: HubUrl, rules: TokenRules) -> Self {
        Self {
            compiler: Compiler::new(hub),
            rules,
            trusted: RwLock::default(),
            marks: watch::Sender::default(),
            verified: Cache::with_weighter(CACHE_TOKENS, CACHE_BYTES, BySize),
            tell_apart: RandomState::new(),
        }
    }

    /// Trusts these issuers from now on, whose keys are read now, and no others. On an error
    /// nothing has changed.
    pub(crate) fn trust(&self, issuers: &[IssuerConfig]) -> Result<(), KeyError> {
        let mut loaded: Vec<Issuer> = Vec::new();
        for config in issuers {
            let Issuer { name, keys } = Issuer::load(config)?;
            match loaded.iter_mut().find(|issuer| issuer.name == name) {
                Some(issuer) => issuer.keys.extend(keys),
                None => loaded.push(Issuer { name, keys }),
            }
        }
        self.replace(loaded);
        Ok(())
    }

    /// Trusts whoever has this secret, and nobody else.
    pub(crate) fn trust_secret(&self, issuer: String, secret: &[u8]) {
        self.replace(vec![Issuer::with_secret(issuer, secret)]);
    }

    fn replace(&self, issuers: Vec<Issuer>) {
        let keys = issuers.iter().flat_map(|issuer| &issuer.keys);
        let marks = keys.map(|key| key.mark).collect();
        let mut trusted = self.trusted.write();
        trusted.issuers = Arc::new(issuers);
        trusted.generation += 1;
        self.verified.clear();
        self.marks.send_replace(marks);
    }

    /// Tells when the token that allows this counts no more, whatever its time.
    pub(crate) fn revocation(&self, access: &Access) -> Revocation {
        Revocation::new(access.key, self.marks.subscribe())
    }

    /// Takes all the room that there is for patterns.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> crate::matching::Reservation {
        self.compiler.fill()
    }

    /// What the bearer of a token may do.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Access>, InvalidToken> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        self.verify_at(token, now)
    }

    pub(super) fn verify_at(&self, token: &str, now: f64) -> Result<Arc<Access>, InvalidToken> {
        if token.len() > self.rules.bytes {
            return Err(InvalidToken::TooLong);
        }
        let Trusted {
            issuers,
            generation,
        } = self.trusted.read().clone();
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
        Ok(access)
    }

    /// Everything about a token but the time: also from when on it is valid.
    fn check(&self, token: &str, issuers: &[Issuer]) -> Result<(Access, f64), InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken::Header)?;
        if header.crit.is_some() {
            return Err(InvalidToken::Critical);
        }
        // Only to choose how it is verified: the signature says whether it is true.
        let unverified: UnverifiedClaims =
            insecure_decode_claims(token).map_err(|_| InvalidToken::Claims)?;
        let issuer = match (&unverified.iss, issuers) {
            (Some(iss), issuers) => issuers.iter().find(|issuer| issuer.name == *iss),
            // Only tokens of older versions may omit `iss`; of others it is required below.
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let issuer = issuer.ok_or(InvalidToken::Issuer)?;
        let has_type = header.typ.as_deref().is_some_and(is_token_type);
        let is_legacy = unverified.is_legacy() && (self.rules.legacy || !has_type);
        let mut validation = self.validation(header.alg, issuer);
        if is_legacy || !has_type {
            validation.required_spec_claims.clear();
            // The library treats an `aud` that it cannot read as if it were missing, so require one.
            if unverified.aud.is_some() {
                validation.set_required_spec_claims(&["aud"]);
            }
        }
        let (claims, key) = claims(token, &header, issuer, &validation)?;
        let mut compiling = self.compiler.begin();
        let mut access = if is_legacy {
            if !self.rules.legacy {
                return Err(InvalidToken::LegacyDisabled);
            }
            let claim = claims.namespaced.or(claims.mercure);
            // serde would also accept an array, as the fields in their order. Only an object is valid.
            let claim = claim.filter(Value::is_object);
            let claim = MercureClaim::deserialize(claim.ok_or(InvalidToken::LegacyClaim)?);
            let claim = claim.map_err(|_| InvalidToken::LegacyClaim)?;
            claim.access(&mut compiling, &self.rules)?
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
        access.compiled = Some(compiling.finish());
        // A fraction of a second less is no harm.
        access.expires_at = claims.exp.map(|end| end.max(0.0) as u64);
        // Its signature may be written in more than one way.
        let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
        access.token = self.tell_apart.hash_one(signed);
        access.key = key;
        Ok((access, claims.nbf))
    }

    /// What an issuer's tokens have to be, but for the time: that is looked at each time that a token
    /// is used.
    fn validation(&self, algorithm: Algorithm, issuer: &Issuer) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[self.compiler.hub().as_str()]);
        validation.set_issuer(&[&issuer.name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }
}

/// The claims, if one of the issuer's keys signed them, and its mark.
fn claims(
    token: &str,
    header: &Header,
    issuer: &Issuer,
    validation: &Validation,
) -> Result<(Claims, u64), InvalidToken> {
    let mut result = Err(InvalidToken::NoKey);
    for key in &issuer.keys {
        // A key's id is a hint which to try; keys without one are tried, too.
        let is_meant = match (&key.id, &header.kid) {
            (Some(id), Some(meant)) => id == meant,
            _ => true,
        };
        if !is_meant || !key.algorithms.contains(&header.alg) {
            continue;
        }
        match decode::<Claims>(token, &key.verifier, validation) {
            Ok(decoded) => return Ok((decoded.claims, key.mark)),
            Err(err) => match err.kind() {
                ErrorKind::InvalidAudience => {
                    let expected = validation.aud.iter().flatten().next().cloned();
                    return Err(InvalidToken::Audience(expected.unwrap_or_default()));
                }
                ErrorKind::MissingRequiredClaim(name) => {
                    return Err(InvalidToken::Missing(name.clone()));
                }
                // Like the two above, these come after the signature was verified; every other kind before.
                ErrorKind::Json(_) | ErrorKind::InvalidIssuer => {
                    return Err(InvalidToken::Invalid(err));
                }
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

/// Whether a token's header names the type of access tokens (RFC 7515, section 4.1.9).
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
