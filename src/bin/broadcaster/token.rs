//! The command `broadcaster token`: creates an access token and prints it.

use std::{
    io::{self, Read as _},
    path::PathBuf,
};

use anyhow::Context as _;
use sse_broadcaster::{
    config::Config,
    token::{SigningKey, SigningSource, TokenRequest, mint},
};

use super::{Failure, args::TokenArgs, print};

/// Maximum length of a key on standard input, in bytes.
const MAX_KEY_BYTES: u64 = 1 << 20;

pub(crate) fn run(ask: &TokenArgs, config: &Config) -> Result<(), Failure> {
    let source = ask.key.clone().map(signing_source).transpose();
    let source = source.map_err(Failure::Failed)?;
    let request = TokenRequest {
        publish: ask.publish.clone(),
        publish_patterns: ask.publish_pattern.clone(),
        subscribe: ask.subscribe.clone(),
        subscribe_patterns: ask.subscribe_pattern.clone(),
        topics: ask.topic.clone(),
        topic_patterns: ask.topic_pattern.clone(),
        actions: ask.actions.clone(),
        payload: ask.payload.clone(),
        lifetime: ask.ttl,
        key: ask
            .issuer
            .clone()
            .zip(source)
            .map(|(issuer, source)| SigningKey { issuer, source }),
        algorithm: ask.algorithm,
    };
    let token = mint(config, &request).map_err(|err| Failure::Wrong(err.into()))?;
    print(format_args!("{token}"))
}

/// The key in a file, or on standard input if the path is `-`.
fn signing_source(path: PathBuf) -> anyhow::Result<SigningSource> {
    if path.as_os_str() != "-" {
        return Ok(SigningSource::File(path));
    }
    let mut text = Vec::new();
    let read = io::stdin()
        .lock()
        .take(MAX_KEY_BYTES + 1)
        .read_to_end(&mut text);
    read.context("cannot read the key from standard input")?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_KEY_BYTES,
        "the key on standard input is longer than {MAX_KEY_BYTES} bytes"
    );
    Ok(SigningSource::Text(text))
}
