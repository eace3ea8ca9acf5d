//! Creates signed access tokens, for `broadcaster token` and for a server that starts without an issuer.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde_json::json;
use thiserror::Error;

use super::{access::DETAIL_TYPE, key_check::MIN_SECRET_BYTES, keys, rules::TOKEN_TYPE};
use crate::{
    event::urn,
    matching::{HubUrl, MatcherText},
};

/// What a new token allows: the topics to publish on, and those whose private events may be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grants {
    pub(crate) publish: Vec<MatcherText>,
    pub(crate) subscribe: Vec<MatcherText>,
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
    /// The file contains neither a supported private key nor a secret that is long enough.
    #[error(
        "{0} contains neither a private key in PEM form (PKCS#8, of Ed25519, P-256 or RSA) nor a secret of \
         at least {MIN_SECRET_BYTES} bytes"
    )]
    NoKey(String),
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

    /// Creates a signer with the key in a file. If the file contains a PEM block, this must be a supported
    /// private key. Otherwise the whole file is a secret, without whitespace at its end.
    pub(crate) fn load(issuer: String, path: &Path) -> Result<Self, MintError> {
        let name = path.display().to_string();
        let file = keys::read(path).map_err(|reason| MintError::Unreadable {
            path: name.clone(),
            reason,
        })?;
        if !keys::is_pem(&file) {
            let secret = keys::secret(&file).map_err(|_| MintError::NoKey(name))?;
            return Ok(Self::with_secret(issuer, secret));
        }
        let key = EncodingKey::from_ed_pem(&file)
            .or_else(|_| EncodingKey::from_ec_pem(&file))
            .or_else(|_| EncodingKey::from_rsa_pem(&file))
            .map_err(|_| MintError::NoKey(name))?;
        let algorithm = match key.family() {
            AlgorithmFamily::Ed => Algorithm::EdDSA,
            AlgorithmFamily::Ec => Algorithm::ES256,
            AlgorithmFamily::Rsa => Algorithm::RS256,
            AlgorithmFamily::Hmac => Algorithm::HS256,
        };
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
        grants: &Grants,
        lifetime: Duration,
    ) -> Result<String, MintError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let detail = |action: &str, topics: &[MatcherText]| {
            let topic = |topic: &MatcherText| json!({ "match": &*topic.text, "match_type": topic.kind.name() });
            (!topics.is_empty()).then(|| {
                json!({
                    "type": DETAIL_TYPE,
                    "actions": [action],
                    "topics": topics.iter().map(topic).collect::<Vec<_>>(),
                })
            })
        };
        let details = [
            detail("publish", &grants.publish),
            detail("subscribe", &grants.subscribe),
        ];
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
            "authorization_details": details.into_iter().flatten().collect::<Vec<_>>(),
        });
        let mut header = Header::new(self.algorithm);
        header.typ = Some(TOKEN_TYPE.to_owned());
        encode(&header, &claims, &self.key).map_err(|err| MintError::Signing(err.to_string()))
    }
}
