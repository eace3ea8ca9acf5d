//! Where the settings come from: defaults, then the file, then the environment, then flags, each
//! over the one before. An error names the one that is to be mended.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use thiserror::Error;
use toml::{Table, Value};

use super::Config;

/// The file that is used when none is named, if it is there.
pub const DEFAULT_PATH: &str = "config/default.toml";

const ENVIRONMENT_PREFIX: &str = "BROADCASTER__";

/// A flag that sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it is written, e.g. `--interval`.
    pub name: &'static str,
    /// The key that it sets, e.g. `ticker.interval`.
    pub key: &'static str,
    /// What it is set to, as text.
    pub value: String,
}

/// Where settings are looked for. Can be loaded again and again.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by the user; `None`: [`DEFAULT_PATH`] if it is there.
    pub path: Option<PathBuf>,
    /// The environment's variables; those with another prefix than `BROADCASTER__` are left alone.
    pub environment: Vec<(String, String)>,
    /// The flags given.
    pub flags: Vec<Flag>,
}

/// Why there is no config.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the config file: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, as the parser says it.
        message: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key {key}; allowed is one of: {}", known.join(", "))]
    UnknownKey {
        /// Who sets it.
        origin: Origin,
        /// The key.
        key: String,
        /// The keys there are beside it.
        known: Vec<String>,
    },
    /// A key cannot have this value.
    #[error("{origin}: {key}: {message}")]
    Value {
        /// Who sets it.
        origin: Origin,
        /// The key.
        key: String,
        /// What was found, and what is allowed.
        message: String,
    },
}

/// Who sets a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Sources {
    /// The file that is used: the one named, or else [`DEFAULT_PATH`] if it is there.
    pub fn file(&self) -> Option<PathBuf> {
        self.path.clone().or_else(|| {
            let default = Path::new(DEFAULT_PATH);
            default.exists().then(|| default.to_owned())
        })
    }

    /// Reads all sources. Either everything is good or nothing is taken.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut layers = Layers::new();
        if let Some(path) = self.file() {
            layers.add_file(path)?;
        }
        for (name, value) in &self.environment {
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let key = key.to_ascii_lowercase().replace("__", ".");
                layers.set_text(&key, value, Origin::Variable(name.clone()))?;
            }
        }
        for flag in &self.flags {
            layers.set_text(flag.key, &flag.value, Origin::Flag(flag.name))?;
        }
        layers.finish()
    }
}

/// The keys by which two configs differ.
pub fn changed_keys(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (leaves(old), leaves(new));
    old.into_iter()
        .filter(|(key, value)| new.get(key) != Some(value))
        .map(|(key, _)| key)
        .collect()
}

/// Every key with its value.
fn leaves(config: &Config) -> BTreeMap<String, Value> {
    as_table(config)
        .into_iter()
        .flat_map(|(section, keys)| {
            let keys = match keys {
                Value::Table(keys) => keys,
                _ => Table::new(),
            };
            keys.into_iter()
                .map(move |(key, value)| (format!("{section}.{key}"), value))
        })
        .collect()
}

fn as_table(config: &Config) -> Table {
    Table::try_from(config).expect("every setting has a TOML form")
}

/// The settings found so far, and who set each.
struct Layers {
    /// Every key there is, with a value of its type.
    known: Table,
    settings: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    fn new() -> Self {
        Self {
            known: as_table(&Config::default()),
            settings: Table::new(),
            origins: BTreeMap::new(),
        }
    }

    fn add_file(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(err) => {
                let message = toml::de::Error::to_string(&err);
                return Err(ConfigError::Syntax { path, message });
            }
        };
        let origin = Origin::File(path);
        for (section, keys) in table {
            let Value::Table(keys) = keys else {
                // A key outside of a section, or a section's name used for a key.
                return Err(self.misplaced(&section, &keys, origin));
            };
            self.known_in(&section, origin.clone())?;
            for (key, value) in keys {
                self.set(&section, &key, value, origin.clone())?;
            }
        }
        Ok(())
    }

    /// Sets a key from text that has no type of its own: it takes the type of the key.
    fn set_text(&mut self, path: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        let known = self.known_in(section, origin.clone())?;
        // What does not parse stays text, to be refused with what is allowed.
        let as_text = Value::String(text.to_owned());
        let value = match known.get(key) {
            Some(Value::Boolean(_)) => text.parse().map_or(as_text, Value::Boolean),
            Some(Value::Integer(_)) => text.parse().map_or(as_text, Value::Integer),
            Some(Value::Array(_)) => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            ),
            _ => as_text,
        };
        self.set(section, key, value, origin)
    }

    fn set(
        &mut self,
        section: &str,
        key: &str,
        value: Value,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let known = self.known_in(section, origin.clone())?;
        let path = format!("{section}.{key}");
        if !known.contains_key(key) {
            return Err(ConfigError::UnknownKey {
                origin,
                key: path,
                known: known.keys().map(|key| format!("{section}.{key}")).collect(),
            });
        }
        let keys = self
            .settings
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = keys {
            keys.insert(key.to_owned(), value);
        }
        self.origins.insert(path, origin);
        Ok(())
    }

    /// The keys that a section may have.
    fn known_in(&self, section: &str, origin: Origin) -> Result<&Table, ConfigError> {
        match self.known.get(section) {
            Some(Value::Table(keys)) => Ok(keys),
            _ => Err(ConfigError::UnknownKey {
                origin,
                key: section.to_owned(),
                known: self.known.keys().cloned().collect(),
            }),
        }
    }

    fn misplaced(&self, key: &str, found: &Value, origin: Origin) -> ConfigError {
        match self.known_in(key, origin.clone()) {
            Err(unknown) => unknown,
            Ok(_) => ConfigError::Value {
                origin,
                key: key.to_owned(),
                message: format!("found {found}, allowed is a section: [{key}]"),
            },
        }
    }

    fn finish(self) -> Result<Config, ConfigError> {
        let mut track = serde_path_to_error::Track::new();
        let settings = Value::Table(self.settings);
        let deserializer = serde_path_to_error::Deserializer::new(settings, &mut track);
        Config::deserialize(deserializer).map_err(|err| {
            let key = track.path().to_string();
            ConfigError::Value {
                origin: self.origins[&key].clone(),
                key,
                message: err.message().to_owned(),
            }
        })
    }
}
