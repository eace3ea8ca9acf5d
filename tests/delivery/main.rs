//! Delivery to subscribers: slow readers, heartbeats, checkpoints, snapshots and polls.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod options;
mod signs_of_life;
mod slow_readers;
mod snapshots;
