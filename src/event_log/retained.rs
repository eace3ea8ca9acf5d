//! What a log in memory retains, and what it evicts.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Entry, Placement, Retention, given_ids::GivenIds, lineage::Lineage};
use crate::{
    event::{Audience, EventId},
    resume::ResumeFrom,
};

/// The entries of a log, and where they stand in it.
#[derive(Debug)]
pub(super) struct Retained {
    pub(super) lineage: Lineage,
    /// Where events are missing there is a hole, at a place of its own.
    pub(super) entries: VecDeque<Entry>,
    /// The place of the entry at the front.
    pub(super) first: u64,
    /// The place of the oldest event that is retained. Those before it are there for whoever is
    /// connected and was about to read them.
    pub(super) oldest: u64,
    /// The total length of the frames from the oldest on.
    pub(super) bytes: usize,
    /// The newest events: as many as half of each bound allows.
    pub(super) newer: NewerHalf,
    pub(super) given: GivenIds,
    /// The place after the newest evicted event that was not only on the log's own topic. Every event
    /// that was evicted from this place on was on the log's own topic.
    pub(super) others_before: u64,
}

/// The newer half of the history, which ends with the newest event.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewerHalf {
    /// The place of its oldest event.
    pub(super) from: u64,
    /// The total length of its frames.
    pub(super) bytes: usize,
}

/// The bounds of a history.
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

    /// Whether this much is more than the bounds allow.
    pub(super) fn are_exceeded(
        self,
        events: usize,
        bytes: usize,
        oldest: &Entry,
        now: Instant,
    ) -> bool {
        let age = now.saturating_duration_since(oldest.appended);
        let is_too_old = self.age.is_some_and(|most| age > most);
        is_too_old || events > self.events || bytes > self.bytes
    }
}

impl Retained {
    /// Nothing yet; the first event will have this id, whose number is also its place. The place is capped
    /// at half of `u64`, so that counting up cannot overflow: a log in Redis may hold numbers that others
    /// wrote.
    pub(super) fn starting_at(first: EventId) -> Self {
        let place = first.seq.min(u64::MAX / 2);
        Self {
            lineage: Lineage::new(place, first),
            entries: VecDeque::new(),
            first: place,
            oldest: place,
            bytes: 0,
            newer: NewerHalf {
                from: place,
                bytes: 0,
            },
            given: GivenIds::default(),
            // Nobody knows whom those before it were for.
            others_before: place,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn index(&self, place: u64) -> usize {
        (place - self.first) as usize
    }

    pub(super) fn is_hole(&self, place: u64) -> bool {
        let index = place.checked_sub(self.first);
        let entry = index.and_then(|index| self.entries.get(index as usize));
        entry.is_some_and(Entry::is_hole)
    }

    pub(super) fn find(&self, from: &ResumeFrom) -> Option<Placement> {
        match from {
            ResumeFrom::Now => Some(Placement::at(self.next(), false)),
            // Not decided here. A given id that was used more than once means the oldest event with it,
            // which may be outside memory.
            ResumeFrom::Earliest | ResumeFrom::Unknown(_) | ResumeFrom::AfterGiven(_) => None,
            ResumeFrom::After { id, .. } => {
                let cursor = self.cursor_after(*id)?;
                Some(Placement::at(cursor, true))
            }
        }
    }

    pub(super) fn cursor_after(&self, id: EventId) -> Option<u64> {
        let place = self.lineage.after(id)?;
        let is_here = (self.oldest..=self.next()).contains(&place) && !self.is_hole(place);
        is_here.then_some(place)
    }

    /// Adds an event to what is retained.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.frame.len();
        self.newer.bytes += entry.frame.len();
        self.entries.push_back(entry);
    }

    pub(super) fn evict_beyond(
        &mut self,
        retention: Retention,
        half: Bounds,
        own: &Arc<Audience>,
        now: Instant,
    ) {
        let bounds = retention.bounds();
        loop {
            let events = (self.next() - self.oldest) as usize;
            if events <= 1 {
                break;
            }
            let entry = &self.entries[self.index(self.oldest)];
            if !bounds.are_exceeded(events, self.bytes, entry, now) && !entry.is_hole() {
                break;
            }
            self.bytes -= entry.frame.len();
            if !Arc::ptr_eq(&entry.audience, own) {
                self.others_before = self.oldest + 1;
            }
            self.given.evict(self.oldest);
            self.oldest += 1;
        }
        self.shorten_newer(half, now);
        while self.first < self.oldest && self.entries.len() > retention.queue {
            self.entries.pop_front();
            self.first += 1;
            self.lineage.forget_before(self.first);
        }
    }

    /// Takes events off the newer part until it is within these bounds.
    pub(super) fn shorten_newer(&mut self, bounds: Bounds, now: Instant) {
        loop {
            let NewerHalf { from, bytes } = self.newer;
            let events = (self.next() - from) as usize;
            if events <= 1 {
                break;
            }
            let entry = &self.entries[self.index(from)];
            if from >= self.oldest && !bounds.are_exceeded(events, bytes, entry, now) {
                break;
            }
            self.newer.bytes -= entry.frame.len();
            self.newer.from += 1;
        }
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
    use super::{
        super::{
            MemoryLog,
            tests::{keeping, topic},
        },
        *,
    };
    use crate::{event::Event, wire};

    const EPOCH: u64 = 1000;

    #[test]
    fn an_id_is_at_risk_when_newer_events_fill_half_of_any_bound() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let frame = wire::event(
            EventId {
                epoch: EPOCH,
                seq: 1,
            },
            &Event::message("1"),
        )
        .len();
        let newer_half = |retention: Retention, events: u64, at: Instant| {
            let log = MemoryLog::new(EPOCH, retention, topic("own"));
            for n in 1..=events {
                log.append(&Event::message("1"), start + second * n as u32);
            }
            log.newer_half(at)
        };
        let end = start + second * 9;

        assert_eq!(newer_half(keeping(10), 0, end), 1);
        assert_eq!(newer_half(keeping(10), 5, end), 1);
        assert_eq!(newer_half(keeping(10), 9, end), 5);
        assert_eq!(newer_half(keeping(4), 9, end), 8);
        let bytes = Retention {
            bytes: 8 * frame,
            ..keeping(100)
        };
        assert_eq!(newer_half(bytes, 9, end), 6);
        let aged = Retention {
            age: Some(second * 8),
            ..keeping(100)
        };
        assert_eq!(newer_half(aged, 9, end), 5);
        assert_eq!(
            newer_half(aged, 9, end + second * 2),
            7,
            "nothing came since"
        );
    }
}
