//! Loads the keys that verify tokens from files, at start and at each reload of the config. Each key is bound
//! to one issuer and verifies only tokens with its own algorithms (RFC 8725).

use std::{
    collections::hash_map::RandomState, fs, fs::File, hash::BuildHasher as _, io::Read as _,
    path::Path, sync::LazyLock,
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use thiserror::Error;

use super::{
    issuer::{IssuerConfig, KeySource},
    key_check,
};

/// Maximum length of a key file, in bytes. A longer file is refused, because no key file is that long.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A trusted issuer and its keys.
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
}

/// A key that verifies tokens.
pub(super) struct Key {
    /// The key's id. A token may name the key that signed it by this id, in the header member `kid`. `None`:
    /// the key has no id, so the `kid` of a token never excludes it.
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) verifier: DecodingKey,
    /// Identifies the issuer and the key: a hash of the name of the issuer and of the secret, the PEM file or
    /// the JWK. As long as these do not change, the fingerprint is the same each time this process loads
    /// them.
    pub(super) fingerprint: u64,
}

/// The hasher for [`Key::fingerprint`]. The whole process uses one hasher, so that an unchanged key has the
/// same fingerprint each time it is loaded.
static FINGERPRINT_HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Error: the key file of an issuer cannot be used. The error text contains no part of the file except the
/// ids of keys.
#[derive(Debug, Error)]
#[error("the key of {issuer} in {path} (auth.issuers): {reason}")]
pub struct KeyError {
    issuer: String,
    path: String,
    reason: String,
}

impl Issuer {
    /// Loads the keys in an issuer's key file. In a key set, unsupported keys and keys for encryption are
    /// skipped. Fails if the file cannot be read, contains no supported key, or contains a supported key that
    /// cannot be used.
    pub(super) fn load(config: &IssuerConfig) -> Result<Self, KeyError> {
        let path = config.key.path();
        let keys = read(path).and_then(|file| match &config.key {
            KeySource::Secret(_) => secret(&file).map(|secret| vec![hmac(secret)]),
            KeySource::Pem(_) => pem(&file),
            KeySource::Jwks(_) => jwks(&file),
        });
        match keys {
            Ok(keys) => Ok(Self::with_keys(config.issuer.clone(), keys)),
            Err(reason) => Err(KeyError {
                issuer: config.issuer.clone(),
                path: path.display().to_string(),
                reason,
            }),
        }
    }

    /// An issuer whose only key is this secret. No file is read.
    pub(super) fn with_secret(name: String, secret: &[u8]) -> Self {
        Self::with_keys(name, vec![hmac(secret)])
    }

    fn with_keys(name: String, mut keys: Vec<Key>) -> Self {
        for key in &mut keys {
            key.fingerprint = FINGERPRINT_HASHER.hash_one((&name, key.fingerprint));
        }
        Self { name, keys }
    }
}

/// Reads a key file. Fails with the reason if the file cannot be read, is not a regular file, or is longer
/// than `MAX_FILE_BYTES`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|err| err.to_string())?;
    if !metadata.is_file() {
        // Opening a FIFO, for example, would block until another process writes to it.
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|err| err.to_string())?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|err| err.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is longer than {MAX_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// The content of a secret file without the whitespace at its end, such as the last line break.
fn trimmed(file: &[u8]) -> &[u8] {
    file.trim_ascii_end()
}

/// Whether a file contains the start of a PEM block, even if other text precedes it.
pub(super) fn is_pem(file: &[u8]) -> bool {
    contains(file, b"-----BEGIN")
}

fn contains(file: &[u8], marker: &[u8]) -> bool {
    file.windows(marker.len()).any(|part| part == marker)
}

/// Returns the secret in a file, without whitespace at the end. Fails with the reason if the file contains a
/// PEM block or a JSON Web Key Set, or if the secret is too short.
pub(super) fn secret(file: &[u8]) -> Result<&[u8], String> {
    let secret = trimmed(file);
    // A public key must not become a secret: everyone who has the public key could then sign tokens.
    if is_pem(secret) || serde_json::from_slice::<JwkSet>(secret).is_ok() {
        return Err("this is a key in PEM form or a JSON Web Key Set, and no secret".to_owned());
    }
    key_check::check_secret_length(secret.len())?;
    Ok(secret)
}

fn hmac(secret: &[u8]) -> Key {
    Key {
        id: None,
        algorithms: vec![Algorithm::HS256],
        verifier: DecodingKey::from_secret(secret),
        fingerprint: FINGERPRINT_HASHER.hash_one(secret),
    }
}

fn pem(file: &[u8]) -> Result<Vec<Key>, String> {
    if contains(file, b"PRIVATE KEY") {
        return Err(
            "this is a private key; tokens are verified with the public one, which \
                    `openssl pkey -in private.pem -pubout` prints"
                .to_owned(),
        );
    }
    let verifier = DecodingKey::from_ed_pem(file)
        .or_else(|_| DecodingKey::from_ec_pem(file))
        .or_else(|_| DecodingKey::from_rsa_pem(file))
        .map_err(|_| "no public key in PEM form, of RSA, P-256 or Ed25519".to_owned())?;
    let algorithm = match verifier.family() {
        AlgorithmFamily::Ed => Algorithm::EdDSA,
        AlgorithmFamily::Rsa => Algorithm::RS256,
        // A key on another curve than P-256 also gets ES256 here, but the check below refuses it.
        _ => Algorithm::ES256,
    };
    key_check::check(&verifier)?;
    Ok(vec![Key {
        id: None,
        algorithms: vec![algorithm],
        verifier,
        fingerprint: FINGERPRINT_HASHER.hash_one(file),
    }])
}

fn jwks(file: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(file).map_err(|_| "no JSON Web Key Set (RFC 7517)")?;
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        let Some(algorithm) = algorithm(jwk) else {
            continue;
        };
        // The error of the library is not passed on, because it quotes a byte of the malformed value.
        let verifier = DecodingKey::from_jwk(jwk).map_err(|_| MALFORMED_JWK.to_owned());
        let checked = verifier.and_then(|key| key_check::check(&key).map(|()| key));
        let id = jwk.common.key_id.clone();
        keys.push(Key {
            verifier: checked.map_err(|reason| unusable(index, id.as_deref(), &reason))?,
            id,
            algorithms: vec![algorithm],
            fingerprint: FINGERPRINT_HASHER.hash_one(jwk),
        });
    }
    if keys.is_empty() {
        return Err("no key in it is for EdDSA, ES256, RS256 or HS256".to_owned());
    }
    Ok(keys)
}

/// Why [`DecodingKey::from_jwk`] refuses a key of a supported type.
const MALFORMED_JWK: &str = "it has a value that is not valid base64url";

/// The error text that says which key of a key set cannot be used, and why. `index` starts at 0.
fn unusable(index: usize, id: Option<&str>, reason: &str) -> String {
    let id = id.map_or_else(String::new, |id| format!(" (kid {id:?})"));
    format!("key {} of the set{id} cannot be used: {reason}", index + 1)
}

/// The only algorithm with which a key of a key set verifies tokens. `None`: the key is for encryption, its
/// type or curve is not supported, or its `alg` names another algorithm. Because each key has only one
/// algorithm, a public key is never used as a secret.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let of_kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        _ => return None,
    };
    let Jwk { common, .. } = jwk;
    let is_for_encryption = matches!(common.public_key_use, Some(PublicKeyUse::Encryption));
    let is_named = common
        .key_algorithm
        .is_none_or(|named| Algorithm::try_from(named).ok() == Some(of_kind));
    (is_named && !is_for_encryption).then_some(of_kind)
}
