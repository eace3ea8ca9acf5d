//! The central actor and the handle through which the rest of the server uses it. The `Broadcaster` registers
//! and limits subscribers, lists active subscriptions, and runs the timer of the ticker, which appends
//! numbered messages.

mod actor;
mod client_registry;
mod expiry;
mod hub;
mod hub_settings;
mod hub_state;
mod live_settings;
mod presence;
mod publishing;
mod subscribing;

pub use self::{
    actor::{Broadcaster, Drain, Reconfigure},
    client_registry::AtTokenLimit,
    hub::{BroadcasterGone, Gone, Hub},
    hub_settings::HubSettings,
    live_settings::LiveSettings,
    publishing::PublishError,
};
pub(crate) use self::{
    actor::{Inspect, Inspection},
    expiry::Expiry,
    hub_state::HubState,
    presence::canonical_path,
    subscribing::{List, Permit, Subscribe, SubscriptionList},
};
