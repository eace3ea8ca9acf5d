//! Keeps the events of one kind in log order, oldest first. There is one lane for presence events (events
//! about active subscriptions) and one for all others. Positions between two events of a lane may belong to
//! events of the other lane.
//!
//! A *retained* event is available to every subscriber. An *evicted* event is still in memory, but only
//! connected subscribers may read it. A *dropped* event is no longer in memory. *Held* events are the
//! retained and the evicted ones.

use std::{
    collections::{VecDeque, vec_deque::Iter},
    time::{Duration, Instant},
};

use super::read::Entry;

/// The events of one kind that are in memory, oldest first. The two kinds are presence events (events about
/// active subscriptions) and all others.
#[derive(Debug)]
pub(super) struct Lane {
    entries: VecDeque<Entry>,
    /// Number of evicted entries, which only connected subscribers may still read. They are at the front of
    /// `entries`.
    evicted: usize,
    /// Every event of this kind from this position on is in memory: retained, or evicted but still readable
    /// for connected subscribers.
    first_held: u64,
    /// Every event of this kind from this position on is retained, so that new subscribers can read it too.
    first_retained: u64,
    /// Memory of the retained entries, in bytes. Does not include evicted entries.
    retained_bytes: usize,
    /// Memory of all entries, retained and evicted, in bytes.
    held_bytes: usize,
    newer: NewerHalf,
}

/// The start of the newer half of a history: its newest events that fit into half of the bounds.
/// [`Lane::newer_half`] updates the start. Between its calls, new events are simply added to the half.
#[derive(Debug, Clone, Copy, Default)]
struct NewerHalf {
    /// Index in `entries` of the oldest event of the newer half.
    from: usize,
    /// Memory of all entries from index `from` on, in bytes.
    bytes: usize,
}

/// Limits of a history: maximum number of events, maximum memory in bytes, and maximum age of the oldest
/// event. `age: None` means no limit.
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

    /// Whether a history with this number of events, this memory in bytes and this oldest event exceeds any
    /// limit.
    fn are_exceeded(self, events: usize, bytes: usize, oldest: &Entry, now: Instant) -> bool {
        let age = now.saturating_duration_since(oldest.appended);
        let is_too_old = self.age.is_some_and(|most| age > most);
        is_too_old || events > self.events || bytes > self.bytes
    }
}

impl Lane {
    /// Creates an empty lane for events from this position on.
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

    /// Adds an event. Its position must be greater than those of all events in the lane.
    pub(super) fn push(&mut self, entry: Entry) {
        self.retained_bytes += entry.bytes;
        self.held_bytes += entry.bytes;
        self.newer.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    /// The position from which on every event of this kind is in memory, retained or evicted.
    pub(super) fn first_held(&self) -> u64 {
        self.first_held
    }

    /// The position from which on every event of this kind is retained, so that new subscribers can read it
    /// too.
    pub(super) fn first_retained(&self) -> u64 {
        self.first_retained
    }

    /// Number of retained events.
    pub(super) fn retained(&self) -> usize {
        self.entries.len() - self.evicted
    }

    /// Number of events in memory: the retained ones, and the evicted ones that connected subscribers may
    /// still read.
    pub(super) fn held(&self) -> usize {
        self.entries.len()
    }

    /// Memory of all events, retained and evicted, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Memory of the retained events, in bytes. Does not include evicted events.
    pub(super) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    pub(super) fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(super) fn oldest_retained(&self) -> Option<&Entry> {
        self.entries.get(self.evicted)
    }

    /// The entry at this position. `None` if it is not in memory, or if the position belongs to the other
    /// lane.
    pub(super) fn get(&self, position: u64) -> Option<&Entry> {
        let entry = self.entries.get(self.index(position))?;
        (entry.position == position).then_some(entry)
    }

    /// The first retained entry that was appended at or after this time. `None` as the time: the oldest one.
    pub(super) fn first_since(&self, begin: Option<Instant>) -> Option<&Entry> {
        let is_before = |entry: &Entry| begin.is_some_and(|begin| entry.appended < begin);
        let first = self.entries.partition_point(is_before);
        self.entries.get(first.max(self.evicted))
    }

    /// The entries from this position on, retained and evicted, oldest first.
    pub(super) fn from(&self, position: u64) -> Iter<'_, Entry> {
        self.entries.range(self.index(position)..)
    }

    /// The index of the first entry at or after this position, or the number of entries if there is none.
    fn index(&self, position: u64) -> usize {
        // If all positions since `first_held` belong to this lane, the index is the distance from
        // `first_held`. Try it first, because it needs no search.
        let dense = position.saturating_sub(self.first_held) as usize;
        match self.entries.get(dense) {
            Some(entry) if entry.position == position => dense,
            _ => self
                .entries
                .partition_point(|entry| entry.position < position),
        }
    }

    /// Evicts the oldest retained event and returns it. The event stays in memory for connected subscribers
    /// until it is [dropped](Self::drop_oldest). Returns `None` if no event is retained.
    pub(super) fn evict_oldest(&mut self) -> Option<&Entry> {
        let entry = self.entries.get(self.evicted)?;
        self.retained_bytes -= entry.bytes;
        self.first_retained = entry.position + 1;
        self.evicted += 1;
        Some(entry)
    }

    /// Whether some events in memory are evicted.
    pub(super) fn has_evicted(&self) -> bool {
        self.evicted > 0
    }

    /// Removes the oldest event from memory. The caller must have evicted it. Does nothing if there is no
    /// event.
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

    /// Whether the retained events exceed these limits. Always false if at most one event is retained, so
    /// that the newest event is kept.
    pub(super) fn exceeds(&self, bounds: Bounds, now: Instant) -> bool {
        let exceeds =
            |oldest| bounds.are_exceeded(self.retained(), self.retained_bytes, oldest, now);
        self.retained() > 1 && self.oldest_retained().is_some_and(exceeds)
    }

    /// The position where the newer half begins: the newest retained events that fit into `half_bounds`. The
    /// newest event belongs to it even if it does not fit. If the lane is empty, returns `next`, the position
    /// of the next event.
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
