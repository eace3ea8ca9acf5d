//! The settings of a hub, with their defaults.

use std::time::Duration;

use super::{client_registry::AtTokenLimit, live_settings::LiveSettings};
use crate::{
    event::Topic,
    event_log::{PublishSettings, Retention, TickerSettings, ValueRetention},
    matching::HubUrl,
};

/// Settings of a [`Hub`](super::Hub). By default, only published events are delivered: the ticker, which
/// appends numbered messages at an interval, is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The settings that can change while the hub runs.
    pub live: LiveSettings,
    /// Limits of the history that is retained for subscribers that resume or catch up.
    pub retention: Retention,
    /// How updates that a publisher repeats are recognized.
    pub publishing: PublishSettings,
    /// Maximum number of subscribers. Beyond it, new subscribers receive a `retry:` and are disconnected.
    pub max_subscribers: usize,
    /// Maximum number of subscribers with the same access token.
    pub max_with_token: usize,
    /// What happens when a token would have more subscribers than `max_with_token`.
    pub at_token_limit: AtTokenLimit,
    /// Time that clients wait before they reconnect. Values above 1 h are reduced to 1 h. Each client
    /// receives a random time of 50 to 150 % of this value, so that they do not all reconnect together.
    pub retry: Duration,
    /// The default topic: the topic of events that name none, such as the ticker's messages, and of
    /// subscribers that ask for none.
    pub topic: Topic,
    /// Whether the hub publishes events about active subscriptions, to subscribers whose token allows it.
    pub subscriptions: bool,
    /// Memory budget for the topic matchers of all subscribers, in bytes. When it is exhausted, subscribers
    /// that need more receive a `retry:` and are disconnected, or 503 if they use QUERY. If `subscriptions`
    /// is on, the documents about active subscriptions have a second budget of the same size.
    pub matcher_bytes: usize,
    /// The hub's URL as clients know it. Relative topics and patterns are resolved against it.
    pub url: HubUrl,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            live: LiveSettings {
                ticker: TickerSettings {
                    enabled: false,
                    interval: Duration::from_secs(1),
                    message: "Message number: {n}".to_owned(),
                },
                heartbeat: Duration::from_secs(15),
                checkpoints: true,
            },
            retention: Retention {
                events: 10_000,
                presence: 1000,
                bytes: 16 << 20,
                age: None,
                queue: 64,
                values: ValueRetention::default(),
            },
            publishing: PublishSettings::default(),
            max_subscribers: 10_000,
            max_with_token: 1000,
            at_token_limit: AtTokenLimit::default(),
            retry: Duration::from_secs(2),
            topic: Topic::parse("/ticker").expect("this is a topic"),
            subscriptions: false,
            matcher_bytes: 128 << 20,
            url: HubUrl::parse("http://localhost/.well-known/mercure").expect("this is a URL"),
        }
    }
}
