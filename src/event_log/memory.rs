//! The log in memory: bounded, and gone with the process. Written by the Broadcaster alone, read
//! by every subscriber that catches up.

use std::{collections::VecDeque, time::Instant};

use parking_lot::RwLock;

use super::{Entry, Extent, Placement, Read, Retention};
use crate::{
    event::{Event, EventId},
    gap::{Gap, GapReason},
    resume::ResumeFrom,
    wire,
};

/// An event log in memory.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    epoch: u64,
    retention: Retention,
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
}

impl Retained {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn place(&self, seq: u64) -> usize {
        (seq - self.first) as usize
    }

    fn evict_beyond(&mut self, retention: Retention) {
        loop {
            let events = (self.next() - self.oldest) as usize;
            if events <= 1 || (events <= retention.events && self.bytes <= retention.bytes) {
                break;
            }
            self.bytes -= self.entries[self.place(self.oldest)].frame.len();
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
    /// of any log the same clients have seen.
    pub(crate) fn new(epoch: u64, retention: Retention) -> Self {
        Self {
            epoch,
            retention,
            retained: RwLock::default(),
        }
    }

    /// Takes an event in, encodes it, and gives it its id. Evicts the oldest beyond the bounds.
    pub(crate) fn append(&self, event: &Event, now: Instant) -> EventId {
        let mut retained = self.retained.write();
        let id = self.id(retained.next());
        let frame = wire::event(id, event);
        retained.bytes += frame.len();
        retained.entries.push_back(Entry {
            frame,
            appended: now,
        });
        retained.evict_beyond(self.retention);
        id
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
    /// retained, after a gap that says why.
    pub(crate) fn place(&self, from: &ResumeFrom) -> Placement {
        let Extent { oldest, next, .. } = self.extent();
        let all_with_gap = |reason, requested, missed| Placement {
            cursor: oldest,
            gap: Some(Gap {
                reason,
                requested,
                resumed_after: self.id_before(oldest),
                missed,
            }),
        };
        match from {
            ResumeFrom::Now => Placement {
                cursor: next,
                gap: None,
            },
            ResumeFrom::Earliest => Placement {
                cursor: oldest,
                gap: None,
            },
            ResumeFrom::Unknown(requested) => {
                all_with_gap(GapReason::Unknown, requested.clone(), None)
            }
            ResumeFrom::After(id) if id.epoch != self.epoch => {
                all_with_gap(GapReason::Epoch, id.to_string(), None)
            }
            ResumeFrom::After(id) if id.seq >= next => {
                all_with_gap(GapReason::Unknown, id.to_string(), None)
            }
            ResumeFrom::After(id) if id.seq + 1 < oldest => {
                let missed = oldest - (id.seq + 1);
                all_with_gap(GapReason::Evicted, id.to_string(), Some(missed))
            }
            ResumeFrom::After(id) => Placement {
                cursor: id.seq + 1,
                gap: None,
            },
        }
    }

    /// Reads from `cursor` on, about `max_bytes` at a time: gives `each` as many events as fit, but
    /// at least one. The log waits for `each`, which is to be quick.
    pub(crate) fn read(&self, cursor: u64, max_bytes: usize, mut each: impl FnMut(&Entry)) -> Read {
        let retained = self.retained.read();
        if cursor >= retained.next() {
            return Read::Head;
        }
        if cursor < retained.first {
            return self.evicted(cursor, retained.first);
        }
        let start = retained.place(cursor);
        let mut bytes = 0;
        let mut events = 0;
        for entry in retained.entries.range(start..) {
            bytes += entry.frame.len();
            if events > 0 && bytes > max_bytes {
                break;
            }
            each(entry);
            events += 1;
        }
        Read::Events(events)
    }

    fn evicted(&self, cursor: u64, oldest: u64) -> Read {
        Read::Evicted {
            cursor: oldest,
            gap: Gap {
                reason: GapReason::Evicted,
                requested: self
                    .id_before(cursor)
                    .map_or_else(|| crate::resume::EARLIEST.to_owned(), |id| id.to_string()),
                resumed_after: self.id_before(oldest),
                missed: Some(oldest - cursor),
            },
        }
    }
}
