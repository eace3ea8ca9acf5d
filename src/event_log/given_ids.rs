//! Finds events by the ids that publishers chose for them (given ids). If several retained events have the
//! same given id, the oldest of them is found.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::event::{EventId, GivenId, Hash128};

/// Whether a retained event has an id that a publisher chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUse {
    New,
    /// An event with this id has the same content.
    Same(EventId),
    /// Events have this id, but none of them has the same content.
    Other,
}

/// The ids that publishers chose (given ids) for retained events, and the positions of these events.
#[derive(Debug, Default)]
pub(super) struct GivenIds {
    /// For each id that a publisher chose, the position of the oldest retained event with this id.
    oldest: HashMap<GivenId, u64>,
    /// Position and id of every retained event whose publisher chose an id, oldest event first.
    events: VecDeque<(u64, GivenId, Hash128)>,
    /// For each id and each content of an event with it, the position of that event.
    by_content: HashMap<(GivenId, Hash128), u64>,
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

    /// Whether any retained event has this id, and the position of one with this content.
    pub(super) fn with_content(&self, id: &GivenId, content: Hash128) -> (bool, Option<u64>) {
        let same = self.by_content.get(&(id.clone(), content)).copied();
        (self.oldest.contains_key(id), same)
    }

    /// Adds an event with an id that its publisher chose. The event must be newer than all that were added
    /// before.
    pub(super) fn add(&mut self, id: GivenId, position: u64, content: Hash128) {
        self.events.push_back((position, id.clone(), content));
        self.by_content.insert((id.clone(), content), position);
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
            .is_none_or(|(first, ..)| *first != position)
        {
            return;
        }
        let Some((_, id, content)) = self.events.pop_front() else {
            return;
        };
        let content = (id.clone(), content);
        if self.by_content.get(&content) == Some(&position) {
            self.by_content.remove(&content);
        }
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
    fn an_event_with_the_same_content_is_found_among_those_with_the_same_id() {
        let mut ids = GivenIds::default();
        let content = |n| Hash128([n; 16]);
        for (position, n) in [(1, 1), (2, 2), (3, 1)] {
            ids.add(id("a"), position, content(n));
        }

        assert_eq!(ids.with_content(&id("a"), content(1)), (true, Some(3)));
        assert_eq!(ids.with_content(&id("a"), content(2)), (true, Some(2)));
        assert_eq!(ids.with_content(&id("a"), content(3)), (true, None));
        assert_eq!(ids.with_content(&id("b"), content(1)), (false, None));
        ids.evict(1);
        assert_eq!(ids.with_content(&id("a"), content(1)), (true, Some(3)));
    }

    #[test]
    fn a_repeated_given_id_finds_the_oldest_retained_event() {
        let mut ids = GivenIds::default();
        for (position, text) in [(1, "a"), (3, "b"), (4, "a"), (7, "a")] {
            ids.add(id(text), position, Hash128([position as u8; 16]));
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
        assert!(ids.by_content.is_empty());
    }
}
