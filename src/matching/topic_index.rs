//! Finds groups of subscribers by topic, without testing each group. The index does no I/O and reads no
//! clock.
//!
//! Exact matchers are in a hash map. The patterns that match a topic are cached. A matcher with a limit is treated
//! like a pattern. When a topic is looked up
//! again, only the patterns that were added since the last lookup are matched.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use quick_cache::{Weighter, unsync::Cache};

use super::{
    hub_url::HubUrl,
    matcher::{MatchRule, Matcher, Subject},
};
use crate::event::Audience;

/// Maximum memory of the cache of match results in one index, in bytes (an estimate). Beyond this limit, the
/// cache evicts topics. A flood of topics that occur once does not evict the topics that occur often.
const CACHE_BYTES: u64 = 8 << 20;

/// Expected number of topics in the cache of match results. It is not a limit: only the layout of the cache
/// is computed from this number.
const TOPICS: usize = 16 * 1024;

/// The number of a group of subscribers that share one selection (matchers and rights). The caller chooses
/// the number when it adds the group.
pub(crate) type Group = usize;

/// Finds the groups of subscribers with a matcher (exact, pattern or `*`) that matches a topic.
#[derive(Debug)]
pub(crate) struct TopicIndex {
    hub: HubUrl,
    /// Groups with a matcher that matches every topic.
    all: Vec<Group>,
    /// Groups with an exact matcher, by its text.
    exact: HashMap<Arc<str>, Vec<Group>>,
    patterns: Patterns,
}

/// Patterns, and other matchers with a limit.
#[derive(Debug)]
struct Patterns {
    /// All patterns, by number. Each new pattern gets the number `next`, so no number is used twice.
    known: BTreeMap<u64, Pattern>,
    /// The number of each pattern.
    numbers: HashMap<Matcher, u64>,
    next: u64,
    /// Sum of the [match costs](Matcher::match_cost) of all patterns.
    match_cost: usize,
    /// Cached match results by topic. `None` before the first lookup, and after the last pattern was removed.
    results: Option<Cache<Arc<str>, MatchResults, ByMemory>>,
}

#[derive(Debug)]
struct Pattern {
    matcher: Matcher,
    groups: Vec<Group>,
}

/// Which patterns match one topic.
#[derive(Debug, Clone, Default)]
struct MatchResults {
    /// All patterns with a smaller number than this have been matched against the topic.
    before: u64,
    /// Numbers of the patterns that match the topic. Some of these patterns may since have been removed.
    matching: Vec<u64>,
}

#[derive(Debug, Clone)]
struct ByMemory;

impl Weighter<Arc<str>, MatchResults> for ByMemory {
    fn weight(&self, topic: &Arc<str>, results: &MatchResults) -> u64 {
        (topic.len() + 8 * results.matching.len() + 128) as u64
    }
}

impl TopicIndex {
    pub(crate) fn new(hub: HubUrl) -> Self {
        Self {
            hub,
            all: Vec::new(),
            exact: HashMap::new(),
            patterns: Patterns {
                known: BTreeMap::new(),
                numbers: HashMap::new(),
                next: 0,
                match_cost: 0,
                results: None,
            },
        }
    }

    /// Adds a group with its matchers.
    pub(crate) fn add(&mut self, group: Group, matchers: &[Matcher]) {
        for matcher in matchers {
            match matcher.rule() {
                _ if matcher.is_limited() => self.patterns.add(group, matcher),
                MatchRule::All => self.all.push(group),
                MatchRule::Exact => {
                    let topic = matcher.written().text.clone();
                    self.exact.entry(topic).or_default().push(group);
                }
                MatchRule::Pattern(_) | MatchRule::Template(_) => self.patterns.add(group, matcher),
            }
        }
    }

    /// Removes a group. `matchers` must be the matchers with which the group was added.
    pub(crate) fn remove(&mut self, group: Group, matchers: &[Matcher]) {
        for matcher in matchers {
            match matcher.rule() {
                _ if matcher.is_limited() => self.patterns.remove(group, matcher),
                MatchRule::All => forget(&mut self.all, group),
                MatchRule::Exact => {
                    let topic = &matcher.written().text;
                    if let Some(groups) = self.exact.get_mut(topic) {
                        forget(groups, group);
                        if groups.is_empty() {
                            self.exact.remove(topic);
                            if self.exact.is_empty() {
                                self.exact.shrink_to_fit();
                            }
                        }
                    }
                }
                MatchRule::Pattern(_) | MatchRule::Template(_) => {
                    self.patterns.remove(group, matcher);
                }
            }
        }
    }

    /// Estimate of the cost to match one topic against all patterns. 1 is the cost of a simple pattern.
    pub(crate) fn match_cost(&self) -> usize {
        self.patterns.match_cost
    }

    /// Calls `each` with each group that has a matcher for one of these topics. May call it more than once
    /// with the same group. Does not check whether the group may read the event.
    pub(crate) fn find(&mut self, audience: &Audience, mut each: impl FnMut(Group)) {
        self.all.iter().copied().for_each(&mut each);
        for topic in &audience.topics {
            if let Some(groups) = self.exact.get(topic.as_str()) {
                groups.iter().copied().for_each(&mut each);
            }
            if !self.patterns.known.is_empty() {
                self.patterns.find(topic.as_str(), &self.hub, &mut each);
            }
        }
    }
}

fn forget(groups: &mut Vec<Group>, group: Group) {
    if let Some(place) = groups.iter().position(|known| *known == group) {
        groups.swap_remove(place);
    }
}

impl Patterns {
    fn add(&mut self, group: Group, matcher: &Matcher) {
        let number = *self.numbers.entry(matcher.clone()).or_insert(self.next);
        if number == self.next {
            self.next += 1;
            self.match_cost += matcher.match_cost();
            let pattern = Pattern {
                matcher: matcher.clone(),
                groups: Vec::new(),
            };
            self.known.insert(number, pattern);
        }
        if let Some(pattern) = self.known.get_mut(&number) {
            pattern.groups.push(group);
        }
    }

    fn remove(&mut self, group: Group, matcher: &Matcher) {
        let Some(number) = self.numbers.get(matcher).copied() else {
            return;
        };
        let Some(pattern) = self.known.get_mut(&number) else {
            return;
        };
        forget(&mut pattern.groups, group);
        if pattern.groups.is_empty() {
            self.match_cost -= pattern.matcher.match_cost();
            self.known.remove(&number);
            self.numbers.remove(matcher);
        }
        if self.known.is_empty() {
            self.results = None;
        }
    }

    fn find(&mut self, topic: &str, hub: &HubUrl, each: &mut impl FnMut(Group)) {
        let mut report = |results: &MatchResults| {
            let groups = results
                .matching
                .iter()
                .filter_map(|number| self.known.get(number));
            groups
                .flat_map(|pattern| &pattern.groups)
                .copied()
                .for_each(&mut *each);
        };
        let cache = self
            .results
            .get_or_insert_with(|| Cache::with_weighter(TOPICS, CACHE_BYTES, ByMemory));
        let known = cache.get(topic);
        if let Some(results) = known.filter(|results| results.before == self.next) {
            report(results);
            return;
        }
        let mut results = known.cloned().unwrap_or_default();
        let subject = Subject::new(topic, hub);
        let new = self.known.range(results.before..);
        let matching = new.filter(|(_, pattern)| pattern.matcher.matches(&subject));
        let matching: Vec<_> = matching.map(|(number, _)| *number).collect();
        results
            .matching
            .retain(|number| self.known.contains_key(number));
        results.matching.extend(matching);
        results.before = self.next;
        report(&results);
        cache.insert(topic.into(), results);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::super::matcher::{MatcherText, MatcherType};
    use super::*;
    use crate::event::Topic;

    fn hub() -> HubUrl {
        HubUrl::parse("https://hub.example/.well-known/mercure").unwrap()
    }

    fn template(text: &str) -> Matcher {
        let written = MatcherText::parse(MatcherType::Selector, text, 100).unwrap();
        Matcher::compile(written, &hub()).unwrap()
    }

    fn find(index: &mut TopicIndex, topic: &str) -> Vec<Group> {
        let audience = Audience {
            topics: vec![Topic::of_hub(topic)],
            private: false,
        };
        let mut found = Vec::new();
        index.find(&audience, |group| found.push(group));
        found
    }

    fn cache(index: &TopicIndex) -> &Cache<Arc<str>, MatchResults, ByMemory> {
        index.patterns.results.as_ref().unwrap()
    }

    #[test]
    fn a_flood_of_new_topics_does_not_evict_topics_that_occur_often() {
        // This number of topics exceeds the size of the cache.
        const FILLS: usize = 70_000;
        let mut index = TopicIndex::new(hub());
        index.add(1, &[template("often/{id}")]);
        let often: Vec<_> = (0..100).map(|n| format!("often/{n}")).collect();
        let flood = |index: &mut TopicIndex, new: Range<usize>| {
            for n in new {
                assert!(find(index, &format!("new/{n}")).is_empty());
                assert!(cache(index).weight() <= CACHE_BYTES);
            }
        };

        flood(&mut index, 0..FILLS);
        let kept = cache(&index).len();
        assert!(kept < FILLS, "the cache is not full");
        for _ in 0..3 {
            for topic in &often {
                assert_eq!(find(&mut index, topic), [1]);
            }
        }
        flood(&mut index, FILLS..FILLS + 200_000);

        for topic in &often {
            assert!(cache(&index).contains_key(&**topic), "{topic}");
            assert_eq!(find(&mut index, topic), [1]);
        }
        assert!(cache(&index).len() > kept / 2, "the cache was emptied");
    }
}
