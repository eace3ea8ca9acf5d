//! The command `broadcaster publish`: sends events to a hub on this machine or another.

use std::{io::BufRead as _, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use sse_broadcaster::{
    HubUrl,
    config::Config,
    token::{TokenRequest, mint},
};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig, TlsProvider},
};

use super::{Failure, args::PublishArgs, print};

/// Timeout for connecting to the hub.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a whole request: from connecting to the end of the response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Lifetime of the token that this command creates. It is long, because with `--data -` the token is used
/// until standard input ends.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The value of `--data` that makes each line of standard input an event.
const LINES: &str = "-";

/// Maximum length of the hub's response, in bytes. A longer response is an error.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

pub(crate) fn run(ask: &PublishArgs, config: &Config) -> Result<(), Failure> {
    let hub = match &ask.url {
        Some(url) => HubUrl::parse(url).map_err(|err| wrong(anyhow!(err).context("--url")))?,
        None => config.hub_url(),
    };
    let token = match &ask.token {
        Some(token) => token.clone(),
        None => create_token(ask, &hub, config).map_err(wrong)?,
    };
    let publisher = Publisher {
        agent: agent(),
        hub,
        authorization: format!("Bearer {token}"),
        ask,
    };
    if ask.data != LINES {
        return publisher.publish(&ask.data);
    }
    for line in std::io::stdin().lock().lines() {
        let line = line
            .context("cannot read standard input")
            .map_err(Failure::Failed)?;
        publisher.publish(&line)?;
    }
    Ok(())
}

fn wrong(err: anyhow::Error) -> Failure {
    Failure::Wrong(err)
}

/// Creates a token with the secret of an issuer in the config. The token's audience is `hub.url` of the
/// config, or the URL `hub` if `hub.url` is not set.
fn create_token(ask: &PublishArgs, hub: &HubUrl, config: &Config) -> anyhow::Result<String> {
    let mut config = config.clone();
    config.hub.url.get_or_insert_with(|| hub.clone());
    let request = TokenRequest {
        publish: ask.topic.clone(),
        lifetime: LIFETIME,
        ..TokenRequest::default()
    };
    mint(&config, &request).context(
        "there is no token: name one with --token or the variable BROADCASTER_TOKEN, such as the one \
         that the server printed when it was started",
    )
}

/// The HTTP client. It trusts the same certificate authorities as the system.
fn agent() -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // Redirects are not followed: they would send the token to a host that the user did not name.
        .max_redirects(0)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(RESPONSE_TIMEOUT))
        .build()
        .new_agent()
}

struct Publisher<'a> {
    agent: Agent,
    hub: HubUrl,
    authorization: String,
    ask: &'a PublishArgs,
}

impl Publisher<'_> {
    /// Publishes an event, and prints its id.
    fn publish(&self, data: &str) -> Result<(), Failure> {
        let id = self.send(data).map_err(Failure::Failed)?;
        print(format_args!("{id}"))
    }

    /// Publishes an event, and returns its id.
    fn send(&self, data: &str) -> anyhow::Result<String> {
        let ask = self.ask;
        let mut form: Vec<(&str, String)> = Vec::new();
        form.extend(ask.topic.iter().map(|topic| ("topic", topic.clone())));
        form.push(("data", data.to_owned()));
        form.extend(ask.private.then(|| ("private", "on".to_owned())));
        form.extend(ask.id.iter().map(|id| ("id", id.clone())));
        form.extend(ask.r#type.iter().map(|kind| ("type", kind.clone())));
        form.extend(ask.retry.iter().map(|ms| ("retry", ms.to_string())));
        let hub = self.hub.as_str();
        let mut answer = self
            .agent
            .post(hub)
            .header("Authorization", &self.authorization)
            .send_form(form)
            .with_context(|| format!("cannot publish to {hub}"))?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES);
        // The connection can be reused only if the response is read to its end.
        let body = body
            .read_to_string()
            .context("cannot read the response of the hub")?;
        let status = answer.status();
        if status != 200 {
            let problem: Option<serde_json::Value> = serde_json::from_str(&body).ok();
            let detail = problem
                .as_ref()
                .and_then(|problem| problem["detail"].as_str());
            let detail = detail.unwrap_or("no reason was given");
            return Err(anyhow!("{hub} answers {status}: {detail}"));
        }
        Ok(body)
    }
}
