//! A running server as a whole: start, limits, reload, logs and shutdown.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod logging;
mod overload;
mod reload;
mod shutdown;
