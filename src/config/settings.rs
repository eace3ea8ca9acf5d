//! The settings of the server: what there is, the defaults, and what each value may be. Where the
//! values come from is said at [`Sources`].

use std::{path::PathBuf, time::Duration};

use actix_web::http::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::{
    host_value,
    log_config::LogConfig,
    value::{self, Choice},
};
use crate::{
    auth::IssuerConfig,
    broadcaster::LiveSettings,
    event::Topic,
    event_log::{LogKind, Retention, TickerSettings},
    matching::HubUrl,
};

/// Keys that take effect while the server runs. See [`Config::live_settings`].
pub const RELOADABLE: [&str; 6] = [
    "auth.issuers",
    "stream.checkpoints",
    "stream.heartbeat",
    "ticker.enabled",
    "ticker.interval",
    "ticker.message",
];

/// Everything that can be set. `config/default.toml` documents each key with its unit, range and
/// default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// Sockets and threads.
    pub server: ServerConfig,
    /// The numbered messages.
    pub ticker: TickerConfig,
    /// What subscribers get.
    pub stream: StreamConfig,
    /// The hub that others publish to.
    pub hub: HubConfig,
    /// Who may publish and subscribe.
    pub auth: AuthConfig,
    /// How much clients may ask for.
    pub limits: LimitsConfig,
    /// Pages of other origins.
    pub cors: CorsConfig,
    /// What operators are told in the process's log, and where the log of events is kept.
    pub log: LogConfig,
}

/// Sockets and threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Address and port to listen on.
    #[serde(deserialize_with = "host_value::bind_address")]
    pub bind: String,
    /// Address and port that `/metrics`, `/status` and `/readyz` move to; `None`, written `"off"`:
    /// they stay where the stream is.
    #[serde(with = "host_value::optional_address")]
    pub admin_bind: Option<String>,
    /// Threads that serve connections; 0: one for each core.
    #[serde(deserialize_with = "value::number::<_, 0, 512>")]
    pub workers: usize,
    /// The folder served at `/`.
    #[serde(deserialize_with = "value::folder")]
    pub static_dir: PathBuf,
    /// The Content-Security-Policy of the files in it; `None`, written `"off"`: they are sent without.
    #[serde(with = "value::content_security_policy")]
    pub static_csp: Option<String>,
    /// How many subscribers there may be; 0: what the limit on open files allows.
    #[serde(deserialize_with = "value::number::<_, 0, 10_000_000>")]
    pub max_subscribers: usize,
    /// A connection without an event stream is closed when it is idle for this long, or when a request,
    /// from its first byte on, is not whole and answered within this.
    #[serde(with = "value::timeout")]
    pub request_timeout: Duration,
    /// A connection whose socket takes nothing for this long is closed.
    #[serde(with = "value::timeout")]
    pub write_timeout: Duration,
    /// How long a shutdown may take, at most.
    #[serde(with = "value::drain_timeout")]
    pub drain_timeout: Duration,
}

/// A page may load its own files and read its own server, and nothing else.
const STRICT_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                          connect-src 'self'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'";

impl ServerConfig {
    /// The header of the files in `static_dir`.
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

/// The numbered messages. All of it is reloadable, but the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TickerConfig {
    /// Whether they are sent.
    #[serde(deserialize_with = "value::boolean")]
    pub enabled: bool,
    /// From one to the next.
    #[serde(with = "value::interval")]
    pub interval: Duration,
    /// The message; `{n}` in it becomes the number.
    #[serde(deserialize_with = "value::message")]
    pub message: String,
    /// The topic that they are on.
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

/// What subscribers get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct StreamConfig {
    /// How long clients wait before they reconnect, on average.
    #[serde(with = "value::retry")]
    pub retry: Duration,
    /// A subscriber that got nothing for this long is sent a comment. Reloadable.
    #[serde(with = "value::timeout")]
    pub heartbeat: Duration,
    /// Whether a subscriber that got nothing for as long as the heartbeat gets a checkpoint when the
    /// last id that it knows is in the older half of the history. Reloadable.
    #[serde(deserialize_with = "value::boolean")]
    pub checkpoints: bool,
    /// How long a stream lasts at most; `None`, written `"off"`: until its client leaves, its token ends
    /// or the server stops.
    #[serde(with = "value::optional_duration")]
    pub max_lifetime: Option<Duration>,
    /// How many events are kept.
    #[serde(deserialize_with = "value::number::<_, 1, 100_000_000>")]
    pub history: usize,
    /// How many events that tell of active subscriptions are kept beside those.
    #[serde(deserialize_with = "value::number::<_, 1, 1_000_000>")]
    pub presence_history: usize,
    /// How much memory the events may take that are kept, in bytes.
    #[serde(deserialize_with = "value::number::<_, 1024, 1_099_511_627_776>")]
    pub history_bytes: usize,
    /// How old an event may be when the next one comes; `None`, written `"off"`: of any age.
    #[serde(with = "value::optional_duration")]
    pub history_age: Option<Duration>,
    /// How many of the newest events a connected subscriber gets whatever the history's bounds.
    #[serde(deserialize_with = "value::number::<_, 1, 65_536>")]
    pub queue: usize,
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
        }
    }
}

/// The hub that others publish to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HubConfig {
    /// The hub's URL as its clients know it; `None`, written `"auto"`: made of the address.
    #[serde(with = "value::optional_hub_url")]
    pub url: Option<HubUrl>,
    /// Whether it is told who subscribes to what, to those who may know.
    #[serde(deserialize_with = "value::boolean")]
    pub subscriptions: bool,
    /// Whether clients of the protocol's older versions are understood, too.
    #[serde(deserialize_with = "value::boolean")]
    pub legacy: bool,
}

/// Who may publish and subscribe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AuthConfig {
    /// Who may subscribe.
    #[serde(
        deserialize_with = "value::choice",
        serialize_with = "value::write_choice"
    )]
    pub subscribe: SubscribePolicy,
    /// The cookie that a token may come in; `None`, written `"off"`: none.
    #[serde(with = "value::cookie")]
    pub cookie: Option<String>,
    /// How long before its token ends a subscriber is told so.
    #[serde(with = "value::expiring")]
    pub expiring: Duration,
    /// Whose tokens are trusted. Reloadable, and the keys are read anew with it.
    #[serde(with = "value::issuers")]
    pub issuers: Vec<IssuerConfig>,
}

/// Who may subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribePolicy {
    /// Whoever comes: without a token they get what is public.
    Anonymous,
    /// Whoever has a token.
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
        }
    }
}

/// How much clients may ask for. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// Length of a request's body; longer: 413, for `QUERY` 400.
    #[serde(deserialize_with = "value::number::<_, 1024, 67_108_864>")]
    pub body: usize,
    /// Length of each field of an update; longer: 413.
    #[serde(deserialize_with = "value::number::<_, 256, 67_108_864>")]
    pub field: usize,
    /// Topics of an update; more: 413.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub topics: usize,
    /// Matchers of a subscriber; more: 400.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub matchers: usize,
    /// Memory that the matchers of all subscribers may take together; more: new subscribers wait.
    #[serde(deserialize_with = "value::number::<_, 65_536, 1_099_511_627_776>")]
    pub matcher_bytes: usize,
    /// Length of a matcher, also of those in a token; longer: 400, in a token 401.
    #[serde(deserialize_with = "value::number::<_, 16, 4096>")]
    pub pattern: usize,
    /// Subscribers with one token at once; more: 429.
    #[serde(deserialize_with = "value::number::<_, 1, 10_000_000>")]
    pub subscriptions: usize,
    /// Length of a token; longer: 401.
    #[serde(deserialize_with = "value::number::<_, 256, 65_536>")]
    pub token: usize,
    /// Mercure authorization details of a token; more: 401.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub token_details: usize,
    /// Topics of each of those; more: 401.
    #[serde(deserialize_with = "value::number::<_, 1, 1000>")]
    pub token_topics: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            field: 1 << 20,
            topics: 100,
            matchers: 100,
            matcher_bytes: 128 << 20,
            pattern: 1024,
            subscriptions: 1000,
            token: 8192,
            token_details: 20,
            token_topics: 100,
        }
    }
}

/// Pages of other origins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CorsConfig {
    /// The origins that may read the stream; `*`: all.
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

impl Config {
    /// What the Broadcaster takes over while it runs: the keys in [`RELOADABLE`], but `auth.issuers`,
    /// which is not the Broadcaster's.
    pub fn live_settings(&self) -> LiveSettings {
        LiveSettings {
            ticker: TickerSettings {
                enabled: self.ticker.enabled,
                interval: self.ticker.interval,
                message: self.ticker.message.clone(),
            },
            heartbeat: self.stream.heartbeat,
            checkpoints: self.stream.checkpoints,
        }
    }

    /// The hub's URL: as configured, or else as the address says, unless its port is 0 and known to
    /// the server only.
    pub fn hub_url(&self) -> HubUrl {
        self.hub_url_at(None)
    }

    /// The same of a server that listens on this port.
    pub(crate) fn hub_url_at(&self, bound: Option<u16>) -> HubUrl {
        self.hub.url.clone().unwrap_or_else(|| {
            let (_, port) = self.server.bind.rsplit_once(':').unwrap_or_default();
            let port = bound.unwrap_or_else(|| port.parse().unwrap_or(0));
            HubUrl::at(&self.server.bind, port)
        })
    }

    /// Where the events' log lives.
    pub fn log_kind(&self) -> LogKind {
        self.log.place()
    }

    /// How much the log keeps.
    pub fn retention(&self) -> Retention {
        Retention {
            events: self.stream.history,
            presence: self.stream.presence_history,
            bytes: self.stream.history_bytes,
            age: self.stream.history_age,
            queue: self.stream.queue,
        }
    }

    /// The whole as a TOML file that would load as the same.
    ///
    /// # Panics
    ///
    /// For what no file can say: a path that is not Unicode, or a number beyond 63 bits.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every setting has a TOML form")
    }
}
