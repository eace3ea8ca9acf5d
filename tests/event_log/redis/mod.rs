//! Several servers that share one log in Redis. The tests use real servers, a real Redis, and networks that
//! can be cut.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test prints its figures, and fails by panicking"
)]

mod attack;
mod chaos;
mod connections;
mod crowd;
mod faults;
mod foreign;
mod given_ids;
mod memory;
mod nodes;
mod older;
mod refusals;
mod retention;
mod revocations;
mod shared;
mod subscriptions;
mod values;
