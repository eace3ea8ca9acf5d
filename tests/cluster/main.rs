//! Any number of servers with one log in Redis: real servers, a real Redis, and networks in between
//! that can be cut.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test says what came of it, and fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod chaos;
mod connections;
mod crowd;
mod faults;
mod memory;
mod nodes;
mod older;
mod refusals;
mod retention;
mod shared;
mod subscriptions;
