//! From the log to sockets: each subscriber's cursor, in memory and in the archive, and the fan-out of
//! a worker thread, which writes each round of events to its live subscribers.

mod fan_out;
mod older;
mod place;
mod registry;
mod round;
mod subscriber;

pub(crate) use self::{
    fan_out::FanOut,
    subscriber::{Next, Subscriber, Subscription},
};
#[cfg(feature = "bench")]
pub(crate) use self::{
    place::Place,
    registry::{KeepAlive, Outlet, Part, Registry},
    subscriber::BATCH_BYTES,
};
