//! The current values of topics whose newest event was evicted from a log file: the records of these events,
//! and the topics of which each is the public or the private value.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::{
    super::{
        record::Record,
        stored_value::{StoredValue, TopicValue},
    },
    keys::corrupted,
    metadata::{FileMetadata, UNCERTAIN_BEFORE},
};
use crate::event::{EventId, Topic};

/// The records of the events that are values, by their numbers.
const VALUES: TableDefinition<u64, &[u8]> = TableDefinition::new("values");
/// The number of the value of each topic. Before the topic, a key has `+` for the public value or `-` for the
/// private one.
const CURRENT: TableDefinition<&str, u64> = TableDefinition::new("current_values");

/// Name of the row in the table `about` that is 1 if values were dropped at a limit.
const DROPPED: &str = "values_dropped";

/// The changes of the values.
#[derive(Debug, Default)]
pub(in crate::event_log) struct ValueBatch {
    /// Values whose events this commit removes from the table of events. Their records move to the table of
    /// values.
    pub(in crate::event_log) kept: Vec<TopicValue>,
    /// Stored values that are no longer current.
    pub(in crate::event_log) outdated: Vec<TopicValue>,
    /// The numbers of the stored events that are no longer the value of any topic.
    pub(in crate::event_log) unused: Vec<u64>,
    pub(in crate::event_log) has_dropped: bool,
    pub(in crate::event_log) uncertain_before: u64,
}

/// The values in a file.
#[derive(Debug, Default)]
pub(in crate::event_log) struct StoredValues {
    pub(in crate::event_log) values: Vec<StoredValue>,
    pub(in crate::event_log) has_dropped: bool,
    pub(in crate::event_log) uncertain_before: u64,
}

fn key(value: &TopicValue) -> String {
    let sign = if value.is_private { '-' } else { '+' };
    format!("{sign}{}", value.topic)
}

/// Reads the values, in the order of their numbers. `number` reads a row of the table `about`.
pub(super) fn read(
    txn: &ReadTransaction,
    about: FileMetadata,
    number: impl Fn(&str) -> Result<Option<u64>, redb::Error>,
) -> Result<StoredValues, redb::Error> {
    let FileMetadata { epoch, first, .. } = about;
    let has_dropped = number(DROPPED)?.is_some_and(|dropped| dropped > 0);
    let uncertain_before = number(UNCERTAIN_BEFORE)?.unwrap_or(0);
    let current = match txn.open_table(CURRENT) {
        // No value was evicted yet, or a version without values has evicted some.
        Err(TableError::TableDoesNotExist(_)) => {
            let is_of_older_version = first > 1 && about.evicted_at.is_none();
            return Ok(StoredValues {
                values: Vec::new(),
                has_dropped: has_dropped || is_of_older_version,
                uncertain_before,
            });
        }
        table => table?,
    };
    let mut topics: BTreeMap<u64, Vec<Topic>> = BTreeMap::new();
    for row in current.iter()? {
        let (key, seq) = row?;
        let topic = key.value().get(1..).unwrap_or_default();
        let topics = topics.entry(seq.value()).or_default();
        topics.push(Topic::of_hub(topic));
    }
    let mut values = Vec::with_capacity(topics.len());
    for row in txn.open_table(VALUES)?.iter()? {
        let (seq, bytes) = row?;
        let seq = seq.value();
        let record: Record = serde_json::from_slice(bytes.value())
            .map_err(|err| corrupted(format!("value {seq}: {err}")))?;
        values.push(StoredValue {
            id: EventId { epoch, seq },
            event: record.event(),
            topics: topics.remove(&seq).unwrap_or_default(),
        });
    }
    if !topics.is_empty() || values.last().is_some_and(|last| last.id.seq >= first) {
        return Err(corrupted("its values do not match its events".to_owned()));
    }
    Ok(StoredValues {
        values,
        has_dropped,
        uncertain_before,
    })
}

impl StoredValues {
    /// The changes after which the file has only the values in `current`.
    pub(in crate::event_log) fn reduced_to(&self, current: &[TopicValue]) -> ValueBatch {
        let used: BTreeSet<_> = current.iter().map(|value| value.position).collect();
        let is_current = |value: &TopicValue| current.contains(value);
        let mut batch = ValueBatch {
            has_dropped: self.has_dropped,
            uncertain_before: self.uncertain_before,
            ..ValueBatch::default()
        };
        for stored in &self.values {
            if !used.contains(&stored.id.seq) {
                batch.unused.push(stored.id.seq);
            }
            let is_private = stored.event.audience.as_ref().is_some_and(|it| it.private);
            let topics = stored.topics.iter().map(|topic| TopicValue {
                topic: topic.clone(),
                is_private,
                position: stored.id.seq,
            });
            batch.outdated.extend(topics.filter(|it| !is_current(it)));
        }
        batch
    }
}

impl ValueBatch {
    /// Writes the changes. Call this before the evicted events are removed from the table `events`.
    pub(super) fn write(
        &self,
        txn: &WriteTransaction,
        events: &redb::Table<'_, u64, &[u8]>,
        about: &mut redb::Table<'_, &str, u64>,
    ) -> Result<(), redb::Error> {
        if self.has_dropped {
            about.insert(DROPPED, 1)?;
        }
        if self.uncertain_before > 0 {
            about.insert(UNCERTAIN_BEFORE, self.uncertain_before)?;
        }
        if self.kept.is_empty() && self.outdated.is_empty() {
            return Ok(());
        }
        let mut values = txn.open_table(VALUES)?;
        let mut current = txn.open_table(CURRENT)?;
        for value in &self.outdated {
            let key = key(value);
            let known = current.get(&*key)?.map(|position| position.value());
            if known == Some(value.position) {
                current.remove(&*key)?;
            }
        }
        for position in &self.unused {
            values.remove(position)?;
        }
        let mut last = None;
        for value in &self.kept {
            if last.replace(value.position) != Some(value.position) {
                let record = events.get(value.position)?;
                let record = record.ok_or_else(|| corrupted("an event is missing".to_owned()))?;
                values.insert(value.position, record.value())?;
            }
            current.insert(&*key(value), value.position)?;
        }
        Ok(())
    }
}
