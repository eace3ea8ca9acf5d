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
    matcher::{InvalidMatcher, Matcher, MatcherText, any_matches},
    memory_budget::Reservation,
};
use crate::event::Audience;

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
        }
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
    /// duplicates do not matter. `granted` is the memory reservation for `authorized`, made when the token
    /// was verified. Fails if a matcher is invalid, if the matchers together are too complex, or if the
    /// memory for matchers is exhausted.
    pub(crate) async fn select(
        &self,
        mut matchers: Vec<MatcherText>,
        authorized: &[Matcher],
        granted: Option<Arc<Reservation>>,
    ) -> Result<Arc<Selection>, InvalidMatcher> {
        matchers.sort_unstable();
        matchers.dedup();
        let mut authorized = authorized.to_vec();
        authorized.sort_unstable_by(|one, other| one.written().cmp(other.written()));
        authorized.dedup();
        if let Some(selection) = self.cache.lock().find(&matchers, &authorized) {
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
        let mut selection = Selection::new(hub, compiled, authorized);
        selection.memory = [Some(compiling.finish()), granted];
        Ok(self.cache.lock().add(Arc::new(selection)))
    }
}

impl SelectionCache {
    fn hash<'a>(
        &self,
        matchers: impl ExactSizeIterator<Item = &'a MatcherText>,
        authorized: &[Matcher],
    ) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        matchers.len().hash(&mut hasher);
        matchers.for_each(|matcher| matcher.hash(&mut hasher));
        authorized.hash(&mut hasher);
        hasher.finish()
    }

    fn find(&self, matchers: &[MatcherText], authorized: &[Matcher]) -> Option<Arc<Selection>> {
        let hash = self.hash(matchers.iter(), authorized);
        let selection = self.selections.get(&hash)?.upgrade()?;
        let is_it = selection.matchers.iter().map(Matcher::written).eq(matchers)
            && selection.authorized == authorized;
        is_it.then_some(selection)
    }

    /// Adds a selection and returns it. If another task added an equal selection while this one was compiled,
    /// returns the existing selection instead.
    fn add(&mut self, selection: Arc<Selection>) -> Arc<Selection> {
        if let Some(existing) = self.find(&selection.written(), &selection.authorized) {
            return existing;
        }
        if self.selections.len() >= self.next_cleanup {
            self.selections.retain(|_, entry| entry.strong_count() > 0);
            self.selections.shrink_to(MIN_CLEANUP);
            self.next_cleanup = (2 * self.selections.len()).max(MIN_CLEANUP);
        }
        let written = selection.matchers.iter().map(Matcher::written);
        let hash = self.hash(written, &selection.authorized);
        self.selections.insert(hash, Arc::downgrade(&selection));
        selection
    }
}
