//! Delivery to connected subscribers: slow readers, heartbeats and checkpoints.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod signs_of_life;
mod slow_readers;
