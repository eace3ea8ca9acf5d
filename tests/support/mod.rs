//! What the whole-server tests share: servers, clients, and waiting with a bound.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "each test file uses its own part of this, and fails by panicking"
)]

pub mod client;
pub mod mercure;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod server;
pub mod small_disk;

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what must come. Long, because the machine may be busy; a test that
/// passes never waits for all of it.
pub const BOUND: Duration = Duration::from_secs(20);

/// Waits until `condition` gives a value. Panics, saying what was waited for, after [`BOUND`].
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
