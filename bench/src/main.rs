//! Measures sse-broadcaster beside its peers: the load, and the peers that are written here.

mod compare;
mod lag;
mod load;
mod publish;
mod record;
mod report;
mod servers;
mod usage;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Measures servers of numbered event streams
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Subscribe many times over, check every number, and print the figures as JSON
    Load(load::FanOut),
    /// Let many reconnect at once, each some events behind, while others listen
    Storm(load::Storm),
    /// Subscribe where nothing is sent, then leave, and see what memory is left
    Idle(load::Idle),
    /// Publish from many connections, and check that whoever listens gets everything
    Publish(publish::Publish),
    /// Publish at one node of a cluster and listen at another: how long from the acknowledgement on
    Lag(lag::Lag),
    /// Measure this server beside its peers, and write docs/explain/performance.md
    Compare(compare::Compare),
    /// Write docs/explain/performance.md and its plot anew from docs/explain/performance.jsonl
    Report {
        /// The project's root
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
    /// Serve with one write for each subscriber and message, and nothing else
    Bare(servers::Serve),
    /// Serve in the pattern of the actix project's example
    ActixPattern(servers::Serve),
    /// Serve with axum and a broadcast channel
    AxumBroadcast(servers::Serve),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("sse-bench: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Load(load) => print(&load.run()?),
        Command::Storm(storm) => print(&storm.run()?),
        Command::Idle(idle) => print(&idle.run()?),
        Command::Publish(publish) => print(&publish.run()?),
        Command::Lag(lag) => print(&lag.run()?),
        Command::Compare(compare) => compare.run(),
        Command::Report { root } => report::write(&root),
        Command::Bare(serve) => servers::bare::serve(&serve),
        Command::ActixPattern(serve) => servers::actix_pattern::serve(&serve),
        Command::AxumBroadcast(serve) => servers::axum_broadcast::serve(&serve),
    }
}

/// One line of JSON, for programs.
fn print(figures: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
