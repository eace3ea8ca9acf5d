//! Defines the command line: flags, commands and their help.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use sse_broadcaster::config::{Action, Algorithm, Flag, Sources};

/// Pushes live updates to any number of browsers over plain HTTP (Server-Sent Events).
///
/// The value of each setting comes from the first of these that sets it: a flag,
/// an environment variable such as BROADCASTER__TICKER__INTERVAL=250ms, the config
/// file, the built-in default. config/default.toml lists and explains all settings.
///
/// Signals:
///   SIGTERM, SIGINT  end every stream, then the server; a second one exits immediately
///   SIGHUP           reloads the config file; the server also does this when the file changes
///
/// Exit codes:
///   0  the server shut down normally, or a command succeeded
///   1  the server cannot start or continue, or a command failed
///   2  a flag, a variable or the config file is wrong
#[derive(Debug, Parser)]
#[command(name = "broadcaster", version, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Config file [default: config/default.toml if it exists, else the built-in defaults]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    /// Address and port to listen on, e.g. 0.0.0.0:3000 (server.bind)
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,

    /// Separate address and port for /metrics, /status and /readyz, or off (server.admin_bind)
    #[arg(long, value_name = "ADDRESS")]
    admin_bind: Option<String>,

    /// Interval of the ticker, which publishes numbered messages, e.g. 250ms (ticker.interval)
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,

    /// Folder whose files are served at / (server.static_dir)
    #[arg(long, value_name = "PATH")]
    static_dir: Option<String>,

    /// Maximum number of subscribers; 0: limited by open files only (server.max_subscribers)
    #[arg(long, value_name = "NUMBER")]
    max_subscribers: Option<String>,

    /// Log level: off, error, warn, info, debug or trace (logging.level; RUST_LOG overrides it)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Check the config and the files that it names, and exit with 0 or 2
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Print the effective config, and exit
    #[arg(long, conflicts_with = "check_config")]
    pub(crate) print_config: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// A command to run instead of the server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Token(TokenArgs),
    Publish(PublishArgs),
}

/// Create an access token, and print it
///
/// The token is signed with the secret of the first issuer in the config that has
/// one (auth.issuers), or with the key in a file. A topic "*" means every topic.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TokenArgs {
    /// Topic that the token may publish on (repeatable)
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish: Vec<String>,

    /// URL Pattern of topics that the token may publish on, e.g. /books/:id (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) publish_pattern: Vec<String>,

    /// Topic whose private events the token may read (repeatable)
    #[arg(long, value_name = "TOPIC")]
    pub(crate) subscribe: Vec<String>,

    /// URL Pattern of topics whose private events the token may read (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subscribe_pattern: Vec<String>,

    /// Topic on which the token allows --actions (repeatable)
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Vec<String>,

    /// URL Pattern of topics on which the token allows --actions (repeatable)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) topic_pattern: Vec<String>,

    /// What the token allows on each --topic and --topic-pattern
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', default_value = "publish,subscribe", value_parser = action)]
    pub(crate) actions: Vec<Action>,

    /// JSON object that the hub shows with the active subscriptions of the token's bearer
    #[arg(long, value_name = "JSON")]
    pub(crate) payload: Option<String>,

    /// How long the token is valid, e.g. 15m
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,

    /// Issuer of the token [default: the first issuer in the config that has a secret]
    #[arg(long, value_name = "ISSUER", requires = "key")]
    pub(crate) issuer: Option<String>,

    /// File with the private key (PEM) or the secret of the issuer; - is standard input
    #[arg(long, value_name = "PATH", requires = "issuer")]
    pub(crate) key: Option<PathBuf>,

    /// Algorithm of the signature, e.g. PS256 [default: the first that the key allows]
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    pub(crate) algorithm: Option<Algorithm>,
}

fn action(text: &str) -> Result<Action, &'static str> {
    Action::named(text).ok_or("allowed is publish or subscribe")
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    text.parse().map_err(|_| {
        "allowed is EdDSA, ES256, ES384, RS256, RS384, RS512, PS256, PS384, PS512, HS256, HS384 or HS512"
            .to_owned()
    })
}

/// Publish an event, and print its id
///
/// The token comes from --token or the variable BROADCASTER_TOKEN. If neither is set,
/// the command creates a token with the secret of an issuer in the config (auth.issuers).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PublishArgs {
    /// Topic of the event (repeatable)
    #[arg(long, value_name = "TOPIC", required_unless_present = "ndjson")]
    pub(crate) topic: Vec<String>,

    /// Data of the event. With "-", each line of standard input becomes an event, without --id
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) data: String,

    /// Publish each line of this file, a JSON object with the members topic, data, id, type, retry, private
    /// and idempotency_key. With "-", read standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["topic", "data", "private", "id", "type", "retry"]
    )]
    pub(crate) ndjson: Option<PathBuf>,

    /// For how long to repeat a request that fails temporarily. "0s": not at all
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub(crate) retry_for: Duration,

    /// Send the event only to subscribers whose token may read one of its topics
    #[arg(long)]
    pub(crate) private: bool,

    /// Id of the event [default: the hub creates one]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,

    /// Type of the event, the name that pages listen for
    #[arg(long, value_name = "TYPE")]
    pub(crate) r#type: Option<String>,

    /// Milliseconds that clients wait before they reconnect, from this event on
    #[arg(long, value_name = "MS")]
    pub(crate) retry: Option<u64>,

    /// URL of the hub [default: hub.url of the config]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// Access token. Prefer the variable: other users of this machine can see flags
    #[arg(
        long,
        value_name = "TOKEN",
        env = "BROADCASTER_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

impl Args {
    /// The sources of the settings: the config file, the environment and these flags.
    pub(crate) fn sources(&self) -> Sources {
        let flags = [
            ("--bind", "server.bind", &self.bind),
            ("--admin-bind", "server.admin_bind", &self.admin_bind),
            ("--interval", "ticker.interval", &self.interval),
            ("--static-dir", "server.static_dir", &self.static_dir),
            (
                "--max-subscribers",
                "server.max_subscribers",
                &self.max_subscribers,
            ),
            ("--log-level", "logging.level", &self.log_level),
        ];
        Sources {
            path: self.config.clone(),
            environment: std::env::vars_os().collect(),
            flags: flags
                .into_iter()
                .filter_map(|(name, key, value)| {
                    let value = value.clone()?;
                    Some(Flag { name, key, value })
                })
                .collect(),
        }
    }
}
