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

/// Timeouts for connecting to the hub, and for a whole request with its response.
const CONNECT: Duration = Duration::from_secs(10);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Lifetime of a token that this command creates, long enough for input that arrives slowly.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The value of `--data` that makes each line of standard input an event.
const LINES: &str = "-";

/// Maximum length of the hub's response, in bytes. A longer one is an error.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

pub(crate) fn run(ask: &PublishArgs, config: &Config) -> Result<(), Failure> {
    let hub = match &ask.url {
        Some(url) => HubUrl::parse(url).map_err(|err| wrong(anyhow!(err).context("--url")))?,
        None => config.hub_url(),
    };
    let token = match &ask.token {
        Some(token) => token.clone(),
        None => made(ask, &hub, config).map_err(wrong)?,
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
        let line = line.context("standard input").map_err(Failure::Failed)?;
        publisher.publish(&line)?;
    }
    Ok(())
}

fn wrong(err: anyhow::Error) -> Failure {
    Failure::Wrong(err)
}

/// Creates a token with the config's secret. Its audience is `hub.url` of the config, or `hub` if that is not
/// set.
fn made(ask: &PublishArgs, hub: &HubUrl, config: &Config) -> anyhow::Result<String> {
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
        // A redirect would send the token to a host that the user did not name.
        .max_redirects(0)
        .timeout_connect(Some(CONNECT))
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
        // Reading to the end makes the connection reusable.
        let body = body.read_to_string().context("the hub's answer")?;
        let status = answer.status();
        if status != 200 {
            let problem: Option<serde_json::Value> = serde_json::from_str(&body).ok();
            let detail = problem
                .as_ref()
                .and_then(|problem| problem["detail"].as_str());
            let detail = detail.unwrap_or("it does not say why");
            return Err(anyhow!("{hub} answers {status}: {detail}"));
        }
        Ok(body)
    }
}
