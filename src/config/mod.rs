//! Defines the settings: keys, defaults, allowed values, and the sources that set them (file, environment,
//! flags). `config/default.toml` documents each key.

mod derived;
mod duration;
mod error;
mod host_value;
mod load;
mod log_config;
mod logging_config;
mod settings;
mod value;

pub use self::{
    error::{ConfigError, Origin},
    load::{DEFAULT_PATH, Flag, Found, Sources, changed_keys},
    log_config::{LogConfig, LogKindName, SyncPolicy},
    logging_config::LoggingConfig,
    settings::{
        AuthConfig, Config, CorsConfig, HubConfig, LimitsConfig, PublishConfig, RELOADABLE,
        ServerConfig, StreamConfig, SubscribePolicy, TickerConfig,
    },
};
pub use crate::auth::{IssuerConfig, KeySource};
