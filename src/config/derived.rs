//! Converts the config to the types that the other folders use.

use super::Config;
use crate::{
    broadcaster::LiveSettings,
    event_log::{LogKind, PublishSettings, Retention, TickerSettings, ValueRetention},
    matching::HubUrl,
};

impl Config {
    /// The settings that the Broadcaster applies while it runs: all [`RELOADABLE`](super::RELOADABLE) keys
    /// except `auth.issuers`, which the token verifier applies.
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

    /// The hub's URL: `hub.url`, or else a URL made from `server.bind`. A made URL has the port in
    /// `server.bind`, even if this is 0, because only the running server knows its real port.
    pub fn hub_url(&self) -> HubUrl {
        self.hub_url_at(None)
    }

    /// The hub's URL, with `hub.public_urls`: `hub.url`, or else a URL made from the host in `server.bind` and `bound`, the port on
    /// which the server listens. If `bound` is `None`, the URL has the port in `server.bind`.
    pub(crate) fn hub_url_at(&self, bound: Option<u16>) -> HubUrl {
        let url = self.hub.url.clone().unwrap_or_else(|| {
            let (_, port) = self.server.bind.rsplit_once(':').unwrap_or_default();
            let port = bound.unwrap_or_else(|| port.parse().unwrap_or(0));
            HubUrl::at(&self.server.bind, port)
        });
        url.also_known_as(&self.hub.public_urls)
    }

    /// The kind of the event log, with its settings.
    pub fn log_kind(&self) -> LogKind {
        self.log.log_kind()
    }

    /// The limits on retained events in memory.
    pub fn retention(&self) -> Retention {
        Retention {
            events: self.stream.history,
            presence: self.stream.presence_history,
            bytes: self.stream.history_bytes,
            age: self.stream.history_age,
            queue: self.stream.queue,
            values: ValueRetention {
                topics: self.stream.retained_topics,
                bytes: self.stream.retained_bytes,
            },
        }
    }

    /// How updates that a publisher repeats are recognized.
    pub fn publish_settings(&self) -> PublishSettings {
        PublishSettings {
            unique_ids: self.hub.unique_ids,
            idempotency_window: self.publish.idempotency_window,
            idempotency_keys: self.publish.idempotency_keys,
        }
    }

    /// The whole config as TOML. Loading this text gives an equal config, except that `***` replaces the
    /// password in `log.url`.
    ///
    /// # Panics
    ///
    /// If a value has no TOML form: a path that is not Unicode, or a number of more than 63 bits.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every setting has a TOML form")
    }
}
