//! Section `[logging]`: the log that the process writes for operators.

use serde::{Deserialize, Serialize};

use super::value;

/// Section `[logging]`: the log that the process writes for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LoggingConfig {
    /// The least important level that the process logs. The variable `RUST_LOG` overrides it.
    #[serde(
        deserialize_with = "value::level",
        serialize_with = "value::write_level"
    )]
    pub level: log::LevelFilter,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self {
            level: log::LevelFilter::Info,
        }
    }
}
