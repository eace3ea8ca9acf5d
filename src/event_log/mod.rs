//! The event log, the one source of truth: nothing reaches a subscriber that is not in it. It keeps the
//! newest events in memory and, with `log.kind`, also in a file or in Redis. Owns ids, retention,
//! resuming, and the schedule of the numbered messages.

mod appender;
mod archive;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod damage_tests;
mod error;
mod file;
#[cfg(test)]
mod file_tests;
mod given_ids;
#[cfg(test)]
mod hole_tests;
mod kind;
#[cfg(test)]
mod kinds_tests;
mod lane;
mod lineage;
mod memory;
pub(crate) mod once;
mod open;
mod placing;
mod read;
mod record;
mod redis;
mod redis_url;
mod retained;
#[cfg(test)]
mod tests;
mod ticker;
mod waiting;
mod writer;

pub(crate) use self::{
    appender::{Appender, Listener, Opened},
    archive::{Archive, Asked, Beginning, Item, Reached},
    memory::MemoryLog,
    open::open,
    placing::{Placed, Start, place},
    read::{Entry, Extent, Placement, Portion, Read, ReadFrom},
    ticker::{Tick, Ticker},
};
pub use self::{
    error::LogError,
    kind::{LogKind, LogSync, RedisSettings},
    read::Retention,
    redis_url::{InvalidRedisUrl, RedisUrl},
    ticker::TickerSettings,
    waiting::LogUnavailable,
};
