//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use sse_broadcaster::config::{Flag, Sources};

/// Pushes live updates to any number of browsers over plain HTTP (Server-Sent Events).
///
/// Each setting comes from a flag, or else from a variable of the environment
/// such as BROADCASTER__TICKER__INTERVAL=250ms, or else from the config file,
/// or else is the default. config/default.toml names and explains all of them.
///
/// Signals:
///   SIGTERM, SIGINT  end every stream, then the server; a second one ends it at once
///   SIGHUP           reads the config file again, as happens when it is saved
///
/// Exit codes:
///   0  after a shutdown, or when a command is done
///   1  the server cannot start or go on, or a command fails
///   2  a flag, a variable or the config file is wrong
#[derive(Debug, Parser)]
#[command(name = "broadcaster", version, verbatim_doc_comment)]
pub(crate) struct Args {
    /// The config file [default: config/default.toml, or without it the defaults built in]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    /// Address and port to listen on, e.g. 0.0.0.0:3000 (server.bind)
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,

    /// Address and port that /metrics, /status and /readyz move to, or off (server.admin_bind)
    #[arg(long, value_name = "ADDRESS")]
    admin_bind: Option<String>,

    /// From one numbered message to the next, e.g. 250ms (ticker.interval)
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,

    /// The folder served at / (server.static_dir)
    #[arg(long, value_name = "PATH")]
    static_dir: Option<String>,

    /// The most subscribers; 0: as many as open files allow (server.max_subscribers)
    #[arg(long, value_name = "NUMBER")]
    max_subscribers: Option<String>,

    /// off, error, warn, info, debug or trace (log.level; the variable RUST_LOG wins)
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// Say whether the config is good, and exit with 0 or 2
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Print the config that is in effect, and exit
    #[arg(long, conflicts_with = "check_config")]
    pub(crate) print_config: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Token(TokenArgs),
    Publish(PublishArgs),
}

/// Make an access token, and print it
///
/// It is signed with the secret of the first issuer in the config that has one
/// (auth.issuers), or with the key in a file. A topic "*" means every topic.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TokenArgs {
    /// A topic that may be published on (as often as needed)
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish: Vec<String>,

    /// The same as a URL Pattern, e.g. /books/:id, relative to the hub
    #[arg(long, value_name = "PATTERN")]
    pub(crate) publish_pattern: Vec<String>,

    /// A topic whose private events may be read (as often as needed)
    #[arg(long, value_name = "TOPIC")]
    pub(crate) subscribe: Vec<String>,

    /// The same as a URL Pattern
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subscribe_pattern: Vec<String>,

    /// How long the token is good, e.g. 15m
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,

    /// Who makes the token [default: the issuer in the config that has a secret]
    #[arg(long, value_name = "ISSUER", requires = "key")]
    pub(crate) issuer: Option<String>,

    /// A file with the issuer's private key in PEM form, or its secret
    #[arg(long, value_name = "PATH", requires = "issuer")]
    pub(crate) key: Option<PathBuf>,
}

/// Publish an event, and print its id
///
/// The token comes from --token, or else from the variable BROADCASTER_TOKEN, or
/// else one is made, if the config has an issuer with a secret (auth.issuers).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PublishArgs {
    /// A topic that the event is on (as often as needed)
    #[arg(long, value_name = "TOPIC", required = true)]
    pub(crate) topic: Vec<String>,

    /// The event's data; -: each line of standard input is an event
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub(crate) data: String,

    /// Only for those whose token allows to read one of the topics
    #[arg(long)]
    pub(crate) private: bool,

    /// The event's id [default: the hub makes one]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,

    /// The event's type, which pages listen to by name
    #[arg(long, value_name = "TYPE")]
    pub(crate) r#type: Option<String>,

    /// How long clients are to wait before they reconnect, in milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) retry: Option<u64>,

    /// The hub [default: hub.url of the config]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// The access token; others on this machine can see it here, and not in the variable
    #[arg(
        long,
        value_name = "TOKEN",
        env = "BROADCASTER_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

impl Args {
    /// Where the settings come from.
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
            ("--log-level", "log.level", &self.log_level),
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
