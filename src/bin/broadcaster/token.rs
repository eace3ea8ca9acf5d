//! The command `broadcaster token`: creates an access token and prints it.

use sse_broadcaster::{
    config::Config,
    token::{SigningKey, TokenRequest, mint},
};

use super::{Failure, args::TokenArgs, print};

pub(crate) fn run(ask: &TokenArgs, config: &Config) -> Result<(), Failure> {
    let request = TokenRequest {
        publish: ask.publish.clone(),
        publish_patterns: ask.publish_pattern.clone(),
        subscribe: ask.subscribe.clone(),
        subscribe_patterns: ask.subscribe_pattern.clone(),
        lifetime: ask.ttl,
        key: ask
            .issuer
            .clone()
            .zip(ask.key.clone())
            .map(|(issuer, path)| SigningKey { issuer, path }),
    };
    let token = mint(config, &request).map_err(|err| Failure::Wrong(err.into()))?;
    print(format_args!("{token}"))
}
