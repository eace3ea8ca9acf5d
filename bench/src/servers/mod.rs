//! The peers that are written in Rust. Each of these servers prints its address on standard output.

pub(crate) mod actix_pattern;
pub(crate) mod axum_broadcast;
pub(crate) mod bare;

use std::net::SocketAddr;

use clap::Args;

/// Path of the stream.
const PATH: &str = "/events/sse";

/// The arguments of each peer.
#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) addr: SocketAddr,
    /// Milliseconds between two messages
    #[arg(long, default_value_t = 100)]
    pub(crate) interval: u64,
}
