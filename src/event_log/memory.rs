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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: u64 = 1000;

    fn log_with(events: u64, retention: Retention) -> MemoryLog {
        let log = MemoryLog::new(EPOCH, retention);
        for n in 0..events {
            log.append(&Event::message(n.to_string()));
        }
        log
    }

    fn keeping(events: usize) -> Retention {
        Retention {
            events,
            bytes: usize::MAX,
        }
    }

    fn after(epoch: u64, seq: u64) -> ResumeFrom {
        ResumeFrom::After(EventId { epoch, seq })
    }

    #[test]
    fn numbers_count_from_zero_without_holes() {
        let log = MemoryLog::new(EPOCH, keeping(2));

        let numbers: Vec<_> = (0..5)
            .map(|_| log.append(&Event::message("x")).seq)
            .collect();

        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_new_subscriber_starts_at_the_head_and_earliest_at_the_oldest() {
        let log = log_with(10, keeping(4));

        assert_eq!(log.place(&ResumeFrom::Now).cursor, 10);
        assert_eq!(log.place(&ResumeFrom::Earliest).cursor, 6);
        assert_eq!(log.place(&ResumeFrom::Earliest).gap, None);
    }

    #[test]
    fn every_retained_id_and_the_one_before_resume_without_a_gap() {
        let log = log_with(10, keeping(4));

        for seq in 5..10 {
            let placement = log.place(&after(EPOCH, seq));

            assert_eq!(
                placement,
                Placement {
                    cursor: seq + 1,
                    gap: None
                }
            );
        }
    }

    #[test]
    fn what_cannot_be_placed_gets_everything_and_the_reason() {
        let log = log_with(10, keeping(4));
        let cases = [
            (after(EPOCH, 4), GapReason::Evicted, "1000-4", Some(1)),
            (after(EPOCH, 0), GapReason::Evicted, "1000-0", Some(5)),
            (after(EPOCH, 10), GapReason::Unknown, "1000-10", None),
            (
                after(EPOCH, u64::MAX),
                GapReason::Unknown,
                "1000-18446744073709551615",
                None,
            ),
            (after(EPOCH - 1, 7), GapReason::Epoch, "999-7", None),
            (after(EPOCH + 1, 7), GapReason::Epoch, "1001-7", None),
            (
                ResumeFrom::Unknown("?".into()),
                GapReason::Unknown,
                "?",
                None,
            ),
        ];
        for (from, reason, requested, missed) in cases {
            let placement = log.place(&from);

            assert_eq!(
                placement,
                Placement {
                    cursor: 6,
                    gap: Some(Gap {
                        reason,
                        requested: requested.into(),
                        resumed_after: Some(log.id(5)),
                        missed,
                    }),
                }
            );
        }
    }

    #[test]
    fn nothing_evicted_means_resuming_before_the_first() {
        let log = log_with(0, keeping(4));

        let gap = log.place(&after(1, 1)).gap.unwrap();

        assert_eq!(gap.resumed_after, None);
    }

    #[test]
    fn the_byte_bound_evicts_too_but_never_the_newest() {
        let log = MemoryLog::new(
            EPOCH,
            Retention {
                events: 100,
                bytes: 200,
            },
        );

        for _ in 0..10 {
            log.append(&Event::message("x".repeat(60)));
        }
        let small = log.extent();
        log.append(&Event::message("x".repeat(1000)));
        let large = log.extent();

        assert!(
            small.bytes <= 200 && small.next - small.oldest == 2,
            "{small:?}"
        );
        assert_eq!((large.oldest, large.next), (10, 11));
    }

    #[test]
    fn a_reader_that_fell_out_is_told_what_it_lost() {
        let log = log_with(10, keeping(4));

        assert_eq!(
            log.read(2, 100),
            Read::Evicted {
                cursor: 6,
                gap: Gap {
                    reason: GapReason::Evicted,
                    requested: "1000-1".into(),
                    resumed_after: Some(log.id(5)),
                    missed: Some(4),
                },
            }
        );
    }

    #[test]
    fn an_event_larger_than_a_batch_is_read_whole() {
        let log = MemoryLog::new(EPOCH, keeping(4));
        let frame = log.append(&Event::message("x".repeat(1000)));

        assert_eq!(
            log.read(0, 10),
            Read::Batch {
                bytes: frame.bytes,
                events: 1
            }
        );
    }

    #[test]
    fn the_tail_is_given_only_when_it_is_short_and_whole() {
        let log = log_with(10, keeping(4));

        let numbers = |cursor, max| {
            log.tail(cursor, max)
                .map(|frames| frames.iter().map(|frame| frame.seq).collect::<Vec<_>>())
        };

        assert_eq!(numbers(8, 2), Some(vec![8, 9]));
        assert_eq!(numbers(10, 0), Some(vec![]));
        assert_eq!(numbers(7, 2), None, "longer than asked");
        assert_eq!(numbers(5, 100), None, "partly evicted");
        assert_eq!(numbers(11, 100), None, "ahead of the head");
    }

    proptest! {
        #[test]
        fn reading_to_the_head_gives_each_retained_event_once_in_order(
            events in 0..200_u64,
            keep in 1..100_usize,
            start in 0..200_u64,
            max_bytes in 1..2000_usize,
        ) {
            let log = log_with(events, keeping(keep));
            let mut cursor = start;
            let mut got = Vec::new();
            let mut missed = 0;

            loop {
                match log.read(cursor, max_bytes) {
                    Read::Batch { bytes, events } => {
                        got.extend_from_slice(&bytes);
                        cursor += events;
                    }
                    Read::Evicted { cursor: oldest, gap } => {
                        missed += gap.missed.unwrap();
                        cursor = oldest;
                    }
                    Read::Head => break,
                }
            }

            let first = start.max(events.saturating_sub(keep as u64));
            let expected: Vec<u8> = (first..events)
                .flat_map(|n| wire::event(log.id(n), &Event::message(n.to_string())))
                .collect();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(missed, first.min(events).saturating_sub(start));
        }
    }
}
