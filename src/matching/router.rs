//! Finds the groups of subscribers that receive an event: those that asked for one of its topics and are
//! authorized to read it. The router does no I/O and reads no clock.

use std::{collections::HashMap, sync::Arc};

use super::{
    hub_url::HubUrl,
    selection::Selection,
    topic_index::{Group, TopicIndex},
};
use crate::event::Audience;

/// Finds the groups of subscribers that receive an event. A group consists of the subscribers of one worker
/// thread that share one selection: the same matchers and the same rights.
#[derive(Debug)]
pub(crate) struct Router {
    /// The group of each selection. The key is the address of the selection: equal selections have the same
    /// address, because subscribers with equal matchers and rights share one selection.
    groups: HashMap<*const Selection, Group>,
    /// Finds the groups that asked for a topic with a matcher of any type.
    asked: TopicIndex,
    /// Finds the groups that may read the private events on a topic.
    authorized: TopicIndex,
    /// For each group, by its number: which private event it was last authorized to read. Private events are
    /// counted from 1 (`private_events`). 0: the group was not authorized to read any yet.
    readers: Vec<u64>,
    /// Number of private events for which groups were searched. It is the number of the newest one.
    private_events: u64,
}

impl Router {
    pub(crate) fn new(hub: HubUrl) -> Self {
        Self {
            asked: TopicIndex::new(hub.clone()),
            authorized: TopicIndex::new(hub),
            groups: HashMap::new(),
            readers: Vec::new(),
            private_events: 0,
        }
    }

    /// The number of the group with this selection, or `None` if no such group was added. Selections are
    /// compared by address, not by content.
    pub(crate) fn group_of(&self, selection: &Arc<Selection>) -> Option<Group> {
        self.groups.get(&Arc::as_ptr(selection)).copied()
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.groups.capacity() + self.readers.capacity()
    }

    /// Estimate of the cost to match one topic against the patterns of all groups. 1 is the cost of a simple
    /// pattern.
    pub(crate) fn match_cost(&self) -> usize {
        self.asked.match_cost() + self.authorized.match_cost()
    }

    /// Adds a group. `group` is its number, which no other group may have at the same time.
    pub(crate) fn add(&mut self, group: Group, selection: &Arc<Selection>) {
        self.groups.insert(Arc::as_ptr(selection), group);
        self.asked.add(group, selection.matchers());
        self.authorized.add(group, selection.authorized());
        if self.readers.len() <= group {
            self.readers.resize(group + 1, 0);
        }
        self.readers[group] = 0;
    }

    /// Removes a group. `selection` must be the selection with which the group was added.
    pub(crate) fn remove(&mut self, group: Group, selection: &Arc<Selection>) {
        self.groups.remove(&Arc::as_ptr(selection));
        self.asked.remove(group, selection.matchers());
        self.authorized.remove(group, selection.authorized());
        if self.groups.is_empty() {
            // Frees the memory of the removed groups.
            self.groups.shrink_to_fit();
            self.readers = Vec::new();
        }
    }

    /// Calls `each` with each group that receives an event with this audience (its topics, and whether it is
    /// private). May call it more than once with the same group.
    pub(crate) fn find(&mut self, audience: &Audience, mut each: impl FnMut(Group)) {
        let Self { asked, readers, .. } = self;
        if !audience.private {
            asked.find(audience, each);
            return;
        }
        self.private_events += 1;
        let event = self.private_events;
        self.authorized
            .find(audience, |group| readers[group] = event);
        asked.find(audience, |group| {
            if readers[group] == event {
                each(group);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::LazyLock,
    };

    use proptest::{prelude::*, sample::select};

    use super::super::matcher::{Matcher, MatcherText, MatcherType};
    use super::*;
    use crate::event::Topic;

    type Written = (MatcherType, &'static str);

    const MATCHERS: &[Written] = &[
        (MatcherType::Exact, "a"),
        (MatcherType::Exact, "/x/1"),
        (MatcherType::Exact, "/x/{id}"),
        (MatcherType::Exact, "https://hub.example/x/1"),
        (MatcherType::Exact, "*"),
        (MatcherType::UrlPattern, "/x/:id"),
        (MatcherType::UrlPattern, "/x/:id(\\d+)"),
        (MatcherType::UrlPattern, "/x/*"),
        (MatcherType::UrlPattern, "https://*.example.com/*"),
        (MatcherType::UrlPattern, "*"),
        (MatcherType::Selector, "a"),
        (MatcherType::Selector, "/x/{id}"),
        (MatcherType::Selector, "{+any}"),
        (MatcherType::Selector, "*"),
    ];

    const TOPICS: &[&str] = &[
        "a",
        "b",
        "/x/",
        "/x/1",
        "/x/y",
        "/x/y/z",
        "/x/{id}",
        "https://hub.example/x/1",
        "https://www.example.com/x/1",
        "https://[",
    ];

    /// The compiled form of each matcher in `MATCHERS`. All test cases share it, because compilation is slow.
    static COMPILED: LazyLock<BTreeMap<Written, Matcher>> = LazyLock::new(|| {
        let compile = |written: &Written| {
            let text = MatcherText::parse(written.0, written.1, 100).unwrap();
            (*written, Matcher::compile(text, &hub()).unwrap())
        };
        MATCHERS.iter().map(compile).collect()
    });

    fn hub() -> HubUrl {
        HubUrl::parse("https://hub.example/.well-known/mercure").unwrap()
    }

    fn compiled(written: &[Written]) -> Vec<Matcher> {
        let compiled = written.iter().map(|written| &COMPILED[written]);
        compiled.cloned().collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Removes the group if it exists, and otherwise adds it.
        Change {
            group: Group,
            matchers: Vec<Written>,
            authorized: Vec<Written>,
            /// The limit of all authorized matchers. Empty: there is none.
            limit: Vec<Written>,
        },
        Ask(Audience),
    }

    fn step() -> impl Strategy<Value = Step> {
        let matchers = prop::collection::vec(select(MATCHERS), 1..4);
        let authorized = prop::collection::vec(select(MATCHERS), 0..3);
        let limit = prop::collection::vec(select(MATCHERS), 0..3);
        let change = (0..6_usize, matchers, authorized, limit).prop_map(
            |(group, matchers, authorized, limit)| Step::Change {
                group,
                matchers,
                authorized,
                limit,
            },
        );
        let topics = prop::collection::vec(select(TOPICS).prop_map(Topic::of_hub), 1..4);
        let ask = (topics, any::<bool>())
            .prop_map(|(topics, private)| Step::Ask(Audience { topics, private }));
        prop_oneof![1 => change, 2 => ask]
    }

    proptest! {
        #[test]
        fn the_router_finds_exactly_the_groups_whose_selection_selects_the_event(
            steps in prop::collection::vec(step(), 1..50),
        ) {
            let mut router = Router::new(hub());
            let mut groups: BTreeMap<Group, Arc<Selection>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Change { group, matchers, authorized, limit } => {
                        if let Some(selection) = groups.remove(&group) {
                            router.remove(group, &selection);
                            prop_assert_eq!(router.group_of(&selection), None);
                            continue;
                        }
                        let [matchers, mut authorized] =
                            [matchers, authorized].map(|it| compiled(&it));
                        if !limit.is_empty() {
                            let limit: Arc<[Matcher]> = compiled(&limit).into();
                            authorized.iter_mut().for_each(|it| it.limit_to(limit.clone()));
                        }
                        let selection = Arc::new(Selection::new(hub(), matchers, authorized));
                        router.add(group, &selection);
                        prop_assert_eq!(router.group_of(&selection), Some(group));
                        groups.insert(group, selection);
                    }
                    Step::Ask(audience) => {
                        let mut found = BTreeSet::new();
                        router.find(&audience, |group| {
                            found.insert(group);
                        });
                        let selects = |selection: &Selection| selection.selects(&audience);
                        let expected = groups.iter().filter(|(_, selection)| selects(selection));
                        let expected: BTreeSet<_> = expected.map(|(group, _)| *group).collect();
                        prop_assert_eq!(found, expected, "{:?}", audience);
                    }
                }
            }
        }
    }
}
