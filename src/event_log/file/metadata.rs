//! The tables of a log file that every part of it uses, and the metadata of the file.

use redb::{Database, ReadableDatabase as _, TableDefinition};

use super::keys::corrupted;

pub(super) const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
pub(super) const ABOUT: TableDefinition<&str, u64> = TableDefinition::new("about");

/// The constants below are keys of the table `about`, the log's metadata. This one is the key of
/// the file format's version.
pub(super) const FORMAT: &str = "format";
pub(super) const EPOCH: &str = "epoch";
/// Key of a number: all events from this number on are in the file, except evicted presence events (those
/// about active subscriptions). The oldest event may have a larger number. Absent until a commit removes an
/// event that is not a presence event.
pub(super) const FIRST: &str = "first";
pub(super) const NEXT: &str = "next";
pub(super) const TICKS: &str = "ticks";
/// Key of a number: presence events (those about active subscriptions) with smaller numbers may be missing,
/// because they were evicted. Absent until the first commit with numbers in `Batch::evicted_presence`.
pub(super) const PRESENCE_FROM: &str = "presence_from";
/// Key of a flag: 1 while acknowledged events may not be synced to disk yet, otherwise 0.
pub(super) const UNSYNCED: &str = "unsynced";
/// Keys of two times in milliseconds since 1970: when events were found to be lost, and when the newest
/// evicted event was appended, not counting presence events. Absent until that happens.
pub(super) const LOST_AT: &str = "lost_at";
pub(super) const EVICTED_AT: &str = "evicted_at";

/// Key of a number: topics without a value, or with one before this number, may have had a newer one that was
/// lost. Absent until events are found to be lost.
pub(super) const UNCERTAIN_BEFORE: &str = "values_uncertain_before";

/// The metadata of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::event_log) struct FileMetadata {
    pub(in crate::event_log) epoch: u64,
    /// Every event from this number on is in the file, except evicted presence events (those about active
    /// subscriptions).
    pub(in crate::event_log) first: u64,
    /// The number that the next event will have.
    pub(in crate::event_log) next: u64,
    /// The number of the ticker's next message, starting at 0. (The ticker publishes numbered messages for
    /// tests and demos.)
    pub(in crate::event_log) ticks: u64,
    /// Whether acknowledged events may not be synced to disk yet. If this is true when the server starts, the
    /// last process did not end cleanly, and such events may be lost.
    pub(in crate::event_log) unsynced: bool,
    /// When events were last found to be lost, in milliseconds since 1970. `None`: never.
    pub(in crate::event_log) lost_at: Option<u64>,
    /// When the newest evicted event was appended, in milliseconds since 1970. `None`: no event was evicted,
    /// or the time is unknown.
    pub(in crate::event_log) evicted_at: Option<u64>,
}

/// Reads the metadata of a file with this epoch.
pub(super) fn read(db: &Database, epoch: u64) -> Result<FileMetadata, redb::Error> {
    let events = db.begin_read()?.open_table(EVENTS)?;
    let oldest = events.range(0..)?.next().transpose()?;
    let next = number(db, NEXT)?;
    let oldest = oldest.map_or(next, |(seq, _)| seq.value());
    let first = optional_number(db, FIRST)?;
    Ok(FileMetadata {
        epoch,
        first: first.map_or(oldest, |first| first.min(oldest)),
        next,
        ticks: number(db, TICKS)?,
        unsynced: number(db, UNSYNCED)? != 0,
        lost_at: optional_number(db, LOST_AT)?,
        evicted_at: optional_number(db, EVICTED_AT)?,
    })
}

pub(super) fn number(db: &Database, key: &str) -> Result<u64, redb::Error> {
    optional_number(db, key)?.ok_or_else(|| corrupted(format!("its {key} is missing")))
}

pub(super) fn optional_number(db: &Database, key: &str) -> Result<Option<u64>, redb::Error> {
    let about = db.begin_read()?.open_table(ABOUT)?;
    Ok(about.get(key)?.map(|value| value.value()))
}
