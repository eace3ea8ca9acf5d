//! The binary `broadcaster`: arguments, logger, run.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use env_logger::{Builder, Logger};
use log::LevelFilter;
use sse_broadcaster::{
    Reloader, Server,
    config::{Config, Flag, Found, Sources},
};
use tikv_jemallocator::Jemalloc;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Gives the memory of subscribers that left back to the system within seconds. With glibc's
/// allocator the process keeps nearly all of it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

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
///   0  after a shutdown
///   1  the server cannot start or go on
///   2  a flag, a variable or the config file is wrong
#[derive(Debug, Parser)]
#[command(name = "broadcaster", version, verbatim_doc_comment)]
struct Args {
    /// The config file [default: config/default.toml, or without it the defaults built in]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,

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
    check_config: bool,

    /// Print the config that is in effect, and exit
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
}

impl Args {
    fn sources(&self) -> Sources {
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

fn main() -> ExitCode {
    let args = Args::parse();
    let sources = args.sources();
    let found = sources.look();
    let config = match sources.load(&found) {
        Ok(config) => config,
        Err(err) => {
            say(std::io::stderr(), format_args!("broadcaster: {err}"));
            return ExitCode::from(2);
        }
    };
    if args.print_config {
        say(
            std::io::stdout(),
            format_args!("{}", config.to_toml().trim_end()),
        );
        return ExitCode::SUCCESS;
    }
    if args.check_config {
        let file = found.path().map(|path| path.display().to_string());
        let file = file.unwrap_or_else(|| "the built-in config".to_owned());
        say(std::io::stdout(), format_args!("{file} is good"));
        return ExitCode::SUCCESS;
    }
    start_logger(&config);
    match actix_rt::System::new().block_on(run(sources, found, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            if log::log_enabled!(log::Level::Error) {
                log::error!("{err:#}");
            } else {
                // Not even a silent log is to hide why there is no server.
                say(std::io::stderr(), format_args!("broadcaster: {err:#}"));
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(sources: Sources, found: Found, config: Config) -> anyhow::Result<()> {
    // Before anything is said about being up: a signal sent then must find its listener.
    let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let server = Server::build(&config)?;
    let reloader = Reloader::new(sources, found, config, server.reloadable())?;
    actix_rt::spawn(reloader.run());
    announce(&format!("listening on http://{}/", server.addr()));
    if let Some(addr) = server.admin_addr() {
        announce(&format!("metrics and status on http://{addr}/"));
    }
    if let Some(token) = server.first_token() {
        // Not in the log: whoever has it may publish.
        let addr = server.addr();
        let out = std::io::stdout;
        say(out(), format_args!("publish token: {token}"));
        say(
            out(),
            format_args!("playground: http://{addr}/#token={token}"),
        );
    }
    server.run_until(first_signal(terminate, interrupt)).await
}

/// Says it in the log and on standard output.
fn announce(line: &str) {
    log::info!("{line}");
    say(std::io::stdout(), format_args!("{line}"));
}

/// Resolves on the first signal to stop. The second ends the process at once.
async fn first_signal(mut terminate: Signal, mut interrupt: Signal) {
    let (stop, stopped) = oneshot::channel();
    actix_rt::spawn(async move {
        // Not within the macro: what is not logged is not evaluated, and so not waited for.
        let name = either(&mut terminate, &mut interrupt).await;
        log::info!("{name}: shutting down");
        if stop.send(()).is_ok() {
            let name = either(&mut terminate, &mut interrupt).await;
            log::warn!("second signal, {name}: exiting at once");
            std::process::exit(1);
        }
    });
    if stopped.await.is_err() {
        log::error!("the signal listener has ended; shutting down");
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn start_logger(config: &Config) {
    // Below the server's own lines, what the libraries say matters from `warn` on, and what
    // actix-http says of each bad request does not matter at all.
    let filter = format!(
        "{level},actix_http=off,actix_server={libraries},actix_files={libraries},mio=off,notify=off",
        level = config.log.level,
        libraries = config.log.level.min(LevelFilter::Warn),
    );
    let (logger, complaint) = match rust_log() {
        Ok(logger) => (logger, None),
        Err(complaint) => (Builder::new().parse_filters(&filter).build(), complaint),
    };
    log::set_max_level(logger.filter());
    log::set_boxed_logger(Box::new(logger)).expect("the logger is set only here");
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    if let Some(complaint) = complaint {
        log::warn!("{complaint}; log.level is used instead");
    }
}

/// The logger that the variable RUST_LOG asks for, or what is wrong with it, if it is set.
fn rust_log() -> Result<Logger, Option<&'static str>> {
    let given = std::env::var_os("RUST_LOG").filter(|given| !given.is_empty());
    let given = given.ok_or(None)?;
    let given = given.to_str().ok_or(Some("RUST_LOG is not UTF-8"))?;
    let logger = Builder::new()
        .filter_level(LevelFilter::Off)
        .parse_filters(given)
        .build();
    let says_off = given.to_ascii_lowercase().contains("off");
    if logger.filter() == LevelFilter::Off && !says_off {
        return Err(Some("RUST_LOG names no level and no module"));
    }
    Ok(logger)
}

/// Writes a line; a closed pipe is no reason to stop.
fn say(mut to: impl std::io::Write, line: std::fmt::Arguments<'_>) {
    if writeln!(to, "{line}").and_then(|()| to.flush()).is_err() {
        log::debug!("nobody reads what is printed");
    }
}
