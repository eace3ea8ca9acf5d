//! The log in memory: bounded, and gone with the process. Written by the Broadcaster alone, read
//! by every subscriber that catches up.

use std::{collections::VecDeque, ops::Range};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;

use super::{Extent, Frame, Placement, Read, Retention};
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
    frames: VecDeque<Bytes>,
    /// The number of the frame at the front.
    oldest: u64,
    /// The frames' total length.
    bytes: usize,
}

impl Retained {
    fn next(&self) -> u64 {
        self.oldest + self.frames.len() as u64
    }

    /// The positions in `frames` of those that stand from `cursor` on and fit into `max_bytes`; at
    /// least one.
    fn batch(&self, cursor: u64, max_bytes: usize) -> Range<usize> {
        let start = (cursor - self.oldest) as usize;
        let mut size = 0;
        let fitting = self
            .frames
            .range(start..)
            .take_while(|frame| {
                size += frame.len();
                size <= max_bytes
            })
            .count();
        start..start + fitting.max(1)
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

    /// Takes an event in, gives it its id and encodes it. Evicts the oldest beyond the bounds.
    pub(crate) fn append(&self, event: &Event) -> Frame {
        let mut retained = self.retained.write();
        let seq = retained.next();
        let bytes = wire::event(self.id(seq), event);
        retained.bytes += bytes.len();
        retained.frames.push_back(bytes.clone());
        while retained.frames.len() > 1
            && (retained.frames.len() > self.retention.events
                || retained.bytes > self.retention.bytes)
        {
            if let Some(evicted) = retained.frames.pop_front() {
                retained.bytes -= evicted.len();
                retained.oldest += 1;
            }
        }
        Frame { seq, bytes }
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

    /// Reads from `cursor` on, about `max_bytes` at a time: as many events as fit, but at least
    /// one.
    pub(crate) fn read(&self, cursor: u64, max_bytes: usize) -> Read {
        let retained = self.retained.read();
        if cursor >= retained.next() {
            return Read::Head;
        }
        if cursor < retained.oldest {
            return self.evicted(cursor, retained.oldest);
        }
        let range = retained.batch(cursor, max_bytes);
        let events = range.len() as u64;
        if events == 1 {
            return Read::Batch {
                bytes: retained.frames[range.start].clone(),
                events,
            };
        }
        let mut bytes = BytesMut::with_capacity(max_bytes);
        for frame in retained.frames.range(range) {
            bytes.extend_from_slice(frame);
        }
        Read::Batch {
            bytes: bytes.freeze(),
            events,
        }
    }

    /// The frames from `cursor` up to the head, if they are retained and at most `max`.
    pub(crate) fn tail(&self, cursor: u64, max: usize) -> Option<Vec<Frame>> {
        let retained = self.retained.read();
        let behind = retained.next().checked_sub(cursor)?;
        if cursor < retained.oldest || behind > max as u64 {
            return None;
        }
        let start = (cursor - retained.oldest) as usize;
        let frames = retained.frames.range(start..);
        Some(
            frames
                .zip(cursor..)
                .map(|(bytes, seq)| Frame {
                    seq,
                    bytes: bytes.clone(),
                })
                .collect(),
        )
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
