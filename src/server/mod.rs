//! The whole server: builds it from a config, runs it until shutdown, reloads its config, and checks the
//! limits of its host.

mod descriptors;
mod host;
mod listeners;
mod reload;
#[allow(
    clippy::module_inception,
    reason = "the server itself, beside its parts"
)]
mod server;
pub mod token;

pub use self::{
    reload::Reloader,
    server::{Reloadable, Server},
};
