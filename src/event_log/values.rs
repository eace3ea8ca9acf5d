//! The current value of each topic: the newest event on it, which is kept after its eviction, so that a
//! subscriber can begin with the present state.
//!
//! A topic has at most two values: the newest public event, and the newest private event if that is newer. A
//! subscriber receives the newest that it may read. An event with empty data clears the value of its topics.
//! A private one only hides the public value, from those who may read it.

use std::{collections::HashMap, ops::Range};

use super::{
    read::{Entry, ValueRetention, ValuesExtent},
    stored_value::{StoredValue, TopicValue},
    value_events::{Current, Value, ValueEvents},
};
use crate::{
    event::{Event, EventId, Topic},
    matching::Selection,
};

/// The values of a log, with their positions.
#[derive(Debug)]
pub(super) struct Values {
    retention: ValueRetention,
    topics: HashMap<Topic, Current>,
    events: ValueEvents,
    /// Whether values were dropped because of the retention limits.
    has_dropped: bool,
    /// Events before this position may have been lost: older values may be outdated, and missing ones may have
    /// existed. 0: nothing was lost.
    uncertain_before: u64,
    /// How often all values were replaced.
    pub(super) generation: u64,
}

impl Values {
    /// Creates an empty collection. Nothing counts as lost or dropped yet.
    pub(super) fn new(retention: ValueRetention) -> Self {
        Self {
            retention,
            topics: HashMap::new(),
            events: ValueEvents::default(),
            has_dropped: false,
            uncertain_before: 0,
            generation: 0,
        }
    }

    pub(super) fn extent(&self) -> ValuesExtent {
        ValuesExtent {
            topics: self.topics.len(),
            bytes: self.events.bytes,
        }
    }

    /// Updates the values with the newest event of the log, to which the log assigned this id.
    pub(super) fn update(&mut self, entry: &Entry, event: &Event, id: EventId) {
        if self.retention.topics == 0 {
            self.has_dropped = true;
            return;
        }
        let is_private = entry.audience.private;
        let is_clear = event.data().is_empty();
        let value = Value::new(entry, event, id);
        let is_too_large = value.bytes > self.retention.bytes;
        self.has_dropped |= is_too_large;
        let mut topics = 0;
        for topic in &entry.audience.topics {
            let Some(current) = self.topics.get_mut(topic) else {
                if !is_clear && !is_too_large {
                    topics += 1;
                    let current = Current::new(is_private, entry.position);
                    self.topics.insert(topic.clone(), current);
                }
                continue;
            };
            // The event names the topic twice.
            if *current.slot(is_private) == Some(entry.position) {
                continue;
            }
            self.events.release(topic, current, true);
            if !is_private || is_too_large {
                self.events.release(topic, current, false);
            }
            if !is_too_large && (!is_clear || current.public.is_some()) {
                *current.slot(is_private) = Some(entry.position);
                topics += 1;
            }
            if current.is_empty() {
                self.topics.remove(topic);
            }
        }
        self.events.insert(entry.position, value, topics);
        self.drop_beyond_retention();
    }

    /// Adds values that were stored: an event, and the topics of which it is the current value. Call this
    /// before newer events are added, in the order of the positions.
    pub(super) fn restore(&mut self, entry: &Entry, stored: &StoredValue) {
        for topic in &stored.topics {
            let current = self.topics.entry(topic.clone()).or_default();
            *current.slot(entry.audience.private) = Some(entry.position);
        }
        let value = Value::new(entry, &stored.event, stored.id);
        self.events
            .insert(entry.position, value, stored.topics.len());
        self.drop_beyond_retention();
    }

    fn drop_beyond_retention(&mut self) {
        let ValueRetention { topics, bytes } = self.retention;
        while self.topics.len() > topics || self.events.bytes > bytes {
            let Some((position, value)) = self.events.pop_first() else {
                return;
            };
            self.has_dropped = true;
            let is_private = value.audience.private;
            for topic in &value.audience.topics {
                let Some(current) = self.topics.get_mut(topic) else {
                    continue;
                };
                if *current.slot(is_private) != Some(position) {
                    continue;
                }
                *current.slot(is_private) = None;
                self.events.note_outdated(topic, is_private, position);
                // A private event with empty data has nothing left to hide.
                if !is_private && self.events.is_clear(current.private) {
                    self.events.release(topic, current, true);
                }
                if current.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
    }

    /// Notes that values before this position may be missing or outdated, because events may have been lost.
    pub(super) fn set_uncertain_before(&mut self, position: u64) {
        self.uncertain_before = self.uncertain_before.max(position);
    }

    /// Notes that values were dropped at a limit, here or in the storage from which they were restored.
    pub(super) fn set_dropped(&mut self) {
        self.has_dropped = true;
    }

    /// Whether values were dropped, and the position before which values may be outdated.
    pub(super) fn completeness(&self) -> (bool, u64) {
        (self.has_dropped, self.uncertain_before)
    }

    /// Removes all values, because they will be restored from the storage.
    pub(super) fn clear(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            ..Self::new(self.retention)
        };
    }

    /// The value that subscribers with this selection receive for a topic, with its position. It may be one
    /// with empty data, which clears the topic.
    fn of_topic(&self, topic: &str, selection: &Selection) -> Option<(u64, &Value)> {
        let current = self.topics.get(topic)?;
        let value = |position: Option<u64>| {
            let position = position?;
            Some((position, self.events.by_position.get(&position)?))
        };
        let private = value(current.private);
        // A private event on several topics may be for the subscriber because of another topic only.
        let private = private.filter(|(_, value)| {
            selection.may_read(&value.audience) && selection.names(topic, true)
        });
        private.or_else(|| value(current.public))
    }

    /// Those topics of the event that the selection asks for, and whose value, for these subscribers, is this
    /// event.
    pub(super) fn topics_for<'a>(
        &self,
        (position, value): (u64, &'a Value),
        selection: &Selection,
    ) -> Vec<&'a Topic> {
        let is_current = |topic: &&Topic| {
            let current = self.of_topic(topic.as_str(), selection);
            !value.is_clear && current.is_some_and(|(current, _)| current == position)
        };
        let topics = value.audience.topics.iter();
        topics
            .filter(|topic| selection.asks_for(topic) && is_current(topic))
            .collect()
    }

    /// The values at these positions. Empty if the range ends before its start.
    pub(super) fn range(&self, positions: Range<u64>) -> impl Iterator<Item = (u64, &Value)> {
        // `BTreeMap::range` panics if the range ends before its start.
        let values = self
            .events
            .by_position
            .range(positions.start..positions.end.max(positions.start));
        values.map(|(position, value)| (*position, value))
    }

    /// The values that subscribers with this selection receive for these topics, at positions in this range,
    /// in log order: each with its position and those of the topics of which it is the value.
    pub(super) fn of_topics(
        &self,
        topics: &[&str],
        selection: &Selection,
        range: &Range<u64>,
    ) -> Vec<(u64, &Value, Vec<&Topic>)> {
        let mut found = Vec::with_capacity(topics.len());
        for topic in topics {
            let value = self.of_topic(topic, selection);
            let value =
                value.filter(|(position, value)| !value.is_clear && range.contains(position));
            let Some((position, value)) = value else {
                continue;
            };
            let mut names = value.audience.topics.iter();
            if let Some(name) = names.find(|name| name.as_str() == *topic) {
                found.push((position, value, name));
            }
        }
        found.sort_by_key(|(position, ..)| *position);
        let same = found.chunk_by(|one, other| one.0 == other.0);
        let joined = same.map(|same| {
            let names = same.iter().map(|(_, _, name)| *name).collect();
            (same[0].0, same[0].1, names)
        });
        joined.collect()
    }

    /// Whether the values that a selection receives are all that it should receive. `exact_topics`: the
    /// topics that it asks for, if it asks for nothing else.
    pub(super) fn is_complete(&self, selection: &Selection, exact_topics: Option<&[&str]>) -> bool {
        let is_certain = |topic: &&str| {
            let value = self.of_topic(topic, selection);
            value.is_some_and(|(position, _)| position >= self.uncertain_before)
        };
        let is_all = !self.has_dropped && self.uncertain_before == 0;
        is_all || exact_topics.is_some_and(|topics| topics.iter().all(is_certain))
    }

    /// The log file has the values before this position. Records which of them stop being current, for
    /// [`Self::take_outdated`].
    pub(super) fn set_stored_before(&mut self, position: u64) {
        self.events.stored_before = position;
    }

    /// The stored values that stopped being current since the last call. Also returns the positions of those
    /// that are no longer the value of any topic.
    pub(super) fn take_outdated(&mut self) -> (Vec<TopicValue>, Vec<u64>) {
        let outdated = std::mem::take(&mut self.events.outdated);
        let positions = outdated.iter().map(|value| value.position);
        let mut unused: Vec<_> = positions
            .filter(|position| !self.events.by_position.contains_key(position))
            .collect();
        unused.dedup();
        (outdated, unused)
    }

    /// The topics of which the events at these positions are the values.
    pub(super) fn current_in(&self, positions: Range<u64>) -> Vec<TopicValue> {
        let mut found = Vec::new();
        for (position, value) in self.range(positions) {
            let is_private = value.audience.private;
            for topic in &value.audience.topics {
                let current = self.topics.get(topic).copied();
                let is_current = |mut current: Current| *current.slot(is_private) == Some(position);
                let known = |found: &[TopicValue]| {
                    let of_position = found.iter().rev();
                    let mut of_position = of_position.take_while(|it| it.position == position);
                    of_position.any(|it| it.topic == *topic)
                };
                if current.is_some_and(is_current) && !known(&found) {
                    found.push(TopicValue {
                        topic: topic.clone(),
                        is_private,
                        position,
                    });
                }
            }
        }
        found
    }
}
