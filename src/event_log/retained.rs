//! Decides which events of the log in memory are retained, which are evicted but still readable for connected
//! subscribers, and which are dropped.
//!
//! Presence events, which announce that subscriptions become active or end, have a separate lane. Any client
//! can cause any number of them, and they must not evict other events.

use std::{sync::Arc, time::Instant};

use super::{
    epoch_history::EpochHistory,
    given_ids::GivenIds,
    lane::{Bounds, Lane},
    read::{Entry, Retention, ValueRetention},
    resume_point::ResumePoint,
    values::Values,
};
use crate::event::{Audience, EventId, GapReason, ResumeFrom};

/// The entries of the log in memory, with their positions, their ids, and the ids that publishers chose.
#[derive(Debug)]
pub(super) struct Retained {
    pub(super) epoch_history: EpochHistory,
    /// All events except presence events. Also the holes: entries without an event, which mark that events
    /// may be missing.
    pub(super) events: Lane,
    /// Presence events, each of which announces that a subscription became active or ended.
    pub(super) presence: Lane,
    /// The position that the next appended event will have.
    pub(super) next: u64,
    pub(super) given: GivenIds,
    /// Evicted events from this position on were all on the log's own topic, so the log knows how many of
    /// them a subscriber missed. The topics of earlier events are unknown once they are evicted.
    pub(super) unknown_audience_before: u64,
    /// The current values of topics.
    pub(super) values: Values,
    /// When events were last found to be lost. `None`: never.
    pub(super) lost_at: Option<Instant>,
    /// When the newest evicted event was appended, not counting presence events. `None`: none was evicted.
    pub(super) evicted_at: Option<Instant>,
    /// When the newest evicted presence event was appended, at the latest. `None`: none was evicted.
    pub(super) presence_evicted_at: Option<Instant>,
}

impl Retained {
    /// Creates an empty log whose first event will have the id `first` and this position.
    pub(super) fn starting_at(position: u64, first: EventId, values: ValueRetention) -> Self {
        Self {
            epoch_history: EpochHistory::new(position, first),
            events: Lane::starting_at(position),
            presence: Lane::starting_at(position),
            next: position,
            given: GivenIds::default(),
            unknown_audience_before: position,
            values: Values::new(values),
            lost_at: None,
            evicted_at: None,
            presence_evicted_at: None,
        }
    }

    /// The position from which on all events except presence events are retained.
    pub(super) fn oldest(&self) -> u64 {
        self.events.first_retained()
    }

    /// The position after the newest hole, or that of the first event in memory if there is no hole.
    pub(super) fn first_without_hole(&self) -> u64 {
        let mut entries = self.events.from(0).rev();
        let hole = entries.find(|entry| entry.is_hole());
        hole.map_or(self.events.first_held(), |hole| hole.position + 1)
    }

    /// Memory of all events, in bytes, including evicted ones that connected subscribers may still read.
    pub(super) fn bytes(&self) -> usize {
        self.events.held_bytes() + self.presence.held_bytes()
    }

    pub(super) fn is_hole(&self, position: u64) -> bool {
        self.events.get(position).is_some_and(Entry::is_hole)
    }

    pub(super) fn find(&self, from: &ResumeFrom, wants_presence: bool) -> Option<ResumePoint<u64>> {
        match from {
            ResumeFrom::Now => Some(ResumePoint::at(self.next, false)),
            // The checkpoint at the end of the snapshot announces the id.
            ResumeFrom::Snapshot => Some(ResumePoint::at(self.next, true)),
            // `MemoryLog::resume` or the archive decides these cases. For an id that a publisher chose, the
            // subscriber resumes after the oldest event that has it, which may be in the archive only.
            ResumeFrom::Since(_)
            | ResumeFrom::Earliest
            | ResumeFrom::Unknown(_)
            | ResumeFrom::AfterGiven(_) => None,
            ResumeFrom::After { id, .. } => {
                let cursor = self.cursor_after(*id, wants_presence)?;
                Some(ResumePoint::at(cursor, true))
            }
        }
    }

    /// The position after the event with this id. `None` if the log does not know the id, if a later event
    /// that the subscriber may want was evicted, or if events may be missing right after the id (a hole).
    pub(super) fn cursor_after(&self, id: EventId, wants_presence: bool) -> Option<u64> {
        let position = self.epoch_history.after(id)?;
        let oldest = if wants_presence {
            self.oldest().max(self.presence.first_retained())
        } else {
            self.oldest()
        };
        let is_here = (oldest..=self.next).contains(&position) && !self.is_hole(position);
        is_here.then_some(position)
    }

    /// Finds where a subscriber starts that requests the events since `begin` with `from`: at the first event
    /// at or after this time. It receives a gap first if such events were evicted or may have been lost.
    /// `begin` is `None` for a time that is too long ago to be represented.
    pub(super) fn since(
        &self,
        from: &ResumeFrom,
        begin: Option<Instant>,
        wants_presence: bool,
    ) -> ResumePoint<u64> {
        let is_since = |at: Option<Instant>| at.is_some_and(|at| begin.is_none_or(|it| it <= at));
        let first = |lane: &Lane| lane.first_since(begin).map_or(self.next, |it| it.position);
        let cursor = first(&self.events).min(first(&self.presence));
        // `MemoryLog::read` reports presence events that are missing after the cursor.
        let is_presence_missing = wants_presence
            && cursor >= self.presence.first_held()
            && is_since(self.presence_evicted_at);
        let reason = if is_since(self.lost_at) {
            GapReason::Epoch
        } else if is_since(self.evicted_at) || is_presence_missing {
            GapReason::Evicted
        } else {
            return ResumePoint::at(cursor, false);
        };
        let last = self.epoch_history.id_before(cursor);
        ResumePoint::after_gap(cursor, reason, from, last, None)
    }

    /// Adds an entry at the next position: to the presence events if `is_presence`, otherwise to the other
    /// events.
    pub(super) fn push(&mut self, entry: Entry, is_presence: bool) {
        self.next += 1;
        if is_presence {
            self.presence.push(entry);
        } else {
            self.events.push(entry);
        }
    }

    /// Evicts the oldest events until the log is within its limits. Presence events and other events have
    /// separate maximum numbers. If both together use too much memory, presence events are evicted first,
    /// until they use at most a quarter of the limit. The newest event is kept even if it is larger than the
    /// limit. Also removes evicted events from memory, except those that connected subscribers may still
    /// read.
    pub(super) fn evict_beyond(&mut self, retention: Retention, own: &Arc<Audience>, now: Instant) {
        let any_size = |events| Bounds {
            events,
            bytes: usize::MAX,
            age: retention.age,
        };
        while self.presence.exceeds(any_size(retention.presence), now) {
            self.evict_presence();
        }
        let starts_with_hole = |lane: &Lane| lane.oldest_retained().is_some_and(Entry::is_hole);
        while self.events.exceeds(any_size(retention.events), now)
            || (self.events.retained() > 1 && starts_with_hole(&self.events))
        {
            self.evict_event(own);
        }
        while self.events.retained_bytes() + self.presence.retained_bytes() > retention.bytes {
            // Evict presence events while they use more than a quarter of the memory limit, then other
            // events. If only one other event is left, evict presence events again. The newest event of each
            // kind stays.
            let is_much_presence = self.presence.retained_bytes() > retention.bytes / 4;
            match (self.presence.retained(), self.events.retained()) {
                (2.., _) if is_much_presence => self.evict_presence(),
                (_, 2..) => self.evict_event(own),
                (2.., _) => self.evict_presence(),
                _ => break,
            }
        }
        // No new subscriber can start before the position `oldest`, so evict all earlier presence events.
        let oldest = self.oldest();
        let is_before = |entry: &Entry| entry.position < oldest;
        while self.presence.oldest_retained().is_some_and(is_before) {
            self.evict_presence();
        }
        self.drop_evicted(retention);
    }

    fn evict_presence(&mut self) {
        if let Some(entry) = self.presence.evict_oldest() {
            self.presence_evicted_at = Some(entry.appended);
            self.unknown_audience_before = self.unknown_audience_before.max(entry.position + 1);
        }
    }

    fn evict_event(&mut self, own: &Arc<Audience>) {
        if let Some(entry) = self.events.evict_oldest() {
            self.evicted_at = Some(entry.appended);
            if !Arc::ptr_eq(&entry.audience, own) {
                self.unknown_audience_before = self.unknown_audience_before.max(entry.position + 1);
            }
            self.given.evict(entry.position);
        }
    }

    /// Removes the oldest evicted events from memory, while more than `queue` events of their kind are in
    /// memory or the log uses too much memory. Connected subscribers may still read the evicted events that
    /// remain.
    fn drop_evicted(&mut self, retention: Retention) {
        while self.presence.has_evicted()
            && (self.presence.held() > retention.queue || self.bytes() > retention.bytes)
        {
            self.presence.drop_oldest();
        }
        while self.events.has_evicted()
            && (self.events.held() > retention.queue || self.bytes() > retention.bytes)
        {
            self.events.drop_oldest();
        }
        self.epoch_history.forget_before(self.events.first_held());
    }

    /// The position from which on no event will be evicted soon: the start of the newer half of the history.
    /// `bounds` are half of the log's bounds. `presence` is the full maximum number of presence events, which
    /// this function halves.
    pub(super) fn newer_half(&mut self, bounds: Bounds, presence: usize, now: Instant) -> u64 {
        let of_presence = Bounds {
            events: presence / 2,
            ..bounds
        };
        let events = self.events.newer_half(bounds, self.next, now);
        if self.presence.retained() == 0 {
            return events;
        }
        let presence = self.presence.newer_half(of_presence, self.next, now);
        events.max(presence)
    }
}

impl Retention {
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            events: self.events,
            bytes: self.bytes,
            age: self.age,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{
            MemoryLog,
            tests::{keeping, topic},
        },
        *,
    };
    use crate::event::Event;

    const EPOCH: u64 = 1000;

    #[test]
    fn an_id_is_at_risk_when_newer_events_fill_half_of_any_bound() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let newer_half = |retention: Retention, events: u64, at: Instant| {
            let log = MemoryLog::new(EPOCH, retention, topic("own"));
            for n in 1..=events {
                log.append(&Event::message("1"), start + second * n as u32);
            }
            (log.newer_half(at), log.extent().bytes)
        };
        let end = start + second * 9;
        let position = |retention, events, at| newer_half(retention, events, at).0;
        let (_, bytes_of_one) = newer_half(keeping(10), 1, end);

        assert_eq!(position(keeping(10), 0, end), 1);
        assert_eq!(position(keeping(10), 5, end), 1);
        assert_eq!(position(keeping(10), 9, end), 5);
        assert_eq!(position(keeping(4), 9, end), 8);
        let bytes = Retention {
            bytes: 8 * bytes_of_one,
            ..keeping(100)
        };
        assert_eq!(position(bytes, 9, end), 6);
        let aged = Retention {
            age: Some(second * 8),
            ..keeping(100)
        };
        assert_eq!(position(aged, 9, end), 5);
        assert_eq!(
            position(aged, 9, end + second * 2),
            7,
            "after 2 s without events"
        );
    }
}
