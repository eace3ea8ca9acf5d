//! The load: thousands of subscribers on a few epoll threads. It checks that each got every number
//! once and in order, and allocates nothing for a delivery.

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
    subscriber::{Command, Request, check_head},
};

/// The most that connecting may take, and that a laggard may need to catch up.
pub(crate) const CONNECT_PATIENCE: Duration = Duration::from_secs(120);
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(20);

/// Whom to load, with how many.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The server's address
    #[arg(long)]
    pub(crate) addr: SocketAddr,
    /// The server's process, whose CPU time and memory count with that of its children
    #[arg(long)]
    pub(crate) pid: u32,
    /// Where the stream is
    #[arg(long, default_value = "/events/sse")]
    pub(crate) target: String,
    /// How many subscribers
    #[arg(long, default_value_t = 1000)]
    pub(crate) subscribers: usize,
    /// How many threads they are spread over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) threads: u8,
    /// How many connections may wait for their answer at once, in all: few enough for every server's
    /// accept queue, and enough that it always has one to answer
    #[arg(long, default_value_t = 500)]
    pub(crate) at_once: usize,
    /// The server numbers each subscriber's messages by itself
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
