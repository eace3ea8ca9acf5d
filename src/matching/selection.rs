//! What a subscriber gets: the events of the topics it asked for, less those that are private and
//! not for it.

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

/// What one or more subscribers get. Those that ask for the same share one, so that it is compiled
/// once and a worker thread can treat them as one.
#[derive(Debug)]
pub(crate) struct Selection {
    hub: HubUrl,
    matchers: Vec<Matcher>,
    authorized: Vec<Matcher>,
    /// What it may take to try all on a topic, in tries of a simple one.
    match_cost: usize,
    /// What its matchers take of the budget of all, and what those of its token do.
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

    /// Which topics were asked for.
    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// The topics of which what is private may be sent.
    pub(crate) fn authorized(&self) -> &[Matcher] {
        &self.authorized
    }

    /// What was asked for, as it was written.
    pub(crate) fn written(&self) -> Vec<MatcherText> {
        let written = |matcher: &Matcher| matcher.written().clone();
        self.matchers.iter().map(written).collect()
    }

    /// Whether an event of these topics is to be sent.
    pub(crate) fn selects(&self, audience: &Audience) -> bool {
        any(&self.matchers, audience, &self.hub) && self.may_read(audience)
    }

    /// Whether an event of these topics may be sent, be it asked for or not: it is public, or one
    /// of its topics is granted. (Mercure, chapter Subscribers)
    pub(crate) fn may_read(&self, audience: &Audience) -> bool {
        !audience.private || any(&self.authorized, audience, &self.hub)
    }

    /// Whether it may select presence events, which are private. `true` is possible for a pattern that
    /// matches none.
    pub(crate) fn may_select_presence(&self) -> bool {
        self.may_select_presence
    }

    /// What it may take to try all on a topic, in tries of a simple one.
    pub(crate) fn match_cost(&self) -> usize {
        self.match_cost
    }
}

fn any(matchers: &[Matcher], audience: &Audience, hub: &HubUrl) -> bool {
    let mut topics = audience.topics.iter();
    topics.any(|topic| any_matches(matchers, topic.as_str(), hub))
}

/// Every selection that somebody has.
#[derive(Debug)]
pub(crate) struct Selections {
    compiler: Compiler,
    known: Mutex<Known>,
}

/// Selections by the hash of what was asked for. One that nobody has any more leaves no more than its
/// hash behind.
#[derive(Debug, Default)]
struct Known {
    selections: HashMap<u64, Weak<Selection>>,
    hasher: RandomState,
    /// With so many, those that nobody has any more are dropped.
    crowded: usize,
}

/// Looking through fewer is not worth it.
const FEW: usize = 64;

impl Selections {
    /// `budget`: memory for the matchers of all subscribers, in bytes.
    pub(crate) fn new(hub: HubUrl, budget: usize) -> Self {
        Self {
            compiler: Compiler::with_budget(hub, budget),
            known: Mutex::default(),
        }
    }

    /// The hub's URL, which relative patterns are relative to.
    pub(crate) fn hub(&self) -> &HubUrl {
        self.compiler.hub()
    }

    /// Takes all the room that there is for matchers.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> Reservation {
        self.compiler.fill()
    }

    /// What is to be sent to whoever asks for this and may read that. `granted`: what the patterns of the
    /// latter take.
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
        if let Some(selection) = self.known.lock().find(&matchers, &authorized) {
            return Ok(selection);
        }
        // Not under the lock, and not at once: a pattern may take a millisecond to compile.
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
        Ok(self.known.lock().add(Arc::new(selection)))
    }
}

impl Known {
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

    /// Keeps the one that is there, if there is one meanwhile.
    fn add(&mut self, selection: Arc<Selection>) -> Arc<Selection> {
        if let Some(known) = self.find(&selection.written(), &selection.authorized) {
            return known;
        }
        if self.selections.len() >= self.crowded {
            self.selections.retain(|_, known| known.strong_count() > 0);
            self.selections.shrink_to(FEW);
            self.crowded = (2 * self.selections.len()).max(FEW);
        }
        let written = selection.matchers.iter().map(Matcher::written);
        let hash = self.hash(written, &selection.authorized);
        self.selections.insert(hash, Arc::downgrade(&selection));
        selection
    }
}
