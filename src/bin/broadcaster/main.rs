//! The binary `broadcaster`: which command, with which config, and how it ended.

mod args;
mod publish;
mod serve;
mod token;

use std::process::ExitCode;

use clap::Parser as _;
use sse_broadcaster::config::Config;
use tikv_jemallocator::Jemalloc;

use self::args::{Args, Command};

/// Gives the memory of subscribers that left back to the system within seconds. With glibc's
/// allocator the process keeps nearly all of it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
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
        None if args.print_config => {
            print(format_args!("{}", config.to_toml().trim_end()));
            Ok(())
        }
        None if args.check_config => check(&config).map(|()| {
            print(format_args!("{} is good", config_file()));
        }),
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

/// Why a command was not carried out.
enum Failure {
    /// What was asked for is wrong.
    Wrong(anyhow::Error),
    /// It could not be done.
    Failed(anyhow::Error),
}

/// What a config names has to be there, too.
fn check(config: &Config) -> Result<(), Failure> {
    sse_broadcaster::check_issuers(config).map_err(|err| Failure::Wrong(err.into()))?;
    let log = config.log_kind();
    log.check().map_err(|err| Failure::Wrong(err.into()))
}

fn wrong(err: &anyhow::Error) -> ExitCode {
    complain(err);
    ExitCode::from(2)
}

fn complain(err: &anyhow::Error) {
    say(std::io::stderr(), format_args!("broadcaster: {err:#}"));
}

fn print(line: std::fmt::Arguments<'_>) {
    say(std::io::stdout(), line);
}

/// Writes a line; a closed pipe is no reason to stop.
fn say(mut to: impl std::io::Write, line: std::fmt::Arguments<'_>) {
    if writeln!(to, "{line}").and_then(|()| to.flush()).is_err() {
        log::debug!("nobody reads what is printed");
    }
}
