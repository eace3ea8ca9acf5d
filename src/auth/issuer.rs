//! Defines which issuers are trusted, where their keys are, and what their tokens can grant. Keys are in
//! separate files or behind a URL, so that a config that is shown or printed contains no key.

use std::{fmt, path::PathBuf};

use jsonwebtoken::Algorithm;
use url::Url;

use crate::matching::MatcherText;

/// A trusted issuer of tokens, with the source of its keys. An issuer with several sources is listed once for
/// each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IssuerConfig {
    /// The issuer's name, as in the claim `iss`.
    pub issuer: String,
    /// Where the keys are.
    pub keys: KeySource,
    /// The algorithms with which the keys verify tokens. `None`: all that a key allows.
    pub algorithms: Option<Vec<Algorithm>>,
    /// What tokens that these keys signed can allow. Other actions in such a token are ignored.
    pub actions: Vec<Action>,
    /// A token that these keys signed allows nothing on a topic that none of these matchers matches. `None`:
    /// there is no such limit.
    pub(crate) topics: Option<Vec<MatcherText>>,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a secret that the issuer and the hub share, for HS256, HS384 and HS512. Whitespace at its
    /// end is not part of the secret.
    SecretFile(PathBuf),
    /// A file with one public key in PEM form: of RSA, P-256, P-384 or Ed25519.
    PemFile(PathBuf),
    /// A file with a JSON Web Key Set (RFC 7517). Keys for other algorithms are ignored.
    JwksFile(PathBuf),
    /// The URL of a JSON Web Key Set, which the server fetches again and again.
    JwksUrl(Url),
}

/// What a token can allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publish events.
    Publish,
    /// Subscribe, and read private events.
    Subscribe,
}

impl Action {
    /// The name of the action in the Mercure protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }

    /// The action with this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = [Self::Publish, Self::Subscribe].into_iter();
        all.find(|action| action.name() == name)
    }
}

impl IssuerConfig {
    /// An issuer whose tokens can grant everything, with each algorithm that its keys allow.
    pub fn new(issuer: String, keys: KeySource) -> Self {
        Self {
            issuer,
            keys,
            algorithms: None,
            actions: vec![Action::Publish, Action::Subscribe],
            topics: None,
        }
    }
}

impl KeySource {
    /// The key of `auth.issuers` that names this source.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::SecretFile(_) => "secret_file",
            Self::PemFile(_) => "pem_file",
            Self::JwksFile(_) => "jwks_file",
            Self::JwksUrl(_) => "jwks_url",
        }
    }
}

/// Writes the path or the URL.
impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretFile(path) | Self::PemFile(path) | Self::JwksFile(path) => {
                path.display().fmt(f)
            }
            Self::JwksUrl(url) => f.write_str(url.as_str()),
        }
    }
}
