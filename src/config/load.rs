//! Loads the settings from their sources: defaults, file, environment and flags, where each overrides those
//! before it. Every value is checked in the source that sets it, even if a later source overrides it. So an
//! error names the place to fix.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::{
    error::{ConfigError, Origin, found, shorten},
    settings::Config,
};

/// Path of the config file that is used if the user names none. This file need not exist.
pub const DEFAULT_PATH: &str = "config/default.toml";

const ENVIRONMENT_PREFIX: &str = "BROADCASTER__";

/// Maximum length of a config file, in bytes. A longer file is refused, because it is certainly not a config
/// file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A command-line flag that sets a key of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as written, e.g. `--interval`.
    pub name: &'static str,
    /// The key that the flag sets, e.g. `ticker.interval`.
    pub key: &'static str,
    /// The value of the flag, as text.
    pub value: String,
}

/// The sources of the settings. A reload uses the same sources again.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The config file that the user names. `None`: [`DEFAULT_PATH`], if this file exists.
    pub path: Option<PathBuf>,
    /// The environment variables. Only those with the prefix `BROADCASTER__` are used.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags on the command line.
    pub flags: Vec<Flag>,
}

/// The result of looking for the config file and reading it. The server compares two results to notice that
/// the file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The user named no file, and [`DEFAULT_PATH`] does not exist.
    Nothing,
    /// The path and text of the config file.
    Text(PathBuf, String),
    /// The path of a config file that cannot be read, and the reason.
    Unreadable(PathBuf, String),
}

impl Found {
    /// Reads the config file at `path`. If this fails, the result is [`Found::Unreadable`].
    pub fn at(path: PathBuf) -> Self {
        match read(&path) {
            Ok(text) => Self::Text(path, text),
            Err(err) => Self::Unreadable(path, err.to_string()),
        }
    }

    /// The path of the config file, even if it cannot be read. `None`: the user named no file, and there is
    /// none at [`DEFAULT_PATH`].
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Nothing => None,
            Self::Text(path, _) | Self::Unreadable(path, _) => Some(path),
        }
    }
}

impl Sources {
    /// Reads the config file that the user named, or else [`DEFAULT_PATH`] if it exists.
    pub fn look(&self) -> Found {
        let named = self.path.clone();
        let default = || is_there(DEFAULT_PATH).then(|| DEFAULT_PATH.into());
        named.or_else(default).map_or(Found::Nothing, Found::at)
    }

    /// Returns the config: the defaults, overridden by the config file, then by the environment variables,
    /// then by the flags. `found` is the config file. Fails if it cannot be read or is not TOML, or if a
    /// source has an unknown section or key or a wrong value.
    pub fn load(&self, found: &Found) -> Result<Config, ConfigError> {
        let mut layers = Layers::new();
        match found {
            Found::Nothing => {}
            Found::Text(path, text) => layers.add_file(path, text)?,
            Found::Unreadable(path, reason) => {
                let (path, reason) = (path.clone(), reason.clone());
                return Err(ConfigError::Unreadable { path, reason });
            }
        }
        for (name, value) in &self.environment {
            // In a name that is not Unicode, the wrong bytes are replaced. If such a name has the prefix, it
            // is therefore refused as an unknown section or key.
            let name = name.to_string_lossy();
            if let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                let origin = Origin::Variable(name.clone().into_owned());
                layers.add_variable(key, value, origin)?;
            }
        }
        for Flag { name, key, value } in &self.flags {
            let (section, key) = key.split_once('.').unwrap_or((key, ""));
            layers.set_text(section, key, value, Origin::Flag(name))?;
        }
        Ok(parse(&layers.settings).expect("each setting was parsed when it was added"))
    }
}

/// The keys whose values differ between two configs, each as `section.key`.
pub fn changed_keys(old: &Config, new: &Config) -> Vec<String> {
    // The printed URL of Redis has `***` in place of the password, so compare the URL itself.
    let has_other_url = old.log.url != new.log.url;
    let (old, new) = (leaves(old), leaves(new));
    old.into_iter()
        .filter(|(key, value)| match &**key {
            "log.url" => has_other_url,
            key => new.get(key) != Some(value),
        })
        .map(|(key, _)| key)
        .collect()
}

/// Every key in the form `section.key`, with its value as it is printed.
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

/// Parses a list in JSON. `None`: it is not one, or it contains `null`, which TOML does not have.
fn json_list(text: &str) -> Option<Value> {
    let list: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    Value::try_from(list).ok()
}

fn parse(settings: &Table) -> Result<Config, toml::de::Error> {
    Config::deserialize(Value::Table(settings.clone()))
}

/// Whether anything exists at a path, even a broken symbolic link or a file without read permission. If this
/// cannot be found out, returns `true`, so that reading the file reports the reason.
fn is_there(path: &str) -> bool {
    !matches!(
        std::fs::symlink_metadata(path).map_err(|err| err.kind()),
        Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    )
}

fn read(path: &Path) -> io::Result<String> {
    // Only regular files are read: a device may have no end, and a pipe cannot be read again at a reload.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let reason = format!("it is longer than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::other(reason));
    }
    String::from_utf8(bytes).map_err(|err| {
        let good = err.utf8_error().valid_up_to();
        let line = err.as_bytes()[..good].split(|byte| *byte == b'\n').count();
        io::Error::other(format!("it is not UTF-8 in line {line}"))
    })
}

/// The merged settings of the sources that were added so far. A source that is added later overrides earlier
/// ones.
struct Layers {
    /// All sections with their keys and default values. The type of a default is the type of its key.
    known: Table,
    /// The keys that a source has set, by section.
    settings: Table,
}

impl Layers {
    fn new() -> Self {
        Self {
            known: as_table(&Config::default()),
            settings: Table::new(),
        }
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        // Some editors write a byte order mark at the beginning of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let table: Table = text
            .parse()
            .map_err(|err| ConfigError::syntax(path.to_owned(), text, &err))?;
        let origin = Origin::File(path.to_owned());
        for (section, keys) in table {
            let Value::Table(keys) = keys else {
                return Err(self.misplaced(section, &keys, origin));
            };
            self.known_in(&section, &origin)?;
            for (key, value) in keys {
                self.set(&section, &key, value, &origin)?;
            }
        }
        Ok(())
    }

    fn add_variable(
        &mut self,
        path: &str,
        value: &OsString,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let path = path.to_ascii_lowercase();
        let (section, key) = path.split_once("__").unwrap_or((&path, ""));
        if section.is_empty() || key.is_empty() {
            let example = format!("{ENVIRONMENT_PREFIX}TICKER__INTERVAL");
            return Err(ConfigError::NoKey { origin, example });
        }
        let key = key.replace("__", ".");
        match value.to_str() {
            Some(value) => self.set_text(section, &key, value, origin),
            None => {
                self.known_key(section, &key, &origin)?;
                let found = shorten(&value.to_string_lossy());
                Err(ConfigError::Value {
                    origin,
                    key: format!("{section}.{key}"),
                    message: format!("found \"{found}\", allowed is text in UTF-8"),
                })
            }
        }
    }

    /// Sets a key from the text of a variable or flag, which is parsed as the type of the key. A list is
    /// written in JSON, or with commas between its items.
    fn set_text(
        &mut self,
        section: &str,
        key: &str,
        text: &str,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        // Text that cannot be parsed as the type of the key is kept as a string. `set` then refuses the
        // string and names the allowed values.
        let as_text = Value::String(text.to_owned());
        let value = match self.known_key(section, key, &origin)? {
            Value::Boolean(_) => text.parse().map_or(as_text, Value::Boolean),
            Value::Integer(_) => text.parse().map_or(as_text, Value::Integer),
            Value::Array(_) if text.trim_start().starts_with('[') => {
                json_list(text).unwrap_or(as_text)
            }
            Value::Array(_) => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            ),
            _ => as_text,
        };
        self.set(section, key, value, &origin)
    }

    fn set(
        &mut self,
        section: &str,
        key: &str,
        value: Value,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        self.known_key(section, key, origin)?;
        let keys = Table::from_iter([(key.to_owned(), value.clone())]);
        let alone = Table::from_iter([(section.to_owned(), Value::Table(keys))]);
        parse(&alone).map_err(|err| ConfigError::Value {
            origin: origin.clone(),
            key: format!("{section}.{key}"),
            message: err.message().to_owned(),
        })?;
        let keys = self
            .settings
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(keys) = keys {
            keys.insert(key.to_owned(), value);
        }
        Ok(())
    }

    /// The default value of a key, or an error if the section or the key does not exist.
    fn known_key(&self, section: &str, key: &str, origin: &Origin) -> Result<&Value, ConfigError> {
        let known = self.known_in(section, origin)?;
        known.get(key).ok_or_else(|| ConfigError::UnknownKey {
            origin: origin.clone(),
            key: format!("{section}.{key}"),
            known: known.keys().map(|key| format!("{section}.{key}")).collect(),
        })
    }

    /// The keys of a section with their default values, or an error if the section does not exist.
    fn known_in(&self, section: &str, origin: &Origin) -> Result<&Table, ConfigError> {
        match self.known.get(section) {
            Some(Value::Table(keys)) => Ok(keys),
            _ => Err(ConfigError::UnknownSection {
                origin: origin.clone(),
                section: section.to_owned(),
                known: self.known.keys().cloned().collect(),
            }),
        }
    }

    /// The error for a value outside of any section of the config file. If `key` is the name of a section,
    /// the value should be a section. Otherwise the key should be in a section.
    fn misplaced(&self, key: String, value: &Value, origin: Origin) -> ConfigError {
        if self.known.contains_key(&key) {
            let message = format!("found {}, allowed is a section: [{key}]", found(value));
            return ConfigError::Value {
                origin,
                key,
                message,
            };
        }
        let in_brackets = |section: &String| format!("[{section}]");
        let having: Vec<_> = self
            .known
            .iter()
            .filter(|(_, keys)| keys.get(&key).is_some())
            .map(|(section, _)| in_brackets(section))
            .collect();
        let all = || self.known.keys().map(in_brackets).collect();
        ConfigError::OutsideOfSection {
            origin,
            key,
            sections: if having.is_empty() { all() } else { having },
        }
    }
}
