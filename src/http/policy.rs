//! What clients may do and how much: what a request handler goes by.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{
    auth::{TokenRules, TokenVerifier},
    config::{AuthConfig, Config, LimitsConfig, SubscribePolicy},
    matching::{HubUrl, MemoryBudget},
};

/// How many lists of subscriptions may be made or sent at once. Each is several megabytes long at most.
const MAX_LISTS: usize = 16;

/// What a request handler goes by.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) token_verifier: TokenVerifier,
    pub(crate) subscribe: SubscribePolicy,
    /// The cookie that a token may come in.
    pub(crate) cookie: Option<String>,
    /// Whether requests may be such as those of the protocol's older versions.
    pub(crate) legacy: bool,
    pub(crate) expiring: Duration,
    /// How long a stream lasts at most.
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) limits: LimitsConfig,
    /// Whether it is told who subscribes to what.
    pub(crate) subscriptions: bool,
    /// Lists of subscriptions that may be made or sent at once; more: 503.
    pub(crate) lists: Arc<Semaphore>,
    /// The bodies of `QUERY` requests, which anybody may send, while they are read.
    pub(crate) queries: MemoryBudget,
    /// The bodies of updates while they are read, and the events until they are in the log.
    pub(crate) updates: MemoryBudget,
    /// The origins whose pages may act with a cookie, beside the hub's own.
    pub(crate) origins: Vec<String>,
}

impl Policy {
    /// The policy of a config, for a hub at this URL. Nobody's tokens are trusted yet.
    pub(crate) fn new(config: &Config, hub: HubUrl) -> Self {
        let AuthConfig {
            subscribe,
            cookie,
            expiring,
            ..
        } = &config.auth;
        let limits = config.limits;
        let tokens = TokenRules {
            legacy: config.hub.legacy,
            bytes: limits.token,
            details: limits.token_details,
            topics: limits.token_topics,
            pattern: limits.pattern,
        };
        Self {
            token_verifier: TokenVerifier::new(hub, tokens),
            subscribe: *subscribe,
            cookie: cookie.clone(),
            legacy: config.hub.legacy,
            expiring: *expiring,
            max_lifetime: config.stream.max_lifetime,
            limits,
            subscriptions: config.hub.subscriptions,
            lists: Arc::new(Semaphore::new(MAX_LISTS)),
            queries: MemoryBudget::default(),
            updates: MemoryBudget::default(),
            origins: config.cors.allowed_origins.clone(),
        }
    }
}
