//! Measures sse-broadcaster beside its peers: other servers that send the same messages. This program
//! contains the load (the subscribers and publishers), and the peers that are written in Rust.

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
    /// Connect many subscribers, check every number, and print the figures as JSON
    Load(load::FanOut),
    /// Reconnect many subscribers at the same time, each some events behind, while others stay connected
    Storm(load::Storm),
    /// Connect subscribers that receive no messages, disconnect them, and measure the memory that remains
    Idle(load::Idle),
    /// Publish from many connections, and check that subscribers receive everything
    Publish(publish::Publish),
    /// Publish many updates in one request, and check that a subscriber receives everything
    Bulk(publish::Bulk),
    /// Publish at one node of a cluster, and measure the time from the acknowledgement to the delivery at
    /// another node
    Lag(lag::Lag),
    /// Measure this server and its peers, and write docs/explain/performance.md
    Compare(compare::Compare),
    /// Write docs/explain/performance.md and its plot again from docs/explain/performance.jsonl
    Report {
        /// Root folder of the project
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
    /// Run a server that makes one write for each subscriber and message, and nothing else
    Bare(servers::Serve),
    /// Run a server that follows the example of the actix project
    ActixPattern(servers::Serve),
    /// Run a server with axum and a broadcast channel
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
        Command::Bulk(bulk) => print(&bulk.run()?),
        Command::Lag(lag) => print(&lag.run()?),
        Command::Compare(compare) => compare.run(),
        Command::Report { root } => report::write(&root),
        Command::Bare(serve) => servers::bare::serve(&serve),
        Command::ActixPattern(serve) => servers::actix_pattern::serve(&serve),
        Command::AxumBroadcast(serve) => servers::axum_broadcast::serve(&serve),
    }
}

/// Prints the figures as one line of JSON, for programs.
fn print(figures: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
