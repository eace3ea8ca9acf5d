//! Loads the keys that verify tokens from files and from fetched key sets. Each key is bound
//! to one issuer and verifies only tokens with its own algorithms (RFC 8725).

use std::{
    collections::hash_map::RandomState,
    fs,
    fs::File,
    hash::BuildHasher as _,
    io::Read as _,
    path::Path,
    sync::{Arc, LazyLock},
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, JwkSet},
};
use serde_json::Value;
use thiserror::Error;

use super::{
    algorithms,
    issuer::{Action, IssuerConfig, KeySource},
    key_check,
    key_set::KeySet,
};
use crate::matching::{HubUrl, InvalidMatcher, Matcher};

/// Maximum number of keys in a key set. A token without `kid` may be verified with each of them.
const MAX_KEYS: usize = 100;

/// Maximum length of a key file, in bytes. A longer file is refused, because no key file is that long.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A trusted issuer and its keys.
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
    /// The key sets that are fetched for this issuer.
    pub(super) key_sets: Vec<Arc<KeySet>>,
}

/// A key that verifies tokens.
#[derive(Clone)]
pub(super) struct Key {
    /// The key's id. A token may name the key that signed it by this id, in the header member `kid`. `None`:
    /// the key has no id, so the `kid` of a token never excludes it.
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) verifier: DecodingKey,
    /// What the tokens that this key signed can grant.
    pub(super) scope: Arc<Scope>,
    /// Identifies the issuer, the key, its algorithms and its scope. As long as these do not change, the
    /// fingerprint is the same each time this process loads them.
    pub(super) fingerprint: u64,
}

/// What the tokens of an issuer can grant, according to the config.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    actions: Vec<Action>,
    /// Matchers for the topics that tokens can grant. `None`: all topics.
    topics: Option<Arc<[Matcher]>>,
}

impl Scope {
    /// Fails if one of the topics in the config is not a valid matcher.
    pub(super) fn of(config: &IssuerConfig, hub: &HubUrl) -> Result<Arc<Self>, InvalidMatcher> {
        let compile = |topics: &Vec<_>| {
            let topics = topics.iter().cloned();
            topics
                .map(|topic| Matcher::compile(topic, hub))
                .collect::<Result<Arc<[_]>, _>>()
        };
        Ok(Arc::new(Self {
            actions: config.actions.clone(),
            topics: config.topics.as_ref().map(compile).transpose()?,
        }))
    }

    pub(super) fn allows(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    pub(super) fn topics(&self) -> Option<&Arc<[Matcher]>> {
        self.topics.as_ref()
    }
}

/// The hasher for [`Key::fingerprint`]. The whole process uses one hasher, so that an unchanged key has the
/// same fingerprint each time it is loaded.
static FINGERPRINT_HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Error: a source of an issuer's keys cannot be used. The error text contains no part of a key file except
/// the ids of keys.
#[derive(Debug, Error)]
#[error("auth.issuers, table {table} ({issuer}): {key}: {reason}")]
pub struct KeyError {
    /// The number of the table, starting at 1.
    table: usize,
    issuer: String,
    /// The key of the config with its value, or only the key.
    key: String,
    reason: String,
}

impl KeyError {
    pub(super) fn new(table: usize, config: &IssuerConfig, key: String, reason: String) -> Self {
        Self {
            table,
            issuer: config.issuer.clone(),
            key,
            reason,
        }
    }
}

/// Loads the keys of an issuer from its file. In a key set, unsupported keys and keys for encryption are
/// skipped. Returns no keys if the source is a URL. Fails if the file cannot be read, contains no key with one
/// of the issuer's algorithms, or if one of these keys cannot be used. `table` is the number of the issuer
/// in the config, starting at 1.
pub(super) fn load(
    config: &IssuerConfig,
    scope: &Arc<Scope>,
    table: usize,
) -> Result<Vec<Key>, KeyError> {
    let keys = match &config.keys {
        KeySource::SecretFile(path) => read(path).and_then(|file| {
            let secret = secret(&file)?;
            Ok(vec![UnboundKey::of_secret(secret)?])
        }),
        KeySource::PemFile(path) => read(path).and_then(|file| pem(&file)),
        KeySource::JwksFile(path) => read(path).and_then(|file| jwks(&file, SetSource::File)),
        KeySource::JwksUrl(_) => return Ok(Vec::new()),
    };
    let keys = keys.and_then(|keys| bind(keys, config, scope));
    keys.map_err(|reason| {
        let key = format!("{} = \"{}\"", config.keys.key(), config.keys);
        KeyError::new(table, config, key, reason)
    })
}

/// The keys of an issuer in a key set that was fetched. Keys that are unsupported or cannot be used are skipped.
/// Fails with the reason if no key is left.
pub(super) fn of_set(
    set: &[u8],
    config: &IssuerConfig,
    scope: &Arc<Scope>,
) -> Result<Vec<Key>, String> {
    bind(jwks(set, SetSource::Url)?, config, scope)
}

/// An issuer whose only key is this secret. No file is read.
pub(super) fn of_secret(issuer: String, secret: &[u8], hub: &HubUrl) -> Result<Issuer, String> {
    let config = IssuerConfig::new(issuer, KeySource::SecretFile(Path::new("").into()));
    let scope = Scope::of(&config, hub).map_err(|err| err.to_string())?;
    let keys = bind(vec![UnboundKey::of_secret(secret)?], &config, &scope)?;
    Ok(Issuer {
        name: config.issuer,
        keys,
        key_sets: Vec::new(),
    })
}

/// A key that is not bound to an issuer yet.
struct UnboundKey {
    id: Option<String>,
    /// The algorithms that the key allows.
    algorithms: Vec<Algorithm>,
    verifier: DecodingKey,
    fingerprint: u64,
}

/// Binds keys to an issuer, and leaves out those that allow none of the issuer's algorithms. Fails with the
/// reason if none is left.
fn bind(
    keys: Vec<UnboundKey>,
    config: &IssuerConfig,
    scope: &Arc<Scope>,
) -> Result<Vec<Key>, String> {
    let allowed: Vec<_> = keys.iter().flat_map(|key| key.algorithms.clone()).collect();
    let bound = keys.into_iter().filter_map(|mut key| {
        if let Some(wanted) = &config.algorithms {
            key.algorithms
                .retain(|algorithm| wanted.contains(algorithm));
        }
        let parts = (&config.issuer, key.fingerprint, &key.algorithms, scope);
        let fingerprint = FINGERPRINT_HASHER.hash_one(parts);
        (!key.algorithms.is_empty()).then(|| Key {
            fingerprint,
            id: key.id,
            algorithms: key.algorithms,
            verifier: key.verifier,
            scope: scope.clone(),
        })
    });
    let bound: Vec<_> = bound.collect();
    if bound.is_empty() {
        return Err(format!(
            "no key in it allows one of the algorithms of this issuer (algorithms); allowed are {}",
            algorithms::names(&allowed)
        ));
    }
    Ok(bound)
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

/// Reads the secret in a file, without whitespace at the end. Fails with the reason if the file cannot be read,
/// or contains a key in another form or a secret that is too short.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let file = read(path)?;
    Ok(secret(&file)?.to_vec())
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

impl UnboundKey {
    /// A key for HMAC. Fails with the reason if the secret is too short for each algorithm.
    fn of_secret(secret: &[u8]) -> Result<Self, String> {
        key_check::check_secret_length(secret.len())?;
        Ok(Self {
            id: None,
            algorithms: algorithms::of_secret(secret.len()),
            verifier: DecodingKey::from_secret(secret),
            fingerprint: FINGERPRINT_HASHER.hash_one(secret),
        })
    }

    /// A key of a key set that allows these algorithms. Fails with the reason if it cannot be used.
    fn of_jwk(jwk: &Jwk, mut algorithms: Vec<Algorithm>) -> Result<Self, String> {
        // The error of the library is not passed on, because it quotes a byte of the malformed value.
        let verifier = DecodingKey::from_jwk(jwk).map_err(|_| MALFORMED_JWK.to_owned())?;
        if let AlgorithmParameters::OctetKey(_) = jwk.algorithm {
            let secret = verifier.try_get_as_bytes().map_err(|_| MALFORMED_JWK)?;
            let long_enough = algorithms::of_secret(secret.len());
            key_check::check_secret_length(secret.len())?;
            let named = algorithms::names(&algorithms);
            algorithms.retain(|algorithm| long_enough.contains(algorithm));
            if algorithms.is_empty() {
                return Err(format!("the secret is too short for {named}"));
            }
        } else {
            algorithms::of_public_key(&verifier)?;
        }
        Ok(Self {
            id: jwk.common.key_id.clone(),
            algorithms,
            verifier,
            fingerprint: FINGERPRINT_HASHER.hash_one(jwk),
        })
    }
}

fn pem(file: &[u8]) -> Result<Vec<UnboundKey>, String> {
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
        .map_err(|_| "no public key in PEM form, of RSA, P-256, P-384 or Ed25519".to_owned())?;
    Ok(vec![UnboundKey {
        id: None,
        algorithms: algorithms::of_public_key(&verifier)?.to_vec(),
        verifier,
        fingerprint: FINGERPRINT_HASHER.hash_one(file),
    }])
}

/// Parses a key set without the keys that cannot be parsed. `None`: it is not a key set.
fn of_readable_keys(file: &[u8]) -> Option<JwkSet> {
    let set: Value = serde_json::from_slice(file).ok()?;
    let keys = set.get("keys")?.as_array()?;
    let keys = keys
        .iter()
        .filter_map(|key| serde_json::from_value(key.clone()).ok());
    Some(JwkSet {
        keys: keys.collect(),
    })
}

/// Where a key set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SetSource {
    /// A key that cannot be used is an error, because the operator can correct it.
    File,
    /// A key that cannot be used is skipped. So are secrets: everyone who can fetch them could sign tokens.
    Url,
}

fn jwks(file: &[u8], source: SetSource) -> Result<Vec<UnboundKey>, String> {
    let set = match source {
        SetSource::File => serde_json::from_slice(file).ok(),
        SetSource::Url => of_readable_keys(file),
    };
    let set: JwkSet = set.ok_or("no JSON Web Key Set (RFC 7517)")?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("it has more than {MAX_KEYS} keys"));
    }
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        let algorithms = algorithms::of_jwk(jwk);
        let is_secret = matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
        if algorithms.is_empty() || (is_secret && source == SetSource::Url) {
            continue;
        }
        let id = jwk.common.key_id.as_deref();
        match UnboundKey::of_jwk(jwk, algorithms) {
            Ok(key) => keys.push(key),
            Err(reason) if source == SetSource::File => return Err(unusable(index, id, &reason)),
            Err(reason) => log::debug!("{}", unusable(index, id, &reason)),
        }
    }
    if keys.is_empty() {
        let all = algorithms::names(&algorithms::ALL);
        return Err(format!("no key in it is for one of {all}"));
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
