//! The keys that tokens are verified with, each bound to one issuer and to the algorithms that it is
//! for (RFC 8725). Read from files, anew whenever the config is.

use std::{
    collections::hash_map::RandomState, fs::File, hash::BuildHasher as _, io::Read as _,
    path::Path, sync::LazyLock,
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{JwkSet, PublicKeyUse},
};
use thiserror::Error;

use crate::config::{IssuerConfig, KeySource};

/// The longest key file, in bytes. A longer one is something else.
const LONGEST: u64 = 1 << 20;

/// An HMAC secret is no shorter (RFC 7518, section 3.2), in bytes.
pub(super) const SHORTEST_SECRET: usize = 32;

/// Somebody whose tokens are trusted.
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
}

/// A key, and what it is for.
pub(super) struct Key {
    /// By which a token may say that it was signed with it.
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) verifier: DecodingKey,
    /// Tells it from other keys, and from the same of another issuer.
    pub(super) mark: u64,
}

/// Makes the marks of keys, which are the same whenever a key is read.
static MARKS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// An issuer's keys cannot be read. What a file holds is never told.
#[derive(Debug, Error)]
#[error("the key of {issuer} in {path} (auth.issuers): {reason}")]
pub struct KeyError {
    issuer: String,
    path: String,
    reason: String,
}

impl Issuer {
    /// Reads an issuer's keys.
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

    /// An issuer with one secret.
    pub(super) fn with_secret(name: String, secret: &[u8]) -> Self {
        Self::with_keys(name, vec![hmac(secret)])
    }

    fn with_keys(name: String, mut keys: Vec<Key>) -> Self {
        for key in &mut keys {
            key.mark = MARKS.hash_one((&name, key.mark));
        }
        Self { name, keys }
    }
}

/// Reads a key's file, which is no longer than keys are.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|err| err.to_string())?;
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|err| err.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("the file is longer than {LONGEST} bytes"));
    }
    Ok(bytes)
}

/// A secret as a text file has it: a line break at its end does not count.
fn trimmed(file: &[u8]) -> &[u8] {
    file.trim_ascii_end()
}

/// Whether a file holds something in PEM form, be it behind other text.
pub(super) fn is_pem(file: &[u8]) -> bool {
    holds(file, b"-----BEGIN")
}

fn holds(file: &[u8], marker: &[u8]) -> bool {
    file.windows(marker.len()).any(|part| part == marker)
}

/// The secret in a file.
pub(super) fn secret(file: &[u8]) -> Result<&[u8], String> {
    let secret = trimmed(file);
    // Whoever has the public key could sign with it.
    if is_pem(secret) || serde_json::from_slice::<JwkSet>(secret).is_ok() {
        return Err("this is a key in PEM form or a JSON Web Key Set, and no secret".to_owned());
    }
    if secret.len() < SHORTEST_SECRET {
        return Err(format!(
            "a secret has at least {SHORTEST_SECRET} bytes, this has {}; make one with \
             `openssl rand -base64 32`",
            secret.len()
        ));
    }
    Ok(secret)
}

fn hmac(secret: &[u8]) -> Key {
    Key {
        id: None,
        algorithms: vec![Algorithm::HS256],
        verifier: DecodingKey::from_secret(secret),
        mark: MARKS.hash_one(secret),
    }
}

fn pem(file: &[u8]) -> Result<Vec<Key>, String> {
    if holds(file, b"PRIVATE KEY") {
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
    let algorithms = algorithms(&verifier).ok_or("the key is of no kind that is supported")?;
    Ok(vec![Key {
        id: None,
        algorithms,
        verifier,
        mark: MARKS.hash_one(file),
    }])
}

fn jwks(file: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(file).map_err(|_| "no JSON Web Key Set (RFC 7517)")?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        let common = &jwk.common;
        if matches!(common.public_key_use, Some(PublicKeyUse::Encryption)) {
            continue;
        }
        let Ok(verifier) = DecodingKey::from_jwk(jwk) else {
            continue;
        };
        let Some(mut algorithms) = algorithms(&verifier) else {
            continue;
        };
        if let Some(named) = common.key_algorithm {
            let named = Algorithm::try_from(named).ok();
            algorithms.retain(|algorithm| Some(*algorithm) == named);
        }
        if algorithms.is_empty() {
            continue;
        }
        keys.push(Key {
            id: common.key_id.clone(),
            algorithms,
            verifier,
            mark: MARKS.hash_one(jwk),
        });
    }
    if keys.is_empty() {
        return Err("no key in it is for EdDSA, ES256, RS256 or HS256".to_owned());
    }
    Ok(keys)
}

/// What a key is for, of the algorithms that are supported. That it fits its algorithm is what
/// keeps a public key from being taken for a secret.
fn algorithms(key: &DecodingKey) -> Option<Vec<Algorithm>> {
    /// An uncompressed point of P-256.
    const P256_POINT: usize = 65;
    let bytes = || key.try_get_as_bytes().map(<[u8]>::len).unwrap_or(0);
    match key.family() {
        AlgorithmFamily::Ed => Some(vec![Algorithm::EdDSA]),
        AlgorithmFamily::Ec if bytes() == P256_POINT => Some(vec![Algorithm::ES256]),
        AlgorithmFamily::Rsa => Some(vec![Algorithm::RS256]),
        AlgorithmFamily::Hmac if bytes() >= SHORTEST_SECRET => Some(vec![Algorithm::HS256]),
        AlgorithmFamily::Ec | AlgorithmFamily::Hmac => None,
    }
}
