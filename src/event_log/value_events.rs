//! The events that are current values of topics, in log order, and which of them a topic has.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use super::{read::Entry, stored_value::TopicValue};
use crate::event::{Audience, Event, EventId, Frame, Topic};

/// Approximate memory of a value beside its event, in bytes, and of each topic of which it is the value.
const VALUE_BYTES: usize = 100;
const TOPIC_BYTES: usize = 100;

/// The events that are values of at least one topic.
#[derive(Debug, Default)]
pub(super) struct ValueEvents {
    pub(super) by_position: BTreeMap<u64, Value>,
    pub(super) bytes: usize,
    /// The log file has the values before this position in its table of values.
    pub(super) stored_before: u64,
    /// The values before `stored_before` that are no longer current for a topic.
    pub(super) outdated: Vec<TopicValue>,
}

/// An event that is the value of at least one topic.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) frame: Frame,
    pub(crate) audience: Arc<Audience>,
    /// The id that the log assigned to the event, if its publisher chose another one.
    pub(crate) own_id: Option<EventId>,
    /// Whether the event is a private one with empty data, which hides an older public value.
    pub(super) is_clear: bool,
    /// Number of topics of which this is a value.
    pub(super) topics: usize,
    /// Memory of the value and its event, in bytes.
    pub(super) bytes: usize,
}

/// The positions of the values of a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Current {
    pub(super) public: Option<u64>,
    /// Always newer than `public`.
    pub(super) private: Option<u64>,
}

impl Value {
    /// A value of no topic yet.
    pub(super) fn new(entry: &Entry, event: &Event, id: EventId) -> Self {
        let topics = entry.audience.topics.len();
        Self {
            frame: entry.frame.clone(),
            audience: entry.audience.clone(),
            own_id: event.given_id().map(|_| id),
            is_clear: event.data().is_empty(),
            topics: 0,
            bytes: entry.bytes + VALUE_BYTES + TOPIC_BYTES * topics,
        }
    }
}

impl Current {
    pub(super) fn new(is_private: bool, position: u64) -> Self {
        let mut current = Self::default();
        *current.slot(is_private) = Some(position);
        current
    }

    pub(super) fn is_empty(&self) -> bool {
        self.public.is_none() && self.private.is_none()
    }

    pub(super) fn slot(&mut self, is_private: bool) -> &mut Option<u64> {
        if is_private {
            &mut self.private
        } else {
            &mut self.public
        }
    }
}

impl ValueEvents {
    /// Adds an event that is a value of this number of topics.
    pub(super) fn insert(&mut self, position: u64, mut value: Value, topics: usize) {
        if topics == 0 {
            return;
        }
        value.topics = topics;
        self.bytes += value.bytes;
        self.by_position.insert(position, value);
    }

    /// Removes the public or private value of a topic from `current`, if it has one. Removes the event if it
    /// is not a value of another topic.
    pub(super) fn release(&mut self, topic: &Topic, current: &mut Current, is_private: bool) {
        let Some(position) = current.slot(is_private).take() else {
            return;
        };
        self.note_outdated(topic, is_private, position);
        if let btree_map::Entry::Occupied(mut value) = self.by_position.entry(position) {
            value.get_mut().topics -= 1;
            if value.get().topics == 0 {
                self.bytes -= value.remove().bytes;
            }
        }
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, Value)> {
        let (position, value) = self.by_position.pop_first()?;
        self.bytes -= value.bytes;
        Some((position, value))
    }

    pub(super) fn note_outdated(&mut self, topic: &Topic, is_private: bool, position: u64) {
        if position < self.stored_before {
            self.outdated.push(TopicValue {
                topic: topic.clone(),
                is_private,
                position,
            });
        }
    }

    /// Whether the value at this position is a private event with empty data.
    pub(super) fn is_clear(&self, position: Option<u64>) -> bool {
        let value = position.and_then(|position| self.by_position.get(&position));
        value.is_some_and(|value| value.is_clear)
    }
}
