//! What a subscriber gets: the events of the topics it asked for, less those that are private and
//! not for it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::task::yield_now;

use crate::{
    compiler::Compiler,
    event::Audience,
    hub_url::HubUrl,
    matcher::{InvalidMatcher, Matcher, MatcherText, any_matches},
    tally::Held,
};

/// What one or more subscribers get. Those that ask for the same share one, so that it is compiled
/// once and a worker thread can treat them as one.
#[derive(Debug)]
pub(crate) struct Selection {
    hub: HubUrl,
    matchers: Vec<Matcher>,
    readable: Vec<Matcher>,
    /// What it may take to try all on a topic, in tries of a simple one.
    effort: usize,
    /// What its patterns take of what all may, and what those of its token do.
    compiled: [Option<Arc<Held>>; 2],
    may_select_presence: bool,
}

impl Selection {
    pub(crate) fn new(hub: HubUrl, matchers: Vec<Matcher>, readable: Vec<Matcher>) -> Self {
        let effort = matchers.iter().chain(&readable).map(Matcher::effort).sum();
        let may = |matchers: &[Matcher]| matchers.iter().any(|it| it.may_match_presence(&hub));
        Self {
            may_select_presence: may(&matchers) && may(&readable),
            hub,
            effort,
            matchers,
            readable,
            compiled: [None, None],
        }
    }

    /// Which topics were asked for.
    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// The topics of which what is private may be sent.
    pub(crate) fn readable(&self) -> &[Matcher] {
        &self.readable
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
        !audience.private || any(&self.readable, audience, &self.hub)
    }

    /// Whether it may select what is told of active subscriptions, which is private. It may say so of a
    /// pattern that matches none.
    pub(crate) fn may_select_presence(&self) -> bool {
        self.may_select_presence
    }

    /// What it may take to try all on a topic, in tries of a simple one.
    pub(crate) fn effort(&self) -> usize {
        self.effort
    }
}

fn any(matchers: &[Matcher], audience: &Audience, hub: &HubUrl) -> bool {
    let mut topics = audience.topics.iter();
    topics.any(|topic| any_matches(matchers, topic.as_str(), hub))
}

/// A selection as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    matchers: Vec<MatcherText>,
    readable: Vec<MatcherText>,
}

/// Every selection that somebody has.
#[derive(Debug)]
pub(crate) struct Selections {
    compiler: Compiler,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    selections: HashMap<Asked, std::sync::Weak<Selection>>,
    /// With so many, those that nobody has any more are dropped.
    crowded: usize,
}

/// Looking through fewer is not worth it.
const FEW: usize = 64;

impl Selections {
    pub(crate) fn new(hub: HubUrl) -> Self {
        Self {
            compiler: Compiler::new(hub),
            known: Mutex::default(),
        }
    }

    /// The hub's URL, which relative patterns are relative to.
    pub(crate) fn hub(&self) -> &HubUrl {
        self.compiler.hub()
    }

    /// Takes all the room that there is for patterns.
    #[cfg(test)]
    pub(crate) fn fill(&self) -> Held {
        self.compiler.fill()
    }

    /// What is to be sent to whoever asks for this and may read that. `granted`: what the patterns of the
    /// latter take.
    pub(crate) async fn select(
        &self,
        mut matchers: Vec<MatcherText>,
        readable: &[Matcher],
        granted: Option<Arc<Held>>,
    ) -> Result<Arc<Selection>, InvalidMatcher> {
        matchers.sort_unstable();
        matchers.dedup();
        let mut grants: Vec<_> = readable
            .iter()
            .map(|grant| grant.written().clone())
            .collect();
        grants.sort_unstable();
        grants.dedup();
        let asked = Asked {
            matchers,
            readable: grants,
        };
        if let Some(selection) = self.known.lock().find(&asked) {
            return Ok(selection);
        }
        // Not under the lock, and not at once: a pattern may take a millisecond to compile.
        let mut compiling = self.compiler.begin();
        let mut matchers = Vec::with_capacity(asked.matchers.len());
        for written in &asked.matchers {
            let matcher = compiling.compile(written.clone())?;
            if matcher.bytes() > 0 {
                yield_now().await;
            }
            matchers.push(matcher);
        }
        let hub = self.compiler.hub().clone();
        let mut selection = Selection::new(hub, matchers, readable.to_vec());
        selection.compiled = [Some(compiling.finish()), granted];
        Ok(self.known.lock().add(asked, Arc::new(selection)))
    }
}

impl Known {
    fn find(&self, asked: &Asked) -> Option<Arc<Selection>> {
        self.selections.get(asked)?.upgrade()
    }

    /// Keeps the one that is there, if there is one meanwhile.
    fn add(&mut self, asked: Asked, selection: Arc<Selection>) -> Arc<Selection> {
        if let Some(known) = self.find(&asked) {
            return known;
        }
        if self.selections.len() >= self.crowded {
            self.selections.retain(|_, known| known.strong_count() > 0);
            self.selections.shrink_to(FEW);
            self.crowded = (2 * self.selections.len()).max(FEW);
        }
        self.selections.insert(asked, Arc::downgrade(&selection));
        selection
    }
}
