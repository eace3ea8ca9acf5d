//! Defines the keys of the settings with their defaults. The sources that set them are described at
//! [`Sources`].

use std::{path::PathBuf, time::Duration};

use actix_web::http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{
    duration, host_value, issuers,
    limits_config::LimitsConfig,
    log_config::LogConfig,
    logging_config::LoggingConfig,
    value::{self, Choice},
};
use crate::{auth::IssuerConfig, event::Topic, matching::HubUrl};

/// Keys whose changes take effect while the server runs. A change of any other key takes effect only after a
/// restart.
pub const RELOADABLE: [&str; 6] = [
    "auth.issuers",
    "stream.checkpoints",
    "stream.heartbeat",
    "ticker.enabled",
    "ticker.interval",
    "ticker.message",
];

/// All settings. `config/default.toml` documents each key with its unit, range and default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// Sockets, threads and timeouts.
    pub server: ServerConfig,
    /// The ticker, which publishes a numbered message at a fixed interval.
    pub ticker: TickerConfig,
    /// Event streams and the history in memory.
    pub stream: StreamConfig,
    /// The Mercure hub.
    pub hub: HubConfig,
    /// Publish requests that a publisher repeats.
    pub publish: PublishConfig,
    /// Who may publish and subscribe.
    pub auth: AuthConfig,
    /// Limits on what clients may request.
    pub limits: LimitsConfig,
    /// Which pages of other origins may use the server (CORS).
    pub cors: CorsConfig,
    /// The event log.
    pub log: LogConfig,
    /// The log that the process writes for operators.
    pub logging: LoggingConfig,
}

/// Section `[server]`: sockets, threads and timeouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Host and port to listen on. Port 0: any free port.
    #[serde(deserialize_with = "host_value::bind_address")]
    pub bind: String,
    /// Host and port of `/metrics`, `/status` and `/readyz`. `None`, written `"off"`: these paths are served
    /// at `bind`.
    #[serde(with = "host_value::optional_address")]
    pub admin_bind: Option<String>,
    /// A file with the token that requests for `/revocations` at `admin_bind` must have. `None`, written `"off"`:
    /// they need none.
    #[serde(with = "value::optional_file")]
    pub admin_token_file: Option<PathBuf>,
    /// Number of threads that serve connections. 0: one thread for each CPU core.
    #[serde(deserialize_with = "value::number::<_, 0, 512>")]
    pub workers: usize,
    /// The folder whose files are served at `/`. If it does not exist, the server logs a warning and serves
    /// everything else.
    #[serde(deserialize_with = "value::folder")]
    pub static_dir: PathBuf,
    /// The header Content-Security-Policy of the files in `static_dir`. `None`, written `"off"`: they have no
    /// such header.
    #[serde(with = "value::content_security_policy")]
    pub static_csp: Option<String>,
    /// Maximum number of subscribers. If it is 0 or exceeds what the limit on open files allows, that limit
    /// applies. When the maximum is reached, new subscribers receive a `retry:` and are disconnected.
    #[serde(deserialize_with = "value::number::<_, 0, 10_000_000>")]
    pub max_subscribers: usize,
    /// The server closes a connection without an event stream when it is idle for this long. It also closes
    /// the connection if a request is not complete and answered this long after its first byte.
    #[serde(with = "duration::timeout")]
    pub request_timeout: Duration,
    /// The server closes a connection whose socket accepts no bytes for this long.
    #[serde(with = "duration::timeout")]
    pub write_timeout: Duration,
    /// Maximum duration of a graceful shutdown. Streams that have not ended by then are cut off.
    #[serde(with = "duration::drain_timeout")]
    pub drain_timeout: Duration,
}

/// Default of `static_csp`: a page may load files only from its own server, and connect only to it.
const STRICT_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                          connect-src 'self'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";

impl ServerConfig {
    /// The header Content-Security-Policy of the files in `static_dir`, or `None` if they have no such
    /// header.
    pub(crate) fn content_security_policy(&self) -> Option<HeaderValue> {
        let policy = self.static_csp.as_deref()?;
        Some(HeaderValue::from_str(policy).expect("a policy is visible ASCII"))
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:3000".to_owned(),
            admin_bind: None,
            admin_token_file: None,
            workers: 0,
            static_dir: "static".into(),
            static_csp: Some(STRICT_CSP.to_owned()),
            max_subscribers: 0,
            request_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Section `[ticker]`: the ticker, which publishes a numbered message at a fixed interval. All keys except
/// `topic` are reloadable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TickerConfig {
    /// Whether the ticker publishes messages.
    #[serde(deserialize_with = "value::boolean")]
    pub enabled: bool,
    /// Time from one message of the ticker to the next.
    #[serde(with = "duration::interval")]
    pub interval: Duration,
    /// Text of the messages of the ticker. `{n}` is replaced by the number of the message. The first message
    /// of a log has number 0.
    #[serde(deserialize_with = "value::message")]
    pub message: String,
    /// Topic of the ticker's messages. A subscriber of `/events/sse` that asks for no topic receives this
    /// topic.
    #[serde(with = "value::topic")]
    pub topic: Topic,
}

impl Default for TickerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(1),
            message: "Message number: {n}".to_owned(),
            topic: Topic::parse("/ticker").expect("this is a topic"),
        }
    }
}

/// Section `[stream]`: event streams and the history in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct StreamConfig {
    /// Time that clients wait before they reconnect. Each client receives a random time of 50 to 150 % of
    /// this value.
    #[serde(with = "duration::retry")]
    pub retry: Duration,
    /// A subscriber that received nothing for this long receives a comment as a heartbeat, so that proxies do
    /// not close its stream. Reloadable.
    #[serde(with = "duration::timeout")]
    pub heartbeat: Duration,
    /// Whether idle subscribers receive checkpoints. A checkpoint is an event that only gives the client a
    /// newer id to resume after. It replaces the heartbeat comment if the last event id of the client is in
    /// the older half of the history. Reloadable.
    #[serde(deserialize_with = "value::boolean")]
    pub checkpoints: bool,
    /// Maximum duration of a stream. Each stream ends after a random 80 to 100 % of it. `None`, written
    /// `"off"`: no limit.
    #[serde(with = "duration::optional_duration")]
    pub max_lifetime: Option<Duration>,
    /// Maximum number of retained events in memory, without those about active subscriptions. The oldest
    /// events are evicted first.
    #[serde(deserialize_with = "value::number::<_, 1, 100_000_000>")]
    pub history: usize,
    /// Maximum number of retained events in memory about active subscriptions, in addition to `history`. The
    /// oldest of them are evicted first.
    #[serde(deserialize_with = "value::number::<_, 1, 1_000_000>")]
    pub presence_history: usize,
    /// Maximum memory of all retained events, in bytes. The newest event stays even if it needs more. When
    /// the memory is full, events about active subscriptions are evicted first if they use more than a
    /// quarter of it.
    #[serde(deserialize_with = "value::number::<_, 1024, 1_099_511_627_776>")]
    pub history_bytes: usize,
    /// Maximum age of a retained event in memory. Older events are evicted when the next event is appended.
    /// `None`, written `"off"`: no limit.
    #[serde(with = "duration::optional_duration")]
    pub history_age: Option<Duration>,
    /// Number of the newest events that stay in memory for connected subscribers even if `history` or
    /// `history_age` is shorter. `history_bytes` takes precedence.
    #[serde(deserialize_with = "value::number::<_, 1, 65_536>")]
    pub queue: usize,
    /// Maximum number of topics whose current value, the newest event, is kept for snapshots after its
    /// eviction. Beyond it, the value that was updated least recently is dropped. 0: no values are kept.
    #[serde(deserialize_with = "value::number::<_, 0, 100_000_000>")]
    pub retained_topics: usize,
    /// Maximum memory of all current values, in bytes.
    #[serde(deserialize_with = "value::number::<_, 1024, 1_099_511_627_776>")]
    pub retained_bytes: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(2),
            heartbeat: Duration::from_secs(15),
            checkpoints: true,
            max_lifetime: None,
            history: 10_000,
            presence_history: 1000,
            history_bytes: 16 << 20,
            history_age: None,
            queue: 64,
            retained_topics: 10_000,
            retained_bytes: 16 << 20,
        }
    }
}

/// Section `[hub]`: the Mercure hub.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HubConfig {
    /// The hub's URL as its clients know it. `None`, written `"auto"`: a URL made from `server.bind`.
    #[serde(with = "value::optional_hub_url")]
    pub url: Option<HubUrl>,
    /// Further URLs under which clients know the hub.
    #[serde(with = "value::hub_urls")]
    pub public_urls: Vec<HubUrl>,
    /// Whether the hub publishes events about active subscriptions and lists these subscriptions. Only a
    /// client whose token allows it receives these events and lists.
    #[serde(deserialize_with = "value::boolean")]
    pub subscriptions: bool,
    /// Whether clients of older Mercure versions are also accepted.
    #[serde(deserialize_with = "value::boolean")]
    pub legacy: bool,
    /// Whether publishing an event returns 409 if a retained event has the same publisher-chosen id and other
    /// content.
    #[serde(deserialize_with = "value::boolean")]
    pub unique_ids: bool,
}

/// Section `[publish]`: how long, and how many, idempotency keys are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PublishConfig {
    /// An idempotency key is remembered for at least this long, unless `idempotency_keys` is reached.
    #[serde(with = "duration::idempotency_window")]
    pub idempotency_window: Duration,
    /// Maximum number of idempotency keys that are remembered. Beyond it, the oldest are forgotten.
    #[serde(deserialize_with = "value::number::<_, 1, 100_000_000>")]
    pub idempotency_keys: usize,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            idempotency_window: Duration::from_secs(600),
            idempotency_keys: 1_000_000,
        }
    }
}

/// Section `[auth]`: who may publish and subscribe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AuthConfig {
    /// Who may subscribe: everyone, or only clients with a token. Publishing always requires a token.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub subscribe: SubscribePolicy,
    /// Name of the cookie that may carry a token. `None`, written `"off"`: no such cookie. With `hub.legacy`,
    /// the cookie `mercureAuthorization` may also carry one.
    #[serde(with = "value::cookie")]
    pub cookie: Option<String>,
    /// A subscriber receives the event `expiring` about this long before its token expires and its stream
    /// ends.
    #[serde(with = "duration::expiring")]
    pub expiring: Duration,
    /// The trusted issuers and the sources of their keys. Reloadable: each reload also reads the key files
    /// again.
    /// Empty: at each start, the server creates a key and prints a token that is signed with it.
    #[serde(with = "issuers")]
    pub issuers: Vec<IssuerConfig>,
    /// How long a revocation of tokens lasts.
    #[serde(with = "duration::revocation_ttl")]
    pub revocation_ttl: Duration,
    /// Origins whose pages may publish with a cookie, besides the hub's own. `cors`: those in
    /// `cors.allowed_origins`, except `*` and `null`.
    #[serde(deserialize_with = "host_value::publish_origins")]
    pub publish_origins: Vec<String>,
    /// URLs of the authorization servers that issue tokens for the hub, for the metadata of the hub.
    #[serde(deserialize_with = "host_value::authorization_servers")]
    pub authorization_servers: Vec<String>,
}

/// Who may subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribePolicy {
    /// Everyone may subscribe. Without a token, a subscriber receives only public events.
    Anonymous,
    /// Only clients with a valid token may subscribe.
    Token,
}

impl Choice for SubscribePolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("anonymous", Self::Anonymous), ("token", Self::Token)];
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            subscribe: SubscribePolicy::Anonymous,
            cookie: Some("__Secure-mercure_access_token".to_owned()),
            expiring: Duration::from_secs(10),
            issuers: Vec::new(),
            revocation_ttl: Duration::from_secs(30 * 24 * 3600),
            publish_origins: vec![host_value::CORS.to_owned()],
            authorization_servers: Vec::new(),
        }
    }
}

/// Section `[cors]`: which pages of other origins may use the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CorsConfig {
    /// Pages of these origins may use the server with credentials, such as the cookie of a user. A host that
    /// begins with `*.` stands for all hosts below it. `*`: pages of all origins may use the server, but without credentials.
    /// Empty: only pages of the server's own origin.
    #[serde(deserialize_with = "host_value::origins")]
    pub allowed_origins: Vec<String>,
}

impl Default for CorsConfig {
    fn default() -> Self {
        Self {
            allowed_origins: vec!["*".to_owned()],
        }
    }
}
