//! The event log of a running server: resuming, and each kind of log.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod file;
mod redis;
mod resume;
mod resume_model;
mod snapshot_model;
