//! The idempotency keys that a log in memory or in a file remembers.

use std::collections::{HashMap, VecDeque};

use super::append::PublishSettings;
use crate::event::{EventId, Hash128};

/// A key that was used, and what it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedKey {
    pub(super) key: Hash128,
    /// A hash of the update that the key came with.
    pub(super) update: Hash128,
    /// The id that the event got.
    pub(super) id: EventId,
    /// When the key was first used, in milliseconds since 1970.
    pub(super) at: u64,
}

impl UsedKey {
    const BYTES: usize = 56;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts = [
            &self.key.0[..],
            &self.update.0,
            &self.id.epoch.to_be_bytes(),
            &self.id.seq.to_be_bytes(),
            &self.at.to_be_bytes(),
        ];
        bytes.copy_from_slice(&parts.concat());
        bytes
    }

    /// `None` if the length is wrong.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (key, rest) = bytes.split_first_chunk()?;
        let (update, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (seq, at) = rest.split_first_chunk()?;
        Some(Self {
            key: Hash128(*key),
            update: Hash128(*update),
            id: EventId {
                epoch: u64::from_be_bytes(*epoch),
                seq: u64::from_be_bytes(*seq),
            },
            at: u64::from_be_bytes(at.try_into().ok()?),
        })
    }
}

/// The keys that are remembered, in the order of their first use.
#[derive(Debug)]
pub(super) struct KeyIndex {
    settings: PublishSettings,
    known: HashMap<Hash128, (Hash128, EventId)>,
    /// The keys, oldest first, with the time of their first use in milliseconds since 1970.
    order: VecDeque<(Hash128, u64)>,
    /// Number of keys that were forgotten so far. The oldest key in `order` has this number.
    forgotten: u64,
}

impl KeyIndex {
    pub(super) fn new(settings: PublishSettings) -> Self {
        Self {
            settings,
            known: HashMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
        }
    }

    /// The index of a log that has forgotten this many keys and remembers `keys`, oldest first.
    pub(super) fn restored(
        settings: PublishSettings,
        forgotten: u64,
        keys: impl IntoIterator<Item = UsedKey>,
    ) -> Self {
        let mut index = Self::new(settings);
        index.forgotten = forgotten;
        for key in keys {
            index.insert(key);
        }
        index
    }

    /// What a key was used for: the hash of the update, and the id of the event.
    pub(super) fn get(&self, key: Hash128) -> Option<(Hash128, EventId)> {
        self.known.get(&key).copied()
    }

    /// Remembers a key, which must be new. Forgets the oldest keys that are beyond the retention.
    pub(super) fn insert(&mut self, key: UsedKey) {
        self.known.insert(key.key, (key.update, key.id));
        self.order.push_back((key.key, key.at));
        self.forget_old(key.at);
    }

    /// Forgets the keys that are beyond the retention at this time, in milliseconds since 1970.
    fn forget_old(&mut self, now: u64) {
        let window =
            u64::try_from(self.settings.idempotency_window.as_millis()).unwrap_or(u64::MAX);
        while let Some((key, at)) = self.order.front() {
            let is_old = now.saturating_sub(*at) > window;
            if !is_old && self.order.len() <= self.settings.idempotency_keys {
                break;
            }
            self.known.remove(key);
            self.order.pop_front();
            self.forgotten += 1;
        }
    }

    /// The number of the oldest key that is remembered. Numbers count all keys of the log from 0.
    pub(super) fn first(&self) -> u64 {
        self.forgotten
    }

    /// The number that the next key gets.
    pub(super) fn next(&self) -> u64 {
        self.forgotten + self.order.len() as u64
    }

    /// The keys from this number on.
    pub(super) fn since(&self, number: u64) -> Vec<UsedKey> {
        let skipped = number.saturating_sub(self.forgotten) as usize;
        let keys = self.order.iter().skip(skipped);
        let used = keys.filter_map(|(key, at)| {
            let (update, id) = self.get(*key)?;
            Some(UsedKey {
                key: *key,
                update,
                id,
                at: *at,
            })
        });
        used.collect()
    }

    /// Number of keys, and when the oldest was first used, in milliseconds since 1970.
    pub(super) fn extent(&self) -> (usize, Option<u64>) {
        (self.order.len(), self.order.front().map(|(_, at)| *at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(n: u8, at: u64) -> UsedKey {
        UsedKey {
            key: Hash128([n; 16]),
            update: Hash128([n + 100; 16]),
            id: EventId {
                epoch: 1,
                seq: n.into(),
            },
            at,
        }
    }

    fn index(window_ms: u64, keys: usize) -> KeyIndex {
        KeyIndex::new(PublishSettings {
            idempotency_window: Duration::from_millis(window_ms),
            idempotency_keys: keys,
            ..PublishSettings::default()
        })
    }

    fn known(index: &KeyIndex) -> Vec<u8> {
        (0..50)
            .filter(|n| index.get(Hash128([*n; 16])).is_some())
            .collect()
    }

    #[test]
    fn a_key_is_remembered_for_the_window() {
        let mut index = index(100, 10);
        for n in 1..=5 {
            index.insert(key(n, u64::from(n) * 50));
        }

        assert_eq!(known(&index), [3, 4, 5]);
        assert_eq!(
            (index.first(), index.next(), index.extent()),
            (2, 5, (3, Some(150)))
        );
        let one = key(4, 0);
        assert_eq!(index.get(one.key), Some((one.update, one.id)));
    }

    #[test]
    fn at_the_maximum_number_the_oldest_keys_are_forgotten() {
        let mut index = index(1_000_000, 3);
        for n in 1..=5 {
            index.insert(key(n, 0));
        }

        assert_eq!(known(&index), [3, 4, 5]);
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let mut index = index(100, 10);
        index.insert(key(1, 1_000));
        index.insert(key(2, 10));

        assert_eq!(known(&index), [1, 2]);
    }

    #[test]
    fn a_restored_index_continues_the_numbers() {
        let settings = index(100, 2).settings;
        let index = KeyIndex::restored(settings, 7, (1..=3).map(|n| key(n, 0)));

        assert_eq!((index.first(), index.next()), (8, 10));
        assert_eq!(known(&index), [2, 3]);
    }
}
