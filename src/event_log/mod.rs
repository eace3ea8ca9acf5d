//! The event log, the one source of truth: nothing reaches a subscriber that is not in it. It keeps the
//! newest events in memory and, with `log.kind`, also in a file or in Redis. Owns ids, retention,
//! resuming, and the schedule of the numbered messages.

mod appender;
mod archive;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod damage_tests;
mod epoch_history;
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
mod memory;
pub(crate) mod once;
mod open;
mod read;
mod record;
mod redis;
mod redis_url;
mod resume_lookup;
mod resume_point;
mod retained;
#[cfg(test)]
mod tests;
mod ticker;
mod waiting;
mod writer;

pub(crate) use self::{
    appender::{Appender, Listener, Opened},
    archive::{Archive, Asked, Item, Reached},
    memory::MemoryLog,
    open::open,
    read::{Entry, Extent, Portion, Read, ReadFrom},
    resume_lookup::{Cursor, ResumeLookup, look_up},
    resume_point::ResumePoint,
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
