//! The load: thousands of subscribers on a few epoll threads. It checks that each subscriber receives every
//! message number once and in order. A delivery allocates nothing, so that the load costs little CPU time.

mod arrivals;
mod crowd;
mod fan_out;
mod idle;
mod laggards;
mod probe;
mod scan;
mod storm;
mod subscriber;
mod thread;

use std::{net::SocketAddr, time::Duration};

use clap::Args;

pub(crate) use self::{
    crowd::{Crowd, Present},
    fan_out::{FanOut, FanOutFigures},
    idle::{Idle, IdleFigures},
    scan::Scan,
    storm::{Storm, StormFigures},
    subscriber::{Order, Request, check_head},
};

/// Time limit until the responses to all subscribers have begun. `CATCH_UP_TIMEOUT` is the time limit until
/// all subscribers have received the last message.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(20);

/// The server to load, and the number of subscribers.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The server's address
    #[arg(long)]
    pub(crate) addr: SocketAddr,
    /// Process id of the server; its CPU time and memory include those of its children
    #[arg(long)]
    pub(crate) pid: u32,
    /// Path of the stream
    #[arg(long, default_value = "/events/sse")]
    pub(crate) target: String,
    /// Number of subscribers
    #[arg(long, default_value_t = 1000)]
    pub(crate) subscribers: usize,
    /// Number of threads that the subscribers are distributed over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) threads: u8,
    /// Maximum number of connections that wait for their response at the same time: few enough for every
    /// server's accept queue, and enough to keep the server busy
    #[arg(long, default_value_t = 500)]
    pub(crate) at_once: usize,
    /// The server numbers the messages of each subscriber separately
    #[arg(long)]
    pub(crate) own_numbers: bool,
}

impl Target {
    fn request(&self) -> Request {
        Request {
            addr: self.addr,
            target: self.target.clone(),
            topics: 1,
            last_event_id: None,
        }
    }

    fn crowd(&self) -> Crowd {
        Crowd {
            request: self.request(),
            subscribers: self.subscribers,
            before: 0,
            threads: usize::from(self.threads),
            at_once: self.at_once,
            own_numbers: self.own_numbers,
            next: None,
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
