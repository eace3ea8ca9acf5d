//! The peers that are written here. Each says on standard output where it listens.

pub(crate) mod actix_pattern;
pub(crate) mod axum_broadcast;
pub(crate) mod bare;

use std::net::SocketAddr;

use clap::Args;

/// Where the stream is.
const PATH: &str = "/events/sse";

/// What each of them is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Serve {
    /// The address to listen on; port 0: any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) addr: SocketAddr,
    /// Milliseconds from one message to the next
    #[arg(long, default_value_t = 100)]
    pub(crate) interval: u64,
}
