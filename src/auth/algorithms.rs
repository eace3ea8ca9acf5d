//! Decides with which algorithms a key verifies tokens. Each key has only algorithms of its own family, so a
//! public key is never used as a secret (RFC 8725, section 3.1).

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};

use super::key_check::{self, Curve};

/// All supported algorithms.
pub(crate) const ALL: [Algorithm; 12] = [
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
];

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The algorithms of HMAC with the minimum length of their secrets in bytes (RFC 7518, section 3.2).
const HMAC: [(Algorithm, usize); 3] = [
    (Algorithm::HS256, 32),
    (Algorithm::HS384, 48),
    (Algorithm::HS512, 64),
];

/// The names of these algorithms, as in the header of a token.
pub(super) fn names(algorithms: &[Algorithm]) -> String {
    let names = algorithms.iter().map(|algorithm| name(*algorithm));
    names.collect::<Vec<_>>().join(", ")
}

/// The name of an algorithm, as in the header of a token.
pub(crate) fn name(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

/// The algorithms that a secret of this length allows.
pub(super) fn of_secret(bytes: usize) -> Vec<Algorithm> {
    let long_enough = HMAC.iter().filter(|(_, least)| bytes >= *least);
    long_enough.map(|(algorithm, _)| *algorithm).collect()
}

/// The algorithms that a public key allows. Fails with the reason if the key cannot verify tokens.
pub(super) fn of_public_key(key: &DecodingKey) -> Result<&'static [Algorithm], String> {
    key_check::check(key)?;
    Ok(match key.family() {
        AlgorithmFamily::Ed => &[Algorithm::EdDSA],
        AlgorithmFamily::Rsa => RSA,
        AlgorithmFamily::Ec => match key_check::curve(key)? {
            Curve::P256 => &[Algorithm::ES256],
            Curve::P384 => &[Algorithm::ES384],
        },
        // A secret is not a public key.
        AlgorithmFamily::Hmac => &[],
    })
}

/// The algorithms that the type of a key in a key set, its `alg` and its `use` allow. Empty if the key is for
/// encryption, its type or curve is not supported, or its `alg` names another algorithm. The length of a
/// secret is not checked.
pub(super) fn of_jwk(jwk: &Jwk) -> Vec<Algorithm> {
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        AlgorithmParameters::OctetKey(_) => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        _ => &[],
    };
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return Vec::new();
    }
    let Some(named) = jwk.common.key_algorithm else {
        return of_kind.to_vec();
    };
    let named = Algorithm::try_from(named).ok();
    let mut named_of_kind = of_kind.to_vec();
    named_of_kind.retain(|algorithm| Some(*algorithm) == named);
    named_of_kind
}
