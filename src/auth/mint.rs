//! Creates signed access tokens, for `broadcaster token` and for a server that starts without an issuer.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, encode};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{
    access::DETAIL_TYPE,
    algorithms::{self, ALL},
    issuer::Action,
    key_check::MIN_SECRET_BYTES,
    keys,
    rules::TOKEN_TYPE,
};
use crate::{
    event::urn,
    matching::{HubUrl, MatcherText},
};

/// An authorization detail of a new token.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) actions: Vec<Action>,
    pub(crate) topics: Vec<MatcherText>,
    /// Shown with the active subscriptions of the token's bearer to these topics.
    pub(crate) payload: Option<Map<String, Value>>,
}

/// A signing key and the issuer that it signs for.
pub(crate) struct Signer {
    issuer: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

/// Why a token cannot be created.
#[derive(Debug, Error)]
pub(crate) enum MintError {
    /// The key file cannot be read.
    #[error("cannot read the key in {path}: {reason}")]
    Unreadable {
        /// The key file.
        path: String,
        /// Why the file cannot be read.
        reason: String,
    },
    /// The source contains neither a supported private key nor a secret that is long enough.
    #[error(
        "{0} contains neither a private key in PEM form (PKCS#8, of Ed25519, P-256, P-384 or RSA) nor a secret \
         of at least {MIN_SECRET_BYTES} bytes"
    )]
    NoKey(String),
    /// The key cannot sign with the algorithm.
    #[error("the key cannot sign with {algorithm}; it can sign with {allowed}")]
    Algorithm {
        /// The algorithm.
        algorithm: String,
        /// The algorithms with which the key can sign.
        allowed: String,
    },
    /// Signing failed. For example, the key cannot be used with its algorithm, or the system has no
    /// randomness for the signature.
    #[error("cannot sign: {0}")]
    Signing(String),
}

impl Signer {
    /// Creates a signer with a shared secret, for HS256.
    pub(crate) fn with_secret(issuer: String, secret: &[u8]) -> Self {
        Self {
            issuer,
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(secret),
        }
    }

    /// Creates a signer with the key in a file.
    pub(crate) fn load(
        issuer: String,
        path: &Path,
        algorithms: Option<&[Algorithm]>,
    ) -> Result<Self, MintError> {
        let name = path.display().to_string();
        let file = keys::read(path).map_err(|reason| MintError::Unreadable {
            path: name.clone(),
            reason,
        })?;
        Self::with_key(issuer, &file, name, algorithms)
    }

    /// Creates a signer with a key. If the text contains a PEM block, this must be a supported private key.
    /// Otherwise the whole text is a secret, without whitespace at its end. Signs with the first algorithm that
    /// the key allows, out of `algorithms` if there are any. `name` says in error texts where the key is from.
    pub(crate) fn with_key(
        issuer: String,
        text: &[u8],
        name: String,
        algorithms: Option<&[Algorithm]>,
    ) -> Result<Self, MintError> {
        let (key, allowed) = if keys::is_pem(text) {
            let key = EncodingKey::from_ed_pem(text)
                .or_else(|_| EncodingKey::from_ec_pem(text))
                .or_else(|_| EncodingKey::from_rsa_pem(text))
                .map_err(|_| MintError::NoKey(name))?;
            let can_sign = |algorithm: &Algorithm| crypto::sign(b"", &key, *algorithm).is_ok();
            let allowed: Vec<_> = ALL.into_iter().filter(can_sign).collect();
            (key, allowed)
        } else {
            let secret = keys::secret(text).map_err(|_| MintError::NoKey(name))?;
            let allowed = algorithms::of_secret(secret.len());
            (EncodingKey::from_secret(secret), allowed)
        };
        let is_wanted = |algorithm: &&Algorithm| algorithms.is_none_or(|it| it.contains(algorithm));
        let algorithm = allowed.iter().find(is_wanted).copied();
        let algorithm = algorithm.ok_or_else(|| MintError::Algorithm {
            algorithm: algorithms::names(algorithms.unwrap_or_default()),
            allowed: algorithms::names(&allowed),
        })?;
        Ok(Self {
            issuer,
            algorithm,
            key,
        })
    }

    /// Creates a token for a hub. The token is valid immediately, and expires after `lifetime`. Fractions of
    /// a second in `lifetime` are dropped.
    pub(crate) fn sign(
        &self,
        hub: &HubUrl,
        grants: &[Grant],
        lifetime: Duration,
    ) -> Result<String, MintError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let topic =
            |topic: &MatcherText| json!({ "match": &*topic.text, "match_type": topic.kind.name() });
        let detail = |grant: &Grant| {
            let actions = grant.actions.iter().map(|action| action.name());
            let mut detail = json!({
                "type": DETAIL_TYPE,
                "actions": actions.collect::<Vec<_>>(),
                "topics": grant.topics.iter().map(topic).collect::<Vec<_>>(),
            });
            if let Some(payload) = &grant.payload {
                detail["payload"] = Value::Object(payload.clone());
            }
            detail
        };
        let details: Vec<_> = grants.iter().map(detail).collect();
        let claims = json!({
            "iss": self.issuer,
            "aud": hub.as_str(),
            // The same in each token: the subject is the scope of idempotency keys. RFC 9068 wants the client
            // here when no user is involved.
            "sub": self.issuer,
            "client_id": self.issuer,
            "iat": now,
            "exp": now + lifetime.as_secs(),
            "jti": urn::random(),
            "authorization_details": details,
        });
        let mut header = Header::new(self.algorithm);
        header.typ = Some(TOKEN_TYPE.to_owned());
        encode(&header, &claims, &self.key).map_err(|err| MintError::Signing(err.to_string()))
    }
}
