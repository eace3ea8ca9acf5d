//! The rights and limits of clients, as handlers of requests use them. Built once from the config.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{
    auth::{TokenRules, TokenVerifier},
    config::{AuthConfig, Config, LimitsConfig, SubscribePolicy},
    matching::{HubUrl, MemoryBudget},
};

/// How many lists of active subscriptions may be built or sent at once. Each can be several megabytes. Beyond
/// this, requests receive 503.
const MAX_LISTS: usize = 16;

#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) token_verifier: TokenVerifier,
    pub(crate) subscribe: SubscribePolicy,
    /// Name of the cookie that may carry a token; `None`: no cookie may.
    pub(crate) cookie: Option<String>,
    /// Whether requests of older Mercure versions are accepted.
    pub(crate) legacy: bool,
    pub(crate) expiring: Duration,
    /// Maximum lifetime of a stream; `None`: unlimited.
    /// How long a stream lasts at most.
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) limits: LimitsConfig,
    /// Whether clients can list active subscriptions.
    pub(crate) subscriptions: bool,
    /// Permits for lists of active subscriptions that are being built or sent. If none is free: 503.
    pub(crate) lists: Arc<Semaphore>,
    /// Memory of the bodies of `QUERY` requests while they are read. Any client can send these.
    pub(crate) queries: MemoryBudget,
    /// Memory of the bodies of updates while they are read, and of their events until they are in the log.
    pub(crate) updates: MemoryBudget,
    /// Origins whose pages may authorize changes with a cookie, besides the hub's own origin.
    pub(crate) origins: Vec<String>,
}

impl Policy {
    /// Builds the policy of a config, for a hub at this URL. It does not trust any issuer yet.
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
