//! The log in memory: bounded, and gone with the process. Written by the Broadcaster alone, read
//! by every subscriber that catches up.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Instant};

use parking_lot::RwLock;

use super::{Entry, Extent, Placement, Portion, Read, Retention, given_ids::GivenIds};
use crate::{
    event::{Audience, Event, EventId},
    gap::{Gap, GapReason},
    resume::ResumeFrom,
    selection::Selection,
    topic::Topic,
    wire,
};

/// An event log in memory.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    epoch: u64,
    retention: Retention,
    /// Whom events are for that name no topics.
    own: Arc<Audience>,
    retained: RwLock<Retained>,
}

#[derive(Debug, Default)]
struct Retained {
    entries: VecDeque<Entry>,
    /// The number of the entry at the front.
    first: u64,
    /// The number of the oldest event that is retained. Those before it are there for whoever is
    /// connected and was about to read them.
    oldest: u64,
    /// The total length of the frames from the oldest on.
    bytes: usize,
    given: GivenIds,
    /// The number after the newest event on another topic than the log's own that is no longer
    /// retained. Of what was evicted since, it is known whom it was for.
    others_before: u64,
}

impl Retained {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn place(&self, seq: u64) -> usize {
        (seq - self.first) as usize
    }

    fn evict_beyond(&mut self, retention: Retention, own: &Arc<Audience>, now: Instant) {
        loop {
            let events = (self.next() - self.oldest) as usize;
            if events <= 1 {
                break;
            }
            let entry = &self.entries[self.place(self.oldest)];
            let age = now.saturating_duration_since(entry.appended);
            let is_too_old = retention.age.is_some_and(|most| age > most);
            let is_too_much = events > retention.events || self.bytes > retention.bytes;
            if !is_too_old && !is_too_much {
                break;
            }
            self.bytes -= entry.frame.len();
            if !Arc::ptr_eq(&entry.audience, own) {
                self.others_before = self.oldest + 1;
            }
            self.given.evict(self.oldest);
            self.oldest += 1;
        }
        while self.first < self.oldest && self.entries.len() > retention.queue {
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

impl MemoryLog {
    /// An empty log. `epoch` is its birth in milliseconds since 1970 and must be greater than that
    /// of any log the same clients have seen. Events that name no topic are on this one.
    pub(crate) fn new(epoch: u64, retention: Retention, topic: Topic) -> Self {
        Self {
            epoch,
            retention,
            own: Arc::new(Audience {
                topics: vec![topic],
                private: false,
            }),
            retained: RwLock::default(),
        }
    }

    /// The same, whose first event will have this number.
    pub(crate) fn starting_at(epoch: u64, retention: Retention, topic: Topic, next: u64) -> Self {
        let log = Self::new(epoch, retention, topic);
        *log.retained.write() = Retained {
            first: next,
            oldest: next,
            // Nobody knows whom those before it were for.
            others_before: next,
            ..Retained::default()
        };
        log
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes an event in, encodes it, and gives it its id. Evicts the oldest beyond the bounds.
    pub(crate) fn append(&self, event: &Event, now: Instant) -> EventId {
        let appended = self.append_all(std::iter::once((event, now)));
        self.id(appended.start)
    }

    /// The same with events in their order, each with when it was appended. Their numbers.
    pub(crate) fn append_all<'a>(
        &self,
        events: impl IntoIterator<Item = (&'a Event, Instant)>,
    ) -> Range<u64> {
        let mut retained = self.retained.write();
        let first = retained.next();
        for (event, appended) in events {
            self.append_to(&mut retained, event, appended);
        }
        first..retained.next()
    }

    fn append_to(&self, retained: &mut Retained, event: &Event, now: Instant) {
        let audience = event.audience.clone().map(Arc::new);
        let audience = audience.unwrap_or_else(|| self.own.clone());
        let seq = retained.next();
        let id = self.id(seq);
        let frame = wire::event(id, event);
        retained.bytes += frame.len();
        if let Some(given) = event.given_id() {
            retained.given.add(given.clone(), seq);
        }
        retained.entries.push_back(Entry {
            frame,
            appended: now,
            audience,
        });
        retained.evict_beyond(self.retention, &self.own, now);
    }

    /// The number that the next event will get.
    pub(crate) fn next(&self) -> u64 {
        self.retained.read().next()
    }

    /// What the log holds now.
    pub(crate) fn extent(&self) -> Extent {
        let retained = self.retained.read();
        Extent {
            oldest: retained.oldest,
            next: retained.next(),
            bytes: retained.bytes,
            since: retained
                .entries
                .get(retained.place(retained.oldest))
                .map(|entry| entry.appended),
        }
    }

    /// The bounds the log was made with.
    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    /// Whether an id reads as one that this log gives.
    pub(crate) fn is_own_id(&self, id: &str) -> bool {
        EventId::parse(id).is_ok_and(|id| id.epoch == self.epoch)
    }

    /// The id of the event with this number.
    pub(crate) fn id(&self, seq: u64) -> EventId {
        EventId {
            epoch: self.epoch,
            seq,
        }
    }

    /// The id of the event before the one with this number, if there was one.
    pub(crate) fn id_before(&self, seq: u64) -> Option<EventId> {
        seq.checked_sub(1).map(|before| self.id(before))
    }

    /// Finds where a subscriber starts. One that asks for what cannot be given gets all that is
    /// retained, after a gap that says why; unless nothing that is missing was for it.
    pub(crate) fn place(&self, from: &ResumeFrom, selection: &Selection) -> Placement {
        let retained = self.retained.read();
        let (oldest, next) = (retained.oldest, retained.next());
        let at = |cursor| Placement {
            cursor,
            told: true,
            gap: None,
        };
        let untold_at = |cursor| Placement {
            told: false,
            ..at(cursor)
        };
        let all_with_gap = |reason, requested: &dyn ToString, missed| Placement {
            cursor: oldest,
            told: true,
            gap: Some(Gap {
                reason,
                requested: requested
                    .to_string()
                    .chars()
                    .take(Gap::MAX_REQUESTED)
                    .collect(),
                resumed_after: self.id_before(oldest),
                missed,
            }),
        };
        let after_given = |given: &str| retained.given.get(given).map(|seq| at(seq + 1));
        match from {
            ResumeFrom::Now => untold_at(next),
            ResumeFrom::Earliest => at(oldest),
            ResumeFrom::Unknown(requested) => all_with_gap(GapReason::Unknown, requested, None),
            ResumeFrom::AfterGiven(given) => after_given(given.as_str())
                .unwrap_or_else(|| all_with_gap(GapReason::Unknown, &given.as_str(), None)),
            ResumeFrom::After(id) if id.epoch != self.epoch => after_given(&id.to_string())
                .unwrap_or_else(|| all_with_gap(GapReason::Epoch, id, None)),
            ResumeFrom::After(id) if id.seq >= next => all_with_gap(GapReason::Unknown, id, None),
            ResumeFrom::After(id) if id.seq + 1 < oldest => {
                match self.missed(&retained, id.seq + 1..oldest, selection) {
                    Some(0) => untold_at(oldest),
                    missed => all_with_gap(GapReason::Evicted, id, missed),
                }
            }
            ResumeFrom::After(id) => at(id.seq + 1),
        }
    }

    /// Reads from `cursor` on, a portion at a time: gives `take` each event, which says whether it
    /// takes it. The log waits for `take`, which is to be quick.
    pub(crate) fn read(
        &self,
        cursor: u64,
        portion: Portion,
        mut take: impl FnMut(&Entry) -> bool,
    ) -> Read {
        let retained = self.retained.read();
        if cursor >= retained.next() {
            return Read::Head;
        }
        if cursor < retained.first {
            return Read::Evicted {
                oldest: retained.first,
            };
        }
        let start = retained.place(cursor);
        let mut bytes = 0;
        let mut events = 0;
        for entry in retained.entries.range(start..).take(portion.events) {
            if bytes > 0 && bytes + entry.frame.len() > portion.bytes {
                break;
            }
            if take(entry) {
                bytes += entry.frame.len();
            }
            events += 1;
        }
        Read::Events(events)
    }

    /// What a subscriber is to be told that lost these events; `None`: none of them was for it.
    pub(crate) fn gap(&self, lost: Range<u64>, selection: &Selection) -> Option<Gap> {
        let missed = self.missed(&self.retained.read(), lost.clone(), selection);
        let requested = self.id_before(lost.start);
        (missed != Some(0)).then(|| Gap {
            reason: GapReason::Evicted,
            requested: requested
                .map_or_else(|| crate::resume::EARLIEST.to_owned(), |id| id.to_string()),
            resumed_after: self.id_before(lost.end),
            missed,
        })
    }

    /// How many of these events, which are no longer there, were for this selection, if that is
    /// known: of events on the log's own topic it is.
    fn missed(&self, retained: &Retained, gone: Range<u64>, selection: &Selection) -> Option<u64> {
        if gone.start < retained.others_before {
            return None;
        }
        let missed = gone.end - gone.start;
        Some(if selection.selects(&self.own) {
            missed
        } else {
            0
        })
    }
}
