//! Which group of subscribers an event is for: those that asked for one of its topics and may read it.
//! Pure.

use std::{collections::HashMap, sync::Arc};

use crate::{
    event::Audience,
    hub_url::HubUrl,
    selection::Selection,
    topic_index::{Group, TopicIndex},
};

/// The groups there are, found by what they get.
#[derive(Debug)]
pub(crate) struct Router {
    /// The group of each selection. Selections are shared, so that their address tells them.
    groups: HashMap<*const Selection, Group>,
    asked: TopicIndex,
    /// Of which topics the groups may read what is private.
    readable: TopicIndex,
    /// For which event each group was last found to be allowed to read it, by the count of those.
    readers: Vec<u64>,
    private_events: u64,
}

impl Router {
    pub(crate) fn new(hub: HubUrl) -> Self {
        Self {
            asked: TopicIndex::new(hub.clone()),
            readable: TopicIndex::new(hub),
            groups: HashMap::new(),
            readers: Vec::new(),
            private_events: 0,
        }
    }

    /// The group that has this very selection.
    pub(crate) fn group_of(&self, selection: &Arc<Selection>) -> Option<Group> {
        self.groups.get(&Arc::as_ptr(selection)).copied()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.groups.capacity() + self.readers.capacity()
    }

    /// Adds a group, whose number is free.
    pub(crate) fn add(&mut self, group: Group, selection: &Arc<Selection>) {
        self.groups.insert(Arc::as_ptr(selection), group);
        self.asked.add(group, selection.matchers());
        self.readable.add(group, selection.readable());
        if self.readers.len() <= group {
            self.readers.resize(group + 1, 0);
        }
        self.readers[group] = 0;
    }

    /// Removes a group that was added with this selection.
    pub(crate) fn remove(&mut self, group: Group, selection: &Arc<Selection>) {
        self.groups.remove(&Arc::as_ptr(selection));
        self.asked.remove(group, selection.matchers());
        self.readable.remove(group, selection.readable());
        if self.groups.is_empty() {
            // Gives the memory of those who left back.
            self.groups.shrink_to_fit();
            self.readers = Vec::new();
        }
    }

    /// Gives `each` the groups that an event is for; the same one maybe more than once.
    pub(crate) fn find(&mut self, audience: &Audience, mut each: impl FnMut(Group)) {
        let Self { asked, readers, .. } = self;
        if !audience.private {
            asked.find(audience, each);
            return;
        }
        self.private_events += 1;
        let this = self.private_events;
        self.readable.find(audience, |group| readers[group] = this);
        asked.find(audience, |group| {
            if readers[group] == this {
                each(group);
            }
        });
    }
}
