//! The command `broadcaster publish`: sends events to a hub on this machine or another. A request that fails
//! temporarily is repeated, with an idempotency key, so that no event is published twice.

mod bulk;

use std::{
    fs::File,
    io::{BufReader, Stdin},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use sse_broadcaster::{
    HubUrl,
    config::Config,
    token::{TokenRequest, mint},
};
use ureq::{
    Agent, Body, RequestBuilder,
    http::Response,
    tls::{RootCerts, TlsConfig, TlsProvider},
    typestate::WithBody,
};

use super::{Failure, args::PublishArgs, complain, print};

/// Timeout for connecting to the hub.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a whole request: from connecting to the end of the response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Lifetime of the token that this command creates. It is long, because with `--data -` the token is used
/// until standard input ends.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The value of `--data` and `--ndjson` that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Maximum length of the hub's response to one update, in bytes. A longer response is an error.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Pause before the first repetition of a request. It doubles with each repetition, up to the maximum. The
/// actual pause is a random part of it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);

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
    match &ask.ndjson {
        Some(path) if path.as_os_str() == STANDARD_INPUT => bulk::publish(&publisher, stdin()),
        Some(path) => {
            let file = File::open(path);
            let file = file.with_context(|| format!("cannot open {} (--ndjson)", path.display()));
            bulk::publish(&publisher, BufReader::new(file.map_err(wrong)?))
        }
        None if ask.data == STANDARD_INPUT => {
            if ask.id.is_some() {
                let err =
                    anyhow!("--id cannot be used with --data -: each line would have the same id");
                return Err(wrong(err));
            }
            bulk::publish(&publisher, stdin())
        }
        None => {
            let id = publisher.send(&ask.data).map_err(Failure::Failed)?;
            print(format_args!("{id}"))
        }
    }
}

fn stdin() -> BufReader<Stdin> {
    BufReader::new(std::io::stdin())
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
        // The topics of a file are not known before it is read.
        publish: if ask.ndjson.is_some() {
            vec!["*".to_owned()]
        } else {
            ask.topic.clone()
        },
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

/// Why an attempt failed.
enum FailedAttempt {
    /// Trying again cannot help.
    Final(anyhow::Error),
    /// The request may succeed if it is repeated.
    Temporary(anyhow::Error),
}

impl Publisher<'_> {
    /// Publishes an event with this data, and returns its id. Repeats the request, with the same idempotency
    /// key, while it fails temporarily.
    fn send(&self, data: &str) -> anyhow::Result<String> {
        let ask = self.ask;
        let mut form: Vec<(&str, String)> = Vec::new();
        form.extend(ask.topic.iter().map(|topic| ("topic", topic.clone())));
        form.push(("data", data.to_owned()));
        form.extend(ask.private.then(|| ("private", "on".to_owned())));
        form.extend(ask.id.iter().map(|id| ("id", id.clone())));
        form.extend(ask.r#type.iter().map(|kind| ("type", kind.clone())));
        form.extend(ask.retry.iter().map(|ms| ("retry", ms.to_string())));
        let key = new_key();
        self.retry(|| {
            let request = self.request().header("Idempotency-Key", &key);
            let sent = request.send_form(form.iter().map(|(name, value)| (*name, value.as_str())));
            self.body_of(sent, MAX_ANSWER_BYTES)
        })
    }

    /// Repeats `attempt` while it fails temporarily, at most for `--retry-for`.
    fn retry<T>(&self, mut attempt: impl FnMut() -> Result<T, FailedAttempt>) -> anyhow::Result<T> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let err = match attempt() {
                Ok(done) => return Ok(done),
                Err(FailedAttempt::Final(err)) => return Err(err),
                Err(FailedAttempt::Temporary(err)) => err,
            };
            let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
            if begun.elapsed() + wait > self.ask.retry_for {
                return Err(err);
            }
            complain(&err.context(format!("trying again in {wait:.1?}")));
            std::thread::sleep(wait);
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }

    fn request(&self) -> RequestBuilder<WithBody> {
        let request = self.agent.post(self.hub.as_str());
        request.header("Authorization", &self.authorization)
    }

    /// The body of a response with status 200, of at most this many bytes.
    fn body_of(
        &self,
        sent: Result<Response<Body>, ureq::Error>,
        max_bytes: u64,
    ) -> Result<String, FailedAttempt> {
        let hub = self.hub.as_str();
        let mut answer = sent.map_err(|err| {
            let err = anyhow!(err).context(format!("cannot publish to {hub}"));
            FailedAttempt::Temporary(err)
        })?;
        let body = answer.body_mut().with_config().limit(max_bytes);
        // The connection can be reused only if the response is read to its end.
        let body = body.read_to_string();
        let body = body.context("cannot read the response of the hub");
        let body = body.map_err(FailedAttempt::Temporary)?;
        let status = answer.status().as_u16();
        if status == 200 {
            return Ok(body);
        }
        let problem: Option<Value> = serde_json::from_str(&body).ok();
        let detail = problem
            .as_ref()
            .and_then(|problem| problem["detail"].as_str());
        let detail = detail.unwrap_or("no reason was given");
        let err = anyhow!("{hub} answers {status}: {detail}");
        let may_retry = answer.headers().contains_key("Retry-After");
        Err(if is_temporary(status, may_retry) {
            FailedAttempt::Temporary(err)
        } else {
            FailedAttempt::Final(err)
        })
    }
}

/// Whether a request that got this status may succeed later.
fn is_temporary(status: u16, has_retry_after: bool) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599) || status == 409 && has_retry_after
}

/// An idempotency key that nobody has used before.
fn new_key() -> String {
    uuid::Uuid::new_v4().to_string()
}
