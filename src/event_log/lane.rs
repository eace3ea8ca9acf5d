//! Keeps the events of one kind in log order, oldest first. There is one lane for presence events and one for
//! all others. Positions between two events of a lane may belong to events of the other lane.
//!
//! A *retained* event is available to every subscriber. An *evicted* event is still in memory, but only
//! connected subscribers may read it. A *dropped* event is no longer in memory. *Held* events are the
//! retained and the evicted ones.

use std::{
    collections::{VecDeque, vec_deque::Iter},
    time::{Duration, Instant},
};

use super::read::Entry;

/// The events of one kind that are in memory, oldest first: either presence events or all others.
#[derive(Debug)]
pub(super) struct Lane {
    entries: VecDeque<Entry>,
    /// Number of evicted entries. They are at the front of `entries`, and connected subscribers may still
    /// read them.
    evicted: usize,
    /// Every event of this lane's kind from this position on is in memory, retained or evicted.
    first_held: u64,
    /// Every event of this lane's kind from this position on is retained, which means not evicted.
    first_retained: u64,
    /// Size of the retained entries in memory, in bytes.
    retained_bytes: usize,
    /// Size of all entries in memory, in bytes, both retained and evicted.
    held_bytes: usize,
    newer: NewerHalf,
}

/// The newer half of a lane: the newest retained events that fit into half of its bounds.
#[derive(Debug, Clone, Copy, Default)]
struct NewerHalf {
    /// Index in `entries` of the oldest event in the newer half.
    from: usize,
    /// Size in memory of all entries from this index on, in bytes.
    bytes: usize,
}

/// Upper bounds of a history: number of events, bytes of memory, and age. `None`: the age is not limited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) age: Option<Duration>,
}

impl Bounds {
    pub(super) fn halved(self) -> Self {
        Self {
            events: self.events / 2,
            bytes: self.bytes / 2,
            age: self.age.map(|age| age / 2),
        }
    }

    /// Whether a history with this number of events, this size in bytes and this oldest event exceeds the
    /// bounds.
    fn are_exceeded(self, events: usize, bytes: usize, oldest: &Entry, now: Instant) -> bool {
        let age = now.saturating_duration_since(oldest.appended);
        let is_too_old = self.age.is_some_and(|most| age > most);
        is_too_old || events > self.events || bytes > self.bytes
    }
}

impl Lane {
    /// Creates an empty lane. No event of its kind before this position is in memory.
    pub(super) fn starting_at(position: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            evicted: 0,
            first_held: position,
            first_retained: position,
            retained_bytes: 0,
            held_bytes: 0,
            newer: NewerHalf::default(),
        }
    }

    /// Adds an event. Its position must be after those of all events in the lane.
    pub(super) fn push(&mut self, entry: Entry) {
        self.retained_bytes += entry.bytes;
        self.held_bytes += entry.bytes;
        self.newer.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    /// The position from which on every event of this lane's kind is in memory, retained or evicted.
    pub(super) fn first_held(&self) -> u64 {
        self.first_held
    }

    /// The position from which on every event of this lane's kind is retained, which means not evicted.
    pub(super) fn first_retained(&self) -> u64 {
        self.first_retained
    }

    /// Number of retained events.
    pub(super) fn retained(&self) -> usize {
        self.entries.len() - self.evicted
    }

    /// Number of events in memory, both retained and evicted.
    pub(super) fn held(&self) -> usize {
        self.entries.len()
    }

    /// Size of all events in memory, in bytes, both retained and evicted.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Size of the retained events in memory, in bytes.
    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    pub(super) fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(super) fn oldest_retained(&self) -> Option<&Entry> {
        self.entries.get(self.evicted)
    }

    /// The entry at this position, if it is in memory.
    pub(super) fn get(&self, position: u64) -> Option<&Entry> {
        let entry = self.entries.get(self.index(position))?;
        (entry.position == position).then_some(entry)
    }

    /// The entries in memory, retained and evicted, from this position on.
    pub(super) fn from(&self, position: u64) -> Iter<'_, Entry> {
        self.entries.range(self.index(position)..)
    }

    /// The index of the first entry at or after this position.
    fn index(&self, position: u64) -> usize {
        // If no position in between belongs to the other lane, the index is the distance from `first_held`.
        // This is tried first, because it needs no search.
        let dense = position.saturating_sub(self.first_held) as usize;
        match self.entries.get(dense) {
            Some(entry) if entry.position == position => dense,
            _ => self
                .entries
                .partition_point(|entry| entry.position < position),
        }
    }

    /// Evicts the oldest retained event. It stays in memory until it is [dropped](Self::drop_oldest).
    pub(super) fn evict_oldest(&mut self) -> Option<&Entry> {
        let entry = self.entries.get(self.evicted)?;
        self.retained_bytes -= entry.bytes;
        self.first_retained = entry.position + 1;
        self.evicted += 1;
        Some(entry)
    }

    /// Whether any event in memory is evicted.
    pub(super) fn has_evicted(&self) -> bool {
        self.evicted > 0
    }

    /// Removes the oldest event from memory. It must be evicted.
    pub(super) fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.evicted = self.evicted.saturating_sub(1);
            self.held_bytes -= entry.bytes;
            self.first_held = entry.position + 1;
            match self.newer.from.checked_sub(1) {
                Some(from) => self.newer.from = from,
                None => self.newer.bytes -= entry.bytes,
            }
        }
    }

    /// Whether the retained events exceed these bounds. Always false for a single event, so that the newest
    /// event is kept.
    pub(super) fn exceeds(&self, bounds: Bounds, now: Instant) -> bool {
        let exceeds =
            |oldest| bounds.are_exceeded(self.retained(), self.retained_bytes, oldest, now);
        self.retained() > 1 && self.oldest_retained().is_some_and(exceeds)
    }

    /// The position of the oldest event in the newer half, which is the newest retained events that fit into
    /// `half_bounds`. If the lane is empty, returns `next`, the position of the next event.
    pub(super) fn newer_half(&mut self, half_bounds: Bounds, next: u64, now: Instant) -> u64 {
        let newest = self.entries.len().saturating_sub(1);
        while self.newer.from < newest {
            let NewerHalf { from, bytes } = self.newer;
            let entry = &self.entries[from];
            let events = self.entries.len() - from;
            if from >= self.evicted && !half_bounds.are_exceeded(events, bytes, entry, now) {
                break;
            }
            self.newer.bytes -= entry.bytes;
            self.newer.from += 1;
        }
        let oldest = self.entries.get(self.newer.from);
        oldest.map_or(next, |entry| entry.position)
    }
}
