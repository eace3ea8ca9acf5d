//! The event log: owns the events, their ids, retention, resume, and the schedule of the ticker's numbered
//! test messages. Subscribers receive only events that are in the log. The newest events are in memory.
//! Depending on `log.kind`, events are also stored in a file or in Redis.

mod append;
mod appender;
mod archive;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod damage_tests;
mod duplicates;
#[cfg(test)]
mod duplicates_tests;
mod epoch_history;
mod error;
mod file;
#[cfg(test)]
mod file_tests;
mod given_ids;
#[cfg(test)]
mod hole_tests;
mod key_index;
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
mod revocations;
mod stored_value;
#[cfg(test)]
mod tests;
mod ticker;
mod value_events;
mod values;
mod waiting;
mod writer;

pub use self::{
    append::PublishSettings,
    error::{LogError, LogUnavailable},
    kind::{LogKind, RedisSettings},
    read::{Retention, ValueRetention},
    redis_url::{InvalidRedisUrl, RedisUrl},
    ticker::TickerSettings,
};
pub(crate) use self::{
    append::{
        Ack, AlreadyInProgress, Append, AppendKey, AppendResult, Appended, KeysInProgress,
        NumberedAck, Refusal,
    },
    appender::{Appender, Listener, Opened},
    archive::{Archive, ArchiveResponse, Item, Reached},
    memory::MemoryLog,
    open::open,
    read::{Entry, Extent, Portion, Read, ReadFrom, ValuesCursor, ValuesRead},
    resume_lookup::{Cursor, ResumeLookup, look_up},
    resume_point::ResumePoint,
    revocations::{MAX_REVOCATIONS, RevocationChange, RevocationRefusal, Revocations},
    ticker::{Tick, Ticker},
};
