//! The binary `broadcaster`: selects the command, loads the config, and turns the result into an exit code.

mod args;
mod publish;
mod serve;
mod token;

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use sse_broadcaster::config::Config;
use tikv_jemallocator::Jemalloc;

use self::args::{Args, Command};

/// When subscribers disconnect, jemalloc returns their memory to the operating system within seconds. With
/// glibc's allocator, the process would keep nearly all of this memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => return help_or_wrong_usage(&err),
    };
    let sources = args.sources();
    let found = sources.look();
    let config = match sources.load(&found) {
        Ok(config) => config,
        Err(err) => return wrong(&err.into()),
    };
    let config_file = || {
        let file = found.path().map(|path| path.display().to_string());
        file.unwrap_or_else(|| "the built-in config".to_owned())
    };
    let done = match &args.command {
        Some(Command::Token(ask)) => token::run(ask, &config),
        Some(Command::Publish(ask)) => publish::run(ask, &config),
        None if args.print_config => print(format_args!("{}", config.to_toml().trim_end())),
        None if args.check_config => {
            check(&config).and_then(|()| print(format_args!("{} is good", config_file())))
        }
        None => return serve::run(sources, found, config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Wrong(err)) => wrong(&err),
        Err(Failure::Failed(err)) => {
            complain(&err);
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed. Each variant has its own exit code.
enum Failure {
    /// The arguments or the config are wrong: exit code 2.
    Wrong(anyhow::Error),
    /// The command could not be carried out: exit code 1.
    Failed(anyhow::Error),
}

/// Checks the files that the config names: the key files, and the path of a log file.
fn check(config: &Config) -> Result<(), Failure> {
    sse_broadcaster::check_issuers(&config.auth.issuers, &config.hub_url())
        .map_err(|err| Failure::Wrong(err.into()))?;
    if let Some(file) = &config.server.admin_token_file {
        sse_broadcaster::check_admin_token(file).map_err(|err| Failure::Wrong(err.into()))?;
    }
    let log = config.log_kind();
    log.check().map_err(|err| Failure::Wrong(err.into()))
}

fn wrong(err: &anyhow::Error) -> ExitCode {
    complain(err);
    ExitCode::from(2)
}

/// Prints the text that `--help` or `--version` requests, or the error in the arguments, and returns the exit
/// code.
fn help_or_wrong_usage(err: &clap::Error) -> ExitCode {
    match printed(err.print()) {
        Ok(()) if err.use_stderr() => ExitCode::from(2),
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            complain(&err);
            ExitCode::FAILURE
        }
    }
}

fn complain(err: &anyhow::Error) {
    // If standard error cannot be written, there is nowhere to report it.
    writeln!(io::stderr(), "broadcaster: {err:#}").ok();
}

/// Writes a line to standard output.
fn print(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    printed(written).map_err(Failure::Failed)
}

/// Converts the result of a write to standard output. A closed pipe is not an error: the program that reads
/// the pipe, such as `head`, needs no more output.
fn printed(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
            Err(err).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
