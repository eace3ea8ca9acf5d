//! Moves events from the log to sockets.
//!
//! Each subscriber has a cursor: its position in the log in memory or, for older events, in the archive (the
//! whole log in Redis). A subscriber whose cursor is at the head is live: the fan-out of its worker thread
//! writes new events to its socket. All other subscribers read the log themselves. HTTP/1.0 clients and the
//! streams of an embedding application always do.

mod archive_cursor;
mod fan_out;
mod outlet;
mod position;
mod registry;
mod round;
mod snapshot;
mod subscriber;

pub(crate) use self::{
    fan_out::FanOut,
    snapshot::{Snapshot, with_snapshot},
    subscriber::{Next, Poll, Subscriber, Subscription},
};
#[cfg(feature = "bench")]
pub(crate) use self::{
    outlet::Outlet,
    position::Position,
    registry::{KeepAlive, Part, Registry},
    subscriber::BATCH_BYTES,
};
