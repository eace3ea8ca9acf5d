//! TCP connections: malformed input, pipelined requests and clients that vanish.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod requests;
mod vanished_host;
