//! What the tests of whole servers share: servers, clients, and waiting with a time limit.

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

/// Time limit of a wait. It is long because the machine may be busy. A test that passes waits only for a
/// small part of it.
pub const BOUND: Duration = Duration::from_secs(20);

/// Polls `condition` until it returns a value. Panics after [`BOUND`] with `what` in the message.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
