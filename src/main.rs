//! The binary `broadcaster`: arguments, logger, run.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use sse_broadcaster::{
    Reloader, Server,
    config::{Config, Flag, Sources},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Pushes live updates to any number of browsers over plain HTTP (Server-Sent Events).
///
/// Settings come from the config file, over it from variables such as
/// BROADCASTER__TICKER__INTERVAL=250ms, and over these from the flags below. A saved file or SIGHUP
/// is taken over while the server runs. SIGTERM and SIGINT end every stream and then the server; a
/// second one ends it at once.
///
/// Exit codes: 0 after a shutdown, 1 if the server cannot go on, 2 for a bad flag or config.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The config file [default: config/default.toml, or without it the defaults built in]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,

    /// Address and port to listen on, e.g. 0.0.0.0:3000 (server.bind)
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<String>,

    /// From one numbered message to the next, e.g. 250ms (ticker.interval)
    #[arg(long, value_name = "DURATION")]
    interval: Option<String>,

    /// The folder served at / (server.static_dir)
    #[arg(long, value_name = "PATH")]
    static_dir: Option<String>,

    /// How many subscribers there may be; 0: what the limit on open files allows
    /// (server.max_subscribers)
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
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    let name = name.into_string().ok()?;
                    Some((name, value.to_string_lossy().into_owned()))
                })
                .collect(),
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
    let config = match sources.load() {
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
        let file = sources.file();
        let file = file.as_ref().map(|path| path.display().to_string());
        let file = file.as_deref().unwrap_or("the built-in config");
        say(std::io::stdout(), format_args!("{file} is good"));
        return ExitCode::SUCCESS;
    }
    start_logger(&config);
    match actix_rt::System::new().block_on(run(sources, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log::error!("{err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(sources: Sources, config: Config) -> anyhow::Result<()> {
    // Before anything is said about being up: a signal sent then must find its listener.
    let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let server = Server::build(&config)?;
    let reloader = Reloader::new(sources, config, server.hub().clone())?;
    actix_rt::spawn(reloader.run());
    log::info!("listening on http://{}/", server.addr());
    say(
        std::io::stdout(),
        format_args!("listening on http://{}/", server.addr()),
    );
    server.run_until(first_signal(terminate, interrupt)).await
}

/// Resolves on the first signal to stop. The second ends the process at once.
async fn first_signal(mut terminate: Signal, mut interrupt: Signal) {
    let (stop, stopped) = oneshot::channel();
    actix_rt::spawn(async move {
        log::info!(
            "{}: shutting down",
            either(&mut terminate, &mut interrupt).await
        );
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
        libraries = config.log.level.min(log::LevelFilter::Warn),
    );
    let rust_log = std::env::var("RUST_LOG").ok();
    let filter = rust_log.filter(|given| !given.is_empty()).unwrap_or(filter);
    env_logger::Builder::new().parse_filters(&filter).init();
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
}

/// Writes a line; a closed pipe is no reason to stop.
fn say(mut to: impl std::io::Write, line: std::fmt::Arguments<'_>) {
    if writeln!(to, "{line}").and_then(|()| to.flush()).is_err() {
        log::debug!("nobody reads what is printed");
    }
}
