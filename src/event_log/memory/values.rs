//! Reads, restores and stores the current values of topics in the log in memory.

use std::{ops::Range, time::Instant};

use super::{
    super::{
        read::{Portion, ValuesCursor, ValuesRead},
        retained::Retained,
        stored_value::{LoadedValues, StoredValue, TopicValue},
        value_events::Value,
    },
    MemoryLog,
};
use crate::{
    event::{EventId, Topic},
    matching::Selection,
};

impl MemoryLog {
    /// The cursor of a subscriber that reads all values.
    pub(crate) fn begin_values(&self) -> ValuesCursor {
        ValuesCursor {
            from: 0,
            generation: self.retained.read().values.generation,
        }
    }

    /// Reads the values that subscribers with this selection receive, in log order, from the cursor to the
    /// position `until`, excluding it. Calls `accept` with each value and with the topics that the selection
    /// asks for and of which it is the value.
    pub(crate) fn read_values(
        &self,
        cursor: ValuesCursor,
        until: u64,
        selection: &Selection,
        portion: Portion,
        mut accept: impl FnMut(&Value, &[&Topic]),
    ) -> ValuesRead {
        let retained = self.retained.read();
        let values = &retained.values;
        let range = cursor.from..until;
        let exact_topics = selection.exact_topics();
        let known = exact_topics.as_deref();
        let mut bytes = 0;
        // Returns false if the value does not fit into the portion.
        let mut take = |value: &Value, names: &[&Topic]| {
            if names.is_empty() {
                return true;
            }
            if bytes > 0 && bytes + value.frame.len() > portion.bytes {
                return false;
            }
            bytes += value.frame.len();
            accept(value, names);
            true
        };
        match known {
            Some(topics) => {
                for (position, value, names) in values.of_topics(topics, selection, &range) {
                    if !take(value, &names) {
                        return ValuesRead::More { from: position };
                    }
                }
            }
            None => {
                let mut topics = 0;
                for (position, value) in values.range(range) {
                    let names = || values.topics_for((position, value), selection);
                    if topics >= portion.topics || !take(value, &names()) {
                        return ValuesRead::More { from: position };
                    }
                    topics += value.audience.topics.len();
                }
            }
        }
        let is_complete = values.is_complete(selection, known);
        ValuesRead::End {
            is_complete: is_complete && values.generation == cursor.generation,
        }
    }

    /// Adds the values of a file, in the order of their ids. Each has the `seq` of its id as its position, which
    /// must be before that of the first event. Call this before events are appended.
    pub(in crate::event_log) fn restore_values(&self, stored: &[StoredValue]) {
        let mut retained = self.retained.write();
        for value in stored {
            self.restore(&mut retained, value.id.seq, value);
        }
    }

    fn restore(&self, retained: &mut Retained, position: u64, value: &StoredValue) {
        let entry = self.entry(position, value.id, &value.event, Instant::now());
        retained.values.restore(&entry, value);
    }

    /// Replaces all values by those that were read from Redis. A value whose event is in memory, after the
    /// newest hole, has the position of the event. Values of events that memory does not have yet are left out.
    pub(in crate::event_log) fn load_values(&self, loaded: &LoadedValues) {
        let mut retained = self.retained.write();
        let first = retained.first_without_hole();
        let first_id = retained.epoch_history.id(first);
        let newest = retained.epoch_history.id_before(retained.next);
        self.replace_values(&mut retained, loaded, first, first_id);
        for value in &loaded.values {
            let position = retained.epoch_history.after(value.id);
            let is_here = value.id >= first_id && newest.is_some_and(|newest| value.id <= newest);
            if let Some(after) = position.filter(|_| is_here) {
                self.restore(&mut retained, after - 1, value);
            }
        }
    }

    /// Replaces all values by those that were read from Redis and that are older than the event at position
    /// `first`, which has the id `first_id`. They get made-up positions before it; only their order matters.
    pub(super) fn replace_values(
        &self,
        retained: &mut Retained,
        loaded: &LoadedValues,
        first: u64,
        first_id: EventId,
    ) {
        retained.values.clear();
        let older = loaded.values.partition_point(|value| value.id < first_id);
        for (n, value) in (0..).zip(&loaded.values[..older]) {
            self.restore(retained, first - older as u64 + n, value);
        }
        if loaded.state.has_dropped {
            retained.values.set_dropped();
        }
        if let Some(lost) = loaded.state.lost_until {
            let is_lost = |value: &StoredValue| value.id <= lost;
            let before = if lost < first_id {
                let lost = loaded.values.partition_point(is_lost);
                first - (older - lost) as u64
            } else {
                let after = retained.epoch_history.after(lost);
                after.map_or(retained.next, |after| after.min(retained.next))
            };
            retained.values.set_uncertain_before(before);
        }
    }

    /// Notes that values before this position may be missing or outdated, because events may have been lost.
    pub(in crate::event_log) fn set_values_uncertain_before(&self, position: u64) {
        self.retained.write().values.set_uncertain_before(position);
    }

    /// Notes that values were dropped at a limit before they were restored.
    pub(in crate::event_log) fn set_values_dropped(&self) {
        self.retained.write().values.set_dropped();
    }

    /// Whether values were dropped at a limit, and the position before which values may be missing or
    /// outdated; 0 if none may.
    pub(in crate::event_log) fn values_completeness(&self) -> (bool, u64) {
        self.retained.read().values.completeness()
    }

    /// From now on, notes which of the values before this position are no longer current, because the log
    /// file has them.
    pub(in crate::event_log) fn set_values_stored_before(&self, position: u64) {
        self.retained.write().values.set_stored_before(position);
    }

    /// The stored values that are no longer current, since the last call. Also returns the positions of those
    /// that are no longer the value of any topic.
    pub(in crate::event_log) fn take_outdated_values(&self) -> (Vec<TopicValue>, Vec<u64>) {
        self.retained.write().values.take_outdated()
    }

    /// The topics of which the events at these positions are the values.
    pub(in crate::event_log) fn values_in(&self, positions: Range<u64>) -> Vec<TopicValue> {
        self.retained.read().values.current_in(positions)
    }
}
