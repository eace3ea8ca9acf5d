//! The HTTP interface of a running server: routes, publishing, subscribing and the demo page.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod legacy;
mod openapi;
mod publish;
mod routes;
mod static_files;
mod stream;
mod subscribe;
