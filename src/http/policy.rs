//! The settings with which request handlers authorize and limit clients. Built once from the config.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{admin_token::AdminToken, origins::Origins};
use crate::{
    auth::{TokenRules, TokenVerifier},
    config::{AuthConfig, CORS, Config, LimitsConfig, SubscribePolicy},
    matching::{HubUrl, MemoryBudget},
};

/// Maximum number of lists of active subscriptions that are built or sent at the same time. Each list can
/// have several megabytes. Beyond this number, requests for a list receive 503.
const MAX_LISTS: usize = 16;

#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) token_verifier: TokenVerifier,
    pub(crate) subscribe: SubscribePolicy,
    /// Name of the cookie that may carry a token; `None`: no cookie is read.
    pub(crate) cookie: Option<String>,
    /// Whether requests of older Mercure versions are accepted.
    pub(crate) legacy: bool,
    pub(crate) expiring: Duration,
    /// Maximum duration of a stream; each stream gets a random 80 to 100 % of it. `None`: no limit.
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) limits: LimitsConfig,
    /// Whether clients can list active subscriptions.
    pub(crate) subscriptions: bool,
    /// Permits for lists of active subscriptions. A request holds one while its list is built and sent. If no
    /// permit is free, the request receives 503.
    pub(crate) lists: Arc<Semaphore>,
    /// Memory of the bodies of `QUERY` requests while they are read and parsed. It is counted separately from
    /// `updates`, because clients may be able to send `QUERY` without a token.
    pub(crate) queries: MemoryBudget,
    /// Memory of publish requests: of each body while it is read and parsed, and of each event until its
    /// request ends.
    pub(crate) updates: MemoryBudget,
    /// Memory of lines of bulk requests that have not arrived completely.
    pub(crate) lines: MemoryBudget,
    /// Memory of the answers of bulk requests that wait for their clients.
    pub(crate) answers: MemoryBudget,
    /// How long a revocation of tokens lasts.
    pub(crate) revocation_ttl: Duration,
    /// The token of operators.
    pub(crate) admin_token: AdminToken,
    /// Origins whose pages may authorize changes with a cookie, besides the hub's own origins.
    pub(crate) publish_origins: Origins,
    /// URLs of the authorization servers that issue tokens for the hub.
    pub(crate) authorization_servers: Vec<String>,
}

impl Policy {
    /// Builds the policy from a config, for the hub at the URL `hub`. The new policy does not trust any
    /// issuer yet.
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
            revocation_ttl: config.auth.revocation_ttl,
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
            lines: MemoryBudget::default(),
            answers: MemoryBudget::default(),
            revocation_ttl: config.auth.revocation_ttl,
            admin_token: AdminToken::new(config.server.admin_token_file.clone()),
            publish_origins: publish_origins(config),
            authorization_servers: config.auth.authorization_servers.clone(),
        }
    }
}

/// The origins in `auth.publish_origins`, with those of `cors.allowed_origins` in place of `cors`.
fn publish_origins(config: &Config) -> Origins {
    let listed = &config.auth.publish_origins;
    let is_own = |origin: &&String| **origin != CORS;
    let of_cors = listed.iter().any(|origin| origin == CORS);
    let of_cors = of_cors.then_some(&config.cors.allowed_origins);
    Origins::new(
        listed
            .iter()
            .filter(is_own)
            .chain(of_cors.into_iter().flatten()),
    )
}
