//! Creates access tokens from a config, for `broadcaster token` and for other programs.

use std::{fmt, path::PathBuf, time::Duration};

use jsonwebtoken::Algorithm;
use thiserror::Error;

use crate::{
    auth::{Action, Grant, KeySource, MintError, Signer},
    config::{Config, LimitsConfig},
    matching::{Compiler, Compiling, InvalidMatcher, MatcherText, MatcherType},
};

/// What a token allows, and for how long. The topic `*` means every topic. Patterns are URL Patterns.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// Topics that the token may publish on.
    pub publish: Vec<String>,
    /// Patterns of topics that the token may publish on.
    pub publish_patterns: Vec<String>,
    /// Topics whose private events the token may read.
    pub subscribe: Vec<String>,
    /// Patterns of topics whose private events the token may read.
    pub subscribe_patterns: Vec<String>,
    /// Topics on which the token allows `actions`.
    pub topics: Vec<String>,
    /// Patterns of topics on which the token allows `actions`.
    pub topic_patterns: Vec<String>,
    /// What the token allows on `topics` and `topic_patterns`.
    pub actions: Vec<Action>,
    /// A JSON object that the hub shows with the active subscriptions of the token's bearer.
    pub payload: Option<String>,
    /// Lifetime, 1 s to 10 years; fractions of a second are dropped.
    pub lifetime: Duration,
    /// The key that signs the token. `None`: the secret of the first issuer in the config that has a secret.
    pub key: Option<SigningKey>,
    /// The algorithm of the signature. `None`: the first that the key allows, and the issuer in the config.
    pub algorithm: Option<Algorithm>,
}

/// A key that signs tokens.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The issuer, which tokens name in the claim `iss`.
    pub issuer: String,
    /// Where the key is: a private key in PEM form (PKCS#8; Ed25519, P-256, P-384 or RSA), or a secret.
    pub source: SigningSource,
}

/// Where a signing key is.
#[derive(Clone)]
pub enum SigningSource {
    /// In this file.
    File(PathBuf),
    /// This is its text.
    Text(Vec<u8>),
}

impl fmt::Debug for SigningSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

/// Why no token was created.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The token would allow nothing.
    #[error("the token allows nothing: name a topic to publish on or to subscribe to")]
    Nothing,
    /// The lifetime is shorter than 1 s or longer than 10 years.
    #[error("the lifetime of a token must be at least 1s and at most 10 years")]
    Lifetime,
    /// The payload is not a JSON object.
    #[error("the payload must be a JSON object, such as {{\"name\":\"Alice\"}}")]
    Payload,
    /// There is a payload, but no topic to subscribe to.
    #[error(
        "a payload is shown with active subscriptions, so the token must allow subscribing to a topic"
    )]
    PayloadWithoutTopic,
    /// A topic or pattern is not a valid matcher.
    #[error("{text}: {reason}")]
    Matcher {
        /// The topic or pattern.
        text: String,
        /// Why the topic or pattern is invalid.
        reason: String,
    },
    /// The token exceeds a limit of this config, so a hub with this config would refuse it. Contains the key
    /// of the limit.
    #[error("the hub would refuse the token, because it exceeds a limit ({0})")]
    TooLarge(&'static str),
    /// No key was given, and the config has no secret.
    #[error(
        "there is no secret to sign with: create one with `openssl rand -base64 32 > hub.secret`, and \
         add a table [[auth.issuers]] with issuer = \"https://example.com\" and secret_file = \"hub.secret\" \
         to the config; or name a key with --issuer and --key"
    )]
    NoKey,
    /// The key cannot be read or cannot sign.
    #[error("{0}")]
    Key(String),
}

impl From<MintError> for TokenError {
    fn from(err: MintError) -> Self {
        Self::Key(err.to_string())
    }
}

/// Creates a token for the hub of this config.
///
/// Fails if the token would allow nothing, its lifetime is out of range, a matcher is invalid, the token
/// exceeds a limit of the config, or there is no key that can sign. [`TokenError`] says which.
pub fn mint(config: &Config, request: &TokenRequest) -> Result<String, TokenError> {
    const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let hub = config.hub_url();
    let compiler = Compiler::new(hub.clone());
    let mut compiling = compiler.begin();
    let limits = &config.limits;
    let mut matchers =
        |topics: &_, patterns: &_| matchers(limits, &mut compiling, topics, patterns);
    let payload = request.payload.as_deref().map(serde_json::from_str);
    let payload = payload.transpose().map_err(|_| TokenError::Payload)?;
    let mut grants = Vec::new();
    for (actions, topics, patterns) in [
        (
            &[Action::Publish][..],
            &request.publish,
            &request.publish_patterns,
        ),
        (
            &[Action::Subscribe],
            &request.subscribe,
            &request.subscribe_patterns,
        ),
        (&request.actions, &request.topics, &request.topic_patterns),
    ] {
        let topics = matchers(topics, patterns)?;
        if !topics.is_empty() && !actions.is_empty() {
            grants.push(Grant {
                actions: actions.to_vec(),
                payload: payload
                    .clone()
                    .filter(|_| actions.contains(&Action::Subscribe)),
                topics,
            });
        }
    }
    if grants.is_empty() {
        return Err(TokenError::Nothing);
    }
    if payload.is_some() && grants.iter().all(|grant| grant.payload.is_none()) {
        return Err(TokenError::PayloadWithoutTopic);
    }
    if !(Duration::from_secs(1)..=MAX_LIFETIME).contains(&request.lifetime) {
        return Err(TokenError::Lifetime);
    }
    let signer = signer(config, request)?;
    let token = signer.sign(&hub, &grants, request.lifetime)?;
    if token.len() > limits.token {
        return Err(TokenError::TooLarge("limits.token"));
    }
    Ok(token)
}

/// The key that the request names, or else the secret of the first issuer in the config that has one.
fn signer(config: &Config, request: &TokenRequest) -> Result<Signer, TokenError> {
    let wanted = request.algorithm.map(|algorithm| vec![algorithm]);
    if let Some(SigningKey { issuer, source }) = request.key.clone() {
        return Ok(match source {
            SigningSource::File(path) => Signer::load(issuer, &path, wanted.as_deref())?,
            SigningSource::Text(text) => Signer::with_key(
                issuer,
                &text,
                "the given text".to_owned(),
                wanted.as_deref(),
            )?,
        });
    }
    let with_secret = config
        .auth
        .issuers
        .iter()
        .find_map(|issuer| match &issuer.keys {
            KeySource::SecretFile(path) => Some((issuer, path)),
            _ => None,
        });
    let (issuer, path) = with_secret.ok_or(TokenError::NoKey)?;
    let algorithms = wanted.as_deref().or(issuer.algorithms.as_deref());
    Ok(Signer::load(issuer.issuer.clone(), path, algorithms)?)
}

fn matchers(
    limits: &LimitsConfig,
    compiling: &mut Compiling<'_>,
    topics: &[String],
    patterns: &[String],
) -> Result<Vec<MatcherText>, TokenError> {
    if topics.len() + patterns.len() > limits.token_topics {
        return Err(TokenError::TooLarge("limits.token_topics"));
    }
    let topics = topics.iter().map(|topic| (MatcherType::Exact, topic));
    let patterns = patterns
        .iter()
        .map(|pattern| (MatcherType::UrlPattern, pattern));
    let matcher = |(kind, text): (MatcherType, &String)| {
        let parsed = MatcherText::parse(kind, text, limits.pattern);
        let compiled = parsed.and_then(|written| compiling.compile(written));
        compiled
            .map(|matcher| matcher.written().clone())
            .map_err(|reason: InvalidMatcher| TokenError::Matcher {
                text: text.clone(),
                reason: reason.to_string(),
            })
    };
    topics.chain(patterns).map(matcher).collect()
}
