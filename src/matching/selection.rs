//! Decides which events a subscriber receives: those of the topics that it asked for, except private events
//! that it is not authorized to read.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash as _, Hasher as _},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::task::yield_now;

use super::{
    compiler::Compiler,
    hub_url::HubUrl,
    matcher::{InvalidMatcher, MatchRule, Matcher, MatcherText, Subject, any_matches},
    memory_budget::Reservation,
};
use crate::event::{Audience, Topic};

/// The matchers and rights of one or more subscribers. Subscribers with the same matchers and rights share
/// one selection. Their matchers are compiled only once, and each worker thread handles these subscribers as
/// one group.
#[derive(Debug)]
pub(crate) struct Selection {
    hub: HubUrl,
    /// Matchers for the topics that the subscribers asked for.
    matchers: Vec<Matcher>,
    /// Matchers for the topics whose private events the subscribers may read.
    authorized: Vec<Matcher>,
    /// Sum of the [match costs](Matcher::match_cost) of `matchers` and `authorized`.
    match_cost: usize,
    /// The memory reservations for `matchers` and for `authorized`. The selection holds them until it is
    /// dropped, so that the memory stays counted.
    memory: [Option<Arc<Reservation>>; 2],
    may_select_presence: bool,
    /// Whether the subscribers receive, with each event, the topics for which they receive it (`topics=1`).
    names_topics: bool,
}

impl Selection {
    pub(crate) fn new(hub: HubUrl, matchers: Vec<Matcher>, authorized: Vec<Matcher>) -> Self {
        let match_cost = matchers
            .iter()
            .chain(&authorized)
            .map(Matcher::match_cost)
            .sum();
        let may = |matchers: &[Matcher]| matchers.iter().any(|it| it.may_match_presence(&hub));
        Self {
            may_select_presence: may(&matchers) && may(&authorized),
            hub,
            match_cost,
            matchers,
            authorized,
            memory: [None, None],
            names_topics: false,
        }
    }

    /// Sets whether the subscribers receive, with each event, the topics for which they receive it.
    pub(crate) fn naming_topics(self, names_topics: bool) -> Self {
        Self {
            names_topics,
            ..self
        }
    }

    /// Whether the subscribers receive, with each event, the topics for which they receive it.
    pub(crate) fn names_topics(&self) -> bool {
        self.names_topics
    }

    /// Matchers for the topics that the subscribers asked for.
    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Matchers for the topics whose private events the subscribers may read.
    pub(crate) fn authorized(&self) -> &[Matcher] {
        &self.authorized
    }

    /// Type and text of the matchers that the subscribers asked for (not those of their tokens).
    pub(crate) fn written(&self) -> Vec<MatcherText> {
        let written = |matcher: &Matcher| matcher.written().clone();
        self.matchers.iter().map(written).collect()
    }

    /// Whether the subscribers receive an event with this audience.
    pub(crate) fn selects(&self, audience: &Audience) -> bool {
        any(&self.matchers, audience, &self.hub) && self.may_read(audience)
    }

    /// Whether the subscribers may read an event, even if they did not ask for it. They may if the event is
    /// public, or if they are authorized for one of its topics (Mercure, chapter Subscribers).
    pub(crate) fn may_read(&self, audience: &Audience) -> bool {
        !audience.private || any(&self.authorized, audience, &self.hub)
    }

    /// Whether the subscribers asked for this topic, whatever they are authorized to read.
    pub(crate) fn asks_for(&self, topic: &Topic) -> bool {
        any_matches(&self.matchers, topic.as_str(), &self.hub)
    }

    /// The topics that the subscribers asked for, if they asked for nothing else. `None`: they also asked for
    /// patterns or for all topics.
    pub(crate) fn exact_topics(&self) -> Option<Vec<&str>> {
        let mut topics = Vec::with_capacity(self.matchers.len());
        for matcher in &self.matchers {
            match matcher.rule() {
                MatchRule::Exact => topics.push(&*matcher.written().text),
                _ => return None,
            }
        }
        Some(topics)
    }

    /// Those of these topics for which a subscriber learns that it receives the event: each that an exact
    /// matcher names, and each that another matcher matches and the subscriber may read. `topics` are some
    /// topics of an event that the subscriber receives and that is private if `is_private`.
    pub(crate) fn named<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a Topic>,
        is_private: bool,
    ) -> Vec<&'a Topic> {
        let is_named = |topic: &&Topic| self.names(topic.as_str(), is_private);
        let mut named: Vec<&Topic> = Vec::new();
        for topic in topics.into_iter().filter(is_named) {
            // An event may name a topic twice.
            if !named.contains(&topic) {
                named.push(topic);
            }
        }
        named
    }

    /// Whether a subscriber that receives an event learns that it receives it for this topic of the event: an
    /// exact matcher names the topic, or another one matches it and the subscriber may read the topic.
    pub(crate) fn names(&self, topic: &str, is_private: bool) -> bool {
        let subject = Subject::new(topic, &self.hub);
        let may_read = || !is_private || self.authorized.iter().any(|it| it.matches(&subject));
        let mut matching = self.matchers.iter().filter(|it| it.matches(&subject));
        matching.any(|matcher| matcher.names(topic) || may_read())
    }

    /// Whether this selection may select presence events (events about active subscriptions), which are
    /// always private. `false` is certain. `true` is not certain, because a pattern may still match no
    /// presence event.
    pub(crate) fn may_select_presence(&self) -> bool {
        self.may_select_presence
    }

    /// Estimate of the cost to match one topic against all matchers, including those of the token. 1 is the
    /// cost of an exact matcher or a simple pattern.
    pub(crate) fn match_cost(&self) -> usize {
        self.match_cost
    }
}

fn any(matchers: &[Matcher], audience: &Audience, hub: &HubUrl) -> bool {
    let mut topics = audience.topics.iter();
    topics.any(|topic| any_matches(matchers, topic.as_str(), hub))
}

/// All selections that [`Self::select`] returned and that are still in use, and the compiler for new ones.
#[derive(Debug)]
pub(crate) struct Selections {
    compiler: Compiler,
    cache: Mutex<SelectionCache>,
}

/// Selections by the hash of their matchers and rights. The references are weak: a selection is dropped when
/// its last subscriber leaves. Its entry in the map remains until the next cleanup.
#[derive(Debug, Default)]
struct SelectionCache {
    selections: HashMap<u64, Weak<Selection>>,
    hasher: RandomState,
    /// When the map has at least this many entries, the next [`SelectionCache::add`] first removes the
    /// entries of dropped selections.
    next_cleanup: usize,
}

/// Minimum value of `next_cleanup`. With fewer entries, a cleanup is not worth its time.
const MIN_CLEANUP: usize = 64;

impl Selections {
    /// `budget` is the memory for the matchers of all subscribers, in bytes. When it is exhausted, new
    /// selections are refused, except those with only a few exact topics.
    pub(crate) fn new(hub: HubUrl, budget: usize) -> Self {
        Self {
            compiler: Compiler::with_budget(hub, budget),
            cache: Mutex::default(),
        }
    }

    /// The URL of the hub, against which relative patterns are resolved.
    pub(crate) fn hub(&self) -> &HubUrl {
        self.compiler.hub()
    }

    /// Exhausts the memory for matchers until the reservation is dropped.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> Reservation {
        self.compiler.fill()
    }

    /// Returns the selection with these matchers and rights, and creates it if it does not exist. Order and
    /// duplicates do not matter. `names_topics`: see [`Selection::names_topics`]. `granted` is the memory
    /// reservation for `authorized`, made when the token was verified. Fails if a matcher is invalid, if the matchers together are too complex, or if the
    /// memory for matchers is exhausted.
    pub(crate) async fn select(
        &self,
        mut matchers: Vec<MatcherText>,
        authorized: &[Matcher],
        granted: Option<Arc<Reservation>>,
        names_topics: bool,
    ) -> Result<Arc<Selection>, InvalidMatcher> {
        matchers.sort_unstable();
        matchers.dedup();
        let mut authorized = authorized.to_vec();
        authorized.sort_unstable_by(|one, other| one.written().cmp(other.written()));
        authorized.dedup();
        if let Some(selection) = self.cache.lock().find(&matchers, &authorized, names_topics) {
            return Ok(selection);
        }
        // Compiling a pattern may require a millisecond. So this task does not hold the lock while it
        // compiles, and lets other tasks run after each pattern.
        let mut compiling = self.compiler.begin();
        let mut compiled = Vec::with_capacity(matchers.len());
        for written in matchers {
            let matcher = compiling.compile(written)?;
            if matcher.bytes() > 0 {
                yield_now().await;
            }
            compiled.push(matcher);
        }
        let hub = self.compiler.hub().clone();
        let mut selection = Selection::new(hub, compiled, authorized).naming_topics(names_topics);
        selection.memory = [Some(compiling.finish()), granted];
        Ok(self.cache.lock().add(Arc::new(selection)))
    }
}

impl SelectionCache {
    fn hash<'a>(
        &self,
        matchers: impl ExactSizeIterator<Item = &'a MatcherText>,
        authorized: &[Matcher],
        names_topics: bool,
    ) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        matchers.len().hash(&mut hasher);
        matchers.for_each(|matcher| matcher.hash(&mut hasher));
        authorized.hash(&mut hasher);
        names_topics.hash(&mut hasher);
        hasher.finish()
    }

    fn find(
        &self,
        matchers: &[MatcherText],
        authorized: &[Matcher],
        names_topics: bool,
    ) -> Option<Arc<Selection>> {
        let hash = self.hash(matchers.iter(), authorized, names_topics);
        let selection = self.selections.get(&hash)?.upgrade()?;
        let is_it = selection.matchers.iter().map(Matcher::written).eq(matchers)
            && selection.authorized == authorized
            && selection.names_topics == names_topics;
        is_it.then_some(selection)
    }

    /// Adds a selection and returns it. If another task added an equal selection while this one was compiled,
    /// returns the existing selection instead.
    fn add(&mut self, selection: Arc<Selection>) -> Arc<Selection> {
        let existing = self.find(
            &selection.written(),
            &selection.authorized,
            selection.names_topics,
        );
        if let Some(existing) = existing {
            return existing;
        }
        if self.selections.len() >= self.next_cleanup {
            self.selections.retain(|_, entry| entry.strong_count() > 0);
            self.selections.shrink_to(MIN_CLEANUP);
            self.next_cleanup = (2 * self.selections.len()).max(MIN_CLEANUP);
        }
        let written = selection.matchers.iter().map(Matcher::written);
        let hash = self.hash(written, &selection.authorized, selection.names_topics);
        self.selections.insert(hash, Arc::downgrade(&selection));
        selection
    }
}
