//! The Broadcaster: active subscriptions, and its use as a library.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod library;
mod subscriptions;
