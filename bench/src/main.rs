//! Measures sse-broadcaster beside its peers: the load, and the peers that are written here.

mod bare;
mod load;
mod usage;

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand};

/// Measures servers of numbered event streams
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Subscribe many times over, check every number, and print the figures as JSON
    Load(LoadArgs),
    /// Serve with one write for each subscriber and message, and nothing else
    Bare(BareArgs),
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// The server's address
    #[arg(long)]
    addr: SocketAddr,
    /// The server's process, whose CPU time and memory count with that of its children
    #[arg(long)]
    pid: u32,
    /// Where the stream is
    #[arg(long, default_value = "/events/sse")]
    target: String,
    /// How many subscribers
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// How many threads they are spread over
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds between the last connection and the first delivery that counts
    #[arg(long, default_value_t = 3)]
    settle: u64,
    /// Seconds in which deliveries count
    #[arg(long, default_value_t = 8)]
    measure: u64,
}

#[derive(Debug, Args)]
struct BareArgs {
    /// The address to listen on
    #[arg(long)]
    addr: SocketAddr,
    /// Milliseconds from one message to the next
    #[arg(long, default_value_t = 100)]
    interval: u64,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Bare(BareArgs { addr, interval }) => {
            bare::serve(addr, Duration::from_millis(interval))
        }
        Command::Load(args) => {
            let figures = load::run(&load::Plan {
                addr: args.addr,
                target: args.target,
                subscribers: args.subscribers,
                threads: args.threads.max(1),
                settle: Duration::from_secs(args.settle),
                measure: Duration::from_secs(args.measure),
                server: args.pid,
            })?;
            println!("{}", serde_json::to_string(&figures)?);
            Ok(())
        }
    }
}
