//! Making access tokens with what a config knows: `broadcaster token`, or your own program.

use std::{path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{
    auth::{Grants, KeySource, MintError, Signer},
    config::{Config, LimitsConfig},
    matching::{Compiler, Compiling, InvalidMatcher, MatcherText, MatcherType},
};

/// What a token is to allow, and for how long. A topic `*` means every topic; patterns are URL
/// Patterns.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// Topics that may be published on.
    pub publish: Vec<String>,
    /// The same as patterns.
    pub publish_patterns: Vec<String>,
    /// Topics whose private events may be read.
    pub subscribe: Vec<String>,
    /// The same as patterns.
    pub subscribe_patterns: Vec<String>,
    /// How long it is good, in whole seconds: at least one, and at most ten years.
    pub lifetime: Duration,
    /// The key it is signed with; `None`: the secret of the first issuer in the config that has one.
    pub key: Option<SigningKey>,
}

/// A key to sign with.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// As tokens name whoever makes them (`iss`).
    pub issuer: String,
    /// A file with a private key in PEM form (PKCS#8; Ed25519, P-256 or RSA), or a secret.
    pub path: PathBuf,
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It would allow nothing.
    #[error("a token that allows nothing: name a topic to publish on or to subscribe to")]
    Nothing,
    /// It would be over before it is used, or never.
    #[error("a token is good for at least 1s and at most 10 years")]
    Lifetime,
    /// Something asked for is no matcher.
    #[error("{text}: {reason}")]
    Matcher {
        /// What was asked for.
        text: String,
        /// Why not.
        reason: String,
    },
    /// The hub of this config would refuse it.
    #[error("the hub would refuse a token that is so large ({0})")]
    TooLarge(&'static str),
    /// There is nothing to sign with.
    #[error(
        "there is no secret to sign with: make one with `openssl rand -base64 32 > hub.secret`, and \
         have the config say auth.issuers = [\"https://example.com secret:hub.secret\"]; or name a \
         key with --issuer and --key"
    )]
    NoKey,
    /// The key cannot sign.
    #[error("{0}")]
    Key(String),
}

impl From<MintError> for TokenError {
    fn from(err: MintError) -> Self {
        Self::Key(err.to_string())
    }
}

/// Makes a token for the hub of this config.
///
/// Fails if it would allow nothing, be good for too short or too long, name what is no matcher, or be
/// larger than the config's limits; and if there is no key, or one that cannot be read or cannot sign.
/// [`TokenError`] says which.
pub fn mint(config: &Config, request: &TokenRequest) -> Result<String, TokenError> {
    const MAX_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let hub = config.hub_url();
    let compiler = Compiler::new(hub.clone());
    let mut compiling = compiler.begin();
    let limits = &config.limits;
    let mut matchers =
        |topics: &_, patterns: &_| matchers(limits, &mut compiling, topics, patterns);
    let grants = Grants {
        publish: matchers(&request.publish, &request.publish_patterns)?,
        subscribe: matchers(&request.subscribe, &request.subscribe_patterns)?,
    };
    if grants.publish.is_empty() && grants.subscribe.is_empty() {
        return Err(TokenError::Nothing);
    }
    if !(Duration::from_secs(1)..=MAX_LIFETIME).contains(&request.lifetime) {
        return Err(TokenError::Lifetime);
    }
    let key = request.key.clone().or_else(|| configured(config));
    let SigningKey { issuer, path } = key.ok_or(TokenError::NoKey)?;
    let signer = Signer::load(issuer, &path)?;
    let token = signer.sign(&hub, &grants, request.lifetime)?;
    if token.len() > limits.token {
        return Err(TokenError::TooLarge("limits.token"));
    }
    Ok(token)
}

/// The first secret of the config.
fn configured(config: &Config) -> Option<SigningKey> {
    config
        .auth
        .issuers
        .iter()
        .find_map(|issuer| match &issuer.key {
            KeySource::Secret(path) => Some(SigningKey {
                issuer: issuer.issuer.clone(),
                path: path.clone(),
            }),
            KeySource::Pem(_) | KeySource::Jwks(_) => None,
        })
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
