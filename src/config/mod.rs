//! Defines the settings: keys, defaults, allowed values, and the sources that set them (file, environment,
//! flags). `config/default.toml` documents each key.

mod derived;
mod duration;
mod error;
mod host_value;
mod issuers;
mod limits_config;
mod load;
mod log_config;
mod logging_config;
mod settings;
mod value;

pub(crate) use self::host_value::CORS;
pub use self::{
    error::{ConfigError, Origin},
    limits_config::LimitsConfig,
    load::{DEFAULT_PATH, Flag, Found, Sources, changed_keys},
    log_config::{LogConfig, LogKindName, SyncPolicy},
    logging_config::LoggingConfig,
    settings::{
        AuthConfig, Config, CorsConfig, HubConfig, PublishConfig, RELOADABLE, ServerConfig,
        StreamConfig, SubscribePolicy, TickerConfig,
    },
};
pub use crate::auth::{Action, IssuerConfig, KeySource};
pub use jsonwebtoken::Algorithm;
