//! The HTTP resources, with one file for each. A handler extracts, authorizes, asks the hub, and responds.
//! This folder also parses forms and updates, and renders errors as problem documents.

mod accept;
mod admin_token;
mod body;
mod bulk;
mod challenge;
mod credentials;
mod events;
mod health;
mod idempotency_key;
mod metadata;
mod metrics;
mod openapi;
mod origins;
mod page;
mod permitted;
mod policy;
mod problem;
mod publish;
mod publish_rights;
mod revocations;
#[cfg(test)]
mod room_tests;
mod routes;
mod status;
mod subscription_request;
mod subscriptions;
mod topics;
pub(crate) mod update;

pub use self::{
    admin_token::{AdminTokenError, check_admin_token},
    events::subscribe,
    metrics::metrics,
};
#[cfg(feature = "fuzzing")]
pub(crate) use self::{
    bulk::{Line, Lines},
    credentials::{Credentials, Malformed, comes_from_a_trusted_page, presented},
    origins::Origins,
    topics::{StreamParameters, stream_parameters},
};
pub(crate) use self::{
    page::Page,
    policy::Policy,
    problem::complete_errors,
    routes::{Resources, configure, cors},
    status::StartTime,
};
