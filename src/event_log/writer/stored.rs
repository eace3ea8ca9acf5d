//! Which events a log file has.

use std::collections::VecDeque;

use super::super::{file::FileMetadata, record::Record};

/// Which events the file has, as far as needed to find the evicted events that must be removed from it.
#[derive(Debug)]
pub(in crate::event_log) struct Stored {
    /// The file has no events before this number.
    pub(in crate::event_log) from: u64,
    /// The numbers of the presence events in the file, in ascending order.
    pub(in crate::event_log) presence: VecDeque<u64>,
    /// The file has no idempotency keys before this number.
    pub(in crate::event_log) keys_from: u64,
}

impl Stored {
    /// Numbers of the evicted presence events (those about active subscriptions) that a commit must list:
    /// from `oldest` on, before `oldest_presence`. Earlier ones are not listed, because the commit removes
    /// all events before `oldest`.
    pub(in crate::event_log) fn evicted_presence(
        &self,
        oldest: u64,
        oldest_presence: u64,
    ) -> Vec<u64> {
        let numbers = self.presence.iter().copied();
        numbers
            .skip_while(|seq| *seq < oldest)
            .take_while(|seq| *seq < oldest_presence)
            .collect()
    }

    pub(in crate::event_log) fn forget_before(&mut self, oldest: u64, oldest_presence: u64) {
        self.from = oldest;
        let evicted = |seq: &u64| *seq < oldest.max(oldest_presence);
        while self.presence.front().is_some_and(evicted) {
            self.presence.pop_front();
        }
    }

    /// Notes that the event with the number `seq` is now in the file.
    pub(in crate::event_log) fn add(&mut self, seq: u64, record: &Record) {
        if record.is_presence() {
            self.presence.push_back(seq);
        }
    }

    /// Which events are in a file with this metadata and these records.
    pub(in crate::event_log) fn of(about: FileMetadata, records: &[(u64, Record)]) -> Self {
        let presence = records.iter().filter(|(_, record)| record.is_presence());
        Self {
            from: about.first,
            presence: presence.map(|(seq, _)| *seq).collect(),
            keys_from: 0,
        }
    }
}
