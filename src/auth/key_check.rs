//! Decides whether a key can verify tokens. An unusable key is refused when it is loaded, not at the first
//! token.

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::PublicEncryptingKey,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    },
};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, DecodingKeyKind};

/// Minimum length of an HMAC secret, in bytes (RFC 7518, section 3.2). A shorter secret is refused.
pub(super) const MIN_SECRET_BYTES: usize = 32;

/// Checks that a key can verify tokens. Otherwise returns the reason, which never contains the key.
pub(super) fn check(key: &DecodingKey) -> Result<(), String> {
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => {
            check_secret_length(secret.len())
        }
        (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => {
            let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der);
            check_rsa(
                key.map_err(|_| INVALID_RSA)?
                    .as_der()
                    .map_err(|_| INVALID_RSA)?
                    .as_ref(),
            )
        }
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let key = RsaPublicKeyComponents { n, e }.as_der();
            check_rsa(key.map_err(|_| INVALID_RSA)?.as_ref())
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(_)) => curve(key).map(drop),
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(bytes)) => {
            let key = ParsedPublicKey::new(&ED25519, bytes);
            key.map(drop)
                .map_err(|_| "it is not an Ed25519 public key, which has 32 bytes".to_owned())
        }
        (_, DecodingKeyKind::RsaModulusExponent { .. }) => Err(INVALID_RSA.to_owned()),
    }
}

/// An elliptic curve whose keys can verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

/// The curve of an elliptic-curve key. Fails with the reason if the key is not on a supported curve.
pub(super) fn curve(key: &DecodingKey) -> Result<Curve, String> {
    if let DecodingKeyKind::SecretOrDer(point) = key.kind() {
        if ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok() {
            return Ok(Curve::P256);
        }
        if ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).is_ok() {
            return Ok(Curve::P384);
        }
    }
    Err("it is not a point on the curve P-256 or P-384".to_owned())
}

const INVALID_RSA: &str = "it is not a valid RSA public key of 2048 to 8192 bits";

fn check_rsa(der: &[u8]) -> Result<(), String> {
    // `from_der` also checks the size of the key.
    let key = PublicEncryptingKey::from_der(der);
    key.map(drop).map_err(|_| INVALID_RSA.to_owned())
}

/// Checks that an HMAC secret of this length is long enough. Otherwise returns the reason.
pub(super) fn check_secret_length(bytes: usize) -> Result<(), String> {
    if bytes >= MIN_SECRET_BYTES {
        return Ok(());
    }
    Err(format!(
        "a secret must have at least {MIN_SECRET_BYTES} bytes, this has {bytes}; make one with \
         `openssl rand -base64 32`"
    ))
}
