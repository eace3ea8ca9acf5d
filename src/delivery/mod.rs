//! Moves events from the log to sockets.
//!
//! Each subscriber is a cursor, in memory or in the archive. A subscriber whose cursor is at the head is
//! live, and the fan-out of its worker thread writes each round of events to it. All others read the log
//! themselves.

mod archive_cursor;
mod fan_out;
mod outlet;
mod position;
mod registry;
mod round;
mod subscriber;

pub(crate) use self::{
    fan_out::FanOut,
    subscriber::{Next, Subscriber, Subscription},
};
#[cfg(feature = "bench")]
pub(crate) use self::{
    outlet::Outlet,
    position::Position,
    registry::{KeepAlive, Part, Registry},
    subscriber::BATCH_BYTES,
};
