//! Finds events by the ids that publishers chose for them (given ids). If several retained events have the
//! same given id, the oldest of them is found.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::event::GivenId;

/// The ids that publishers chose (given ids) for retained events, and the positions of these events.
#[derive(Debug, Default)]
pub(super) struct GivenIds {
    /// For each id that a publisher chose, the position of the oldest retained event with this id.
    oldest: HashMap<GivenId, u64>,
    /// Position and id of every retained event whose publisher chose an id, oldest event first.
    events: VecDeque<(u64, GivenId)>,
    /// For each id that several retained events have: the positions of all these events except the oldest, in
    /// ascending order.
    younger: HashMap<GivenId, VecDeque<u64>>,
}

impl GivenIds {
    /// The position of the retained event with this id, which its publisher chose. If several have it, the
    /// position of the oldest, as Mercure requires (chapter Reconnection). `None` if no retained event has
    /// it.
    pub(super) fn get(&self, id: &str) -> Option<u64> {
        self.oldest.get(id).copied()
    }

    /// Adds an event with an id that its publisher chose. The event must be newer than all that were added
    /// before.
    pub(super) fn add(&mut self, id: GivenId, position: u64) {
        self.events.push_back((position, id.clone()));
        match self.oldest.entry(id) {
            Entry::Vacant(oldest) => {
                oldest.insert(position);
            }
            Entry::Occupied(oldest) => {
                let younger = self.younger.entry(oldest.key().clone());
                younger.or_default().push_back(position);
            }
        }
    }

    /// Removes the event at this position, which must be older than all events that remain. Does nothing if
    /// its publisher chose no id.
    pub(super) fn evict(&mut self, position: u64) {
        if self
            .events
            .front()
            .is_none_or(|(first, _)| *first != position)
        {
            return;
        }
        let Some((_, id)) = self.events.pop_front() else {
            return;
        };
        let Some(younger) = self.younger.get_mut(&id) else {
            self.oldest.remove(&id);
            return;
        };
        let next = younger.pop_front();
        if younger.is_empty() {
            self.younger.remove(&id);
        }
        if let Some(next) = next {
            self.oldest.insert(id, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> GivenId {
        GivenId::parse(text).unwrap()
    }

    #[test]
    fn a_repeated_given_id_finds_the_oldest_retained_event() {
        let mut ids = GivenIds::default();
        for (position, text) in [(1, "a"), (3, "b"), (4, "a"), (7, "a")] {
            ids.add(id(text), position);
        }

        let mut found = vec![ids.get("a")];
        for position in 0..8 {
            ids.evict(position);
            found.push(ids.get("a"));
        }

        let [one, four, seven] = [Some(1), Some(4), Some(7)];
        assert_eq!(
            found,
            [one, one, four, four, four, seven, seven, seven, None]
        );
        assert_eq!(ids.get("b"), None);
        assert!(ids.oldest.is_empty() && ids.younger.is_empty() && ids.events.is_empty());
    }
}
