//! Runs the server until a signal stops it.

use std::process::ExitCode;

use anyhow::Context as _;
use env_logger::{Builder, Logger};
use log::LevelFilter;
use rustix::process::Signal;
use sse_broadcaster::{
    HubUrl, Reloader, Server,
    config::{Config, Found, LogKindName, Sources},
};
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::oneshot,
};

use super::{Failure, complain, print};

/// The log target of every message of this binary.
const TARGET: &str = "broadcaster";

/// Script of the playground, a part of the demo page. The server prints a link to the playground if
/// `server.static_dir` contains this file, the hub has Mercure's well-known path, and the server has created
/// a token. The link contains the token.
const PLAYGROUND: &str = "playground.js";

/// Runs the server, and returns the exit code.
pub(crate) fn run(sources: Sources, found: Found, config: Config) -> ExitCode {
    start_logger(&config);
    match actix_rt::System::new().block_on(serve(sources, found, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            if log::log_enabled!(log::Level::Error) {
                log::error!(target: TARGET, "{err:#}");
            } else {
                // The error must be visible even if logging is off.
                complain(&err);
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve(sources: Sources, found: Found, config: Config) -> anyhow::Result<()> {
    // Signals are handled from here on, before the server reports that it listens. So a signal that is sent
    // after this report is not missed.
    let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    // Without a handler, SIGHUP would kill the process while the server starts. Later, the `Reloader` handles
    // this signal.
    let _hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    // Without a handler, SIGXFSZ kills a process that writes beyond the limit on file size. With a handler,
    // the write fails instead, as on a full disk.
    let _file_too_large =
        signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).context("cannot listen for SIGXFSZ")?;
    warn_of_separate_tokens(&config);
    let server = Server::build(&config)?;
    // The playground always sends its requests to Mercure's well-known path. So print its link only if the
    // hub has this path.
    let hub = config.hub.url.as_ref();
    let has_playground = config.server.static_dir.join(PLAYGROUND).is_file()
        && hub.is_none_or(HubUrl::is_well_known);
    let reloader = Reloader::new(sources, found, config, server.reloadable())?;
    actix_rt::spawn(reloader.run());
    announce(&format!("listening on http://{}/", server.addr()));
    if let Some(addr) = server.admin_addr() {
        announce(&format!("metrics and status on http://{addr}/"));
    }
    if let Some(token) = server.first_token() {
        // The token is printed only to standard output, not to the log, because anyone who has the token may
        // publish.
        let addr = server.addr();
        tell(format_args!("publish token: {token}"));
        if has_playground {
            // A browser cannot open the unspecified address, such as 0.0.0.0, so the link contains
            // `localhost` instead.
            let host = match addr.ip().is_unspecified() {
                true => format!("localhost:{}", addr.port()),
                false => addr.to_string(),
            };
            tell(format_args!("playground: http://{host}/#token={token}"));
        }
    }
    server.run_until(first_signal(terminate, interrupt)).await
}

/// Warns if servers that share a log in Redis would not accept each other's tokens.
fn warn_of_separate_tokens(config: &Config) {
    if config.log.kind != LogKindName::Redis {
        return;
    }
    if config.auth.issuers.is_empty() {
        log::warn!(
            target: TARGET,
            "auth.issuers is empty: each server that shares the log generates its own key, so the others \
             refuse its tokens"
        );
    }
    if config.hub.url.is_none() {
        log::warn!(
            target: TARGET,
            "hub.url is \"auto\": each server that shares the log has a different hub URL, so the others \
             refuse its tokens"
        );
    }
}

/// Writes a line to the log and to standard output.
fn announce(line: &str) {
    log::info!(target: TARGET, "{line}");
    tell(format_args!("{line}"));
}

/// Writes a line to standard output. A failure is only logged, because the server can run without standard
/// output.
fn tell(line: std::fmt::Arguments<'_>) {
    if let Err(Failure::Wrong(err) | Failure::Failed(err)) = print(line) {
        log::warn!(target: TARGET, "{err:#}");
    }
}

/// Resolves on the first SIGTERM or SIGINT, or if signals can no longer be received. A second signal ends the
/// process immediately.
async fn first_signal(mut terminate: unix::Signal, mut interrupt: unix::Signal) {
    let (stop, stopped) = oneshot::channel();
    actix_rt::spawn(async move {
        // The wait must be outside `log::info!`, because the macro evaluates its arguments only if the level
        // `info` is enabled.
        let name = either(&mut terminate, &mut interrupt).await;
        log::info!(target: TARGET, "{name}: shutting down");
        if stop.send(()).is_ok() {
            let name = either(&mut terminate, &mut interrupt).await;
            log::warn!(target: TARGET, "second signal, {name}: exiting immediately");
            std::process::exit(1);
        }
    });
    if stopped.await.is_err() {
        log::error!(target: TARGET, "signals can no longer be received; shutting down");
    }
}

async fn either(terminate: &mut unix::Signal, interrupt: &mut unix::Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn start_logger(config: &Config) {
    // Without RUST_LOG, actix-server and actix-files log at most warnings and errors. actix-http and mio log
    // nothing, because actix-http would log each bad request.
    let filter = format!(
        "{level},actix_http=off,actix_server={libraries},actix_files={libraries},mio=off",
        level = config.logging.level,
        libraries = config.logging.level.min(LevelFilter::Warn),
    );
    let (logger, complaint) = match rust_log() {
        Ok(logger) => (logger, None),
        Err(complaint) => (Builder::new().parse_filters(&filter).build(), complaint),
    };
    log::set_max_level(logger.filter());
    log::set_boxed_logger(Box::new(logger)).expect("the logger is set only here");
    std::panic::set_hook(Box::new(|panic| log::error!(target: TARGET, "{panic}")));
    if let Some(complaint) = complaint {
        log::warn!(target: TARGET, "{complaint}; logging.level is used instead");
    }
}

/// The logger that the variable RUST_LOG requests. The error says what is wrong with the variable, or is
/// `None` if the variable is not set or empty.
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
