//! Topic matchers, with which subscribers and tokens name sets of topics (Mercure, chapter Matcher Types).
//! Two matchers are equal if their types, their texts and their limits are equal.

use std::{
    cell::OnceCell,
    hash::{Hash, Hasher},
    sync::Arc,
};

use thiserror::Error;
use url::Url;

use super::{
    hub_url::{HubUrl, SUBSCRIPTIONS_PATH},
    uri_template::{NoTemplate, UriTemplate},
    url_pattern::{UrlPattern, may_begin_both},
};
use crate::event::{Topic, has_invisible};

/// A matcher with this text matches every topic, whatever the type of the matcher.
const WILDCARD: &str = "*";

/// The type of a matcher, which determines how the text of the matcher is compared with a topic. Whatever the
/// type, the text `*` matches every topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MatcherType {
    /// Matches the topic that is equal to the text.
    Exact,
    /// The text of the matcher is a URL Pattern. Matches each topic that, as a URL, matches this pattern.
    UrlPattern,
    /// A *topic selector* of older versions of Mercure: matches the topic that is equal to the text. If the
    /// text is a URI Template, it also matches the topics to which the template can expand.
    Selector,
}

impl MatcherType {
    /// The types that the current version of the Mercure protocol defines.
    pub(crate) const REGISTERED: [Self; 2] = [Self::Exact, Self::UrlPattern];

    /// The name of the type in the Mercure protocol. The protocol has no name for [`Self::Selector`];
    /// `selector` is our own.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::UrlPattern => "urlpattern",
            Self::Selector => "selector",
        }
    }

    /// The type in `REGISTERED` with this name, or `None`. Names are case-sensitive.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut registered = Self::REGISTERED.into_iter();
        registered.find(|kind| kind.name() == name)
    }
}

/// A matcher before it is compiled: its type and its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MatcherText {
    pub(crate) kind: MatcherType,
    pub(crate) text: Arc<str>,
}

/// Why a matcher is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum InvalidMatcher {
    #[error("a matcher cannot be empty")]
    Empty,
    #[error("a matcher is at most {0} bytes long (limits.pattern)")]
    TooLong(usize),
    #[error("a matcher cannot hold control or format characters")]
    Invisible,
    #[error("not a URL Pattern, or one that is too complex")]
    Pattern,
    #[error("a URI Template that is too complex")]
    Template,
    #[error("the patterns together are too complex")]
    TooMuch,
    #[error("the memory for topics and patterns is exhausted")]
    Crowded,
}

impl MatcherText {
    /// Checks a matcher as far as this needs no compilation. Fails if `text` is empty, longer than
    /// `max_bytes`, or contains invisible characters.
    pub(crate) fn parse(
        kind: MatcherType,
        text: &str,
        max_bytes: usize,
    ) -> Result<Self, InvalidMatcher> {
        if text.is_empty() {
            return Err(InvalidMatcher::Empty);
        }
        if text.len() > max_bytes {
            return Err(InvalidMatcher::TooLong(max_bytes));
        }
        if has_invisible(text) {
            return Err(InvalidMatcher::Invisible);
        }
        let text = text.into();
        Ok(Self { kind, text })
    }

    /// A matcher that matches every topic: the text `*`.
    pub(crate) fn wildcard() -> Self {
        Self {
            kind: MatcherType::Exact,
            text: WILDCARD.into(),
        }
    }

    /// Whether the text is `*`, which matches every topic. Other texts are not examined.
    fn is_wildcard(&self) -> bool {
        &*self.text == WILDCARD
    }
}

/// A compiled matcher.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    written: MatcherText,
    rule: MatchRule,
    /// The matcher matches only topics that one of these matchers also matches. `None`: no limit.
    limit: Option<Arc<[Matcher]>>,
}

#[derive(Debug, Clone)]
pub(crate) enum MatchRule {
    /// Matches every topic.
    All,
    /// Matches the topic that is equal to the text.
    Exact,
    /// Matches each topic that, as a URL, matches the pattern. A topic that is not a URL never matches.
    Pattern(Arc<UrlPattern>),
    /// Matches the topic that is equal to the text, and each topic to which the template can expand.
    Template(Arc<UriTemplate>),
}

impl Matcher {
    pub(crate) fn compile(written: MatcherText, hub: &HubUrl) -> Result<Self, InvalidMatcher> {
        let rule = match written.kind {
            _ if written.is_wildcard() => MatchRule::All,
            MatcherType::Exact => MatchRule::Exact,
            MatcherType::UrlPattern => {
                let pattern = UrlPattern::parse(&written.text, hub);
                MatchRule::Pattern(Arc::new(pattern.map_err(|_| InvalidMatcher::Pattern)?))
            }
            MatcherType::Selector => match UriTemplate::parse(&written.text) {
                Ok(template) => MatchRule::Template(Arc::new(template)),
                Err(NoTemplate::Plain) => MatchRule::Exact,
                Err(NoTemplate::TooComplex) => return Err(InvalidMatcher::Template),
            },
        };
        Ok(Self {
            written,
            rule,
            limit: None,
        })
    }

    /// A matcher that matches only this topic.
    pub(crate) fn exact(topic: &Topic) -> Self {
        Self {
            written: MatcherText {
                kind: MatcherType::Exact,
                text: topic.as_str().into(),
            },
            rule: MatchRule::Exact,
            limit: None,
        }
    }

    /// From now on, matches only topics that one of these matchers also matches.
    pub(crate) fn limit_to(&mut self, matchers: Arc<[Matcher]>) {
        self.limit = Some(matchers);
    }

    /// Whether the matcher matches only topics that other matchers also match.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    fn limit(&self) -> impl Iterator<Item = &Matcher> {
        self.limit.iter().flat_map(|limit| limit.iter())
    }

    pub(crate) fn written(&self) -> &MatcherText {
        &self.written
    }

    pub(crate) fn rule(&self) -> &MatchRule {
        &self.rule
    }

    /// Approximate maximum memory of the compiled form in bytes, counting a full match cache. 0 for a matcher
    /// that needs no compilation: an exact one, a selector that is not a template, or `*`.
    pub(crate) fn bytes(&self) -> usize {
        match &self.rule {
            MatchRule::All | MatchRule::Exact => 0,
            MatchRule::Pattern(pattern) => pattern.bytes(),
            MatchRule::Template(template) => template.bytes(),
        }
    }

    /// Estimate of the cost to match one topic. 1 is the cost of an exact matcher or a simple pattern.
    pub(crate) fn match_cost(&self) -> usize {
        // A matcher with at most this many `bytes` counts as simple. For a larger one, the worst case counts:
        // the time for each byte of a topic is in proportion to the compiled size. Most real patterns need
        // far less time. The estimate is also high because `bytes` counts a full match cache.
        const MAX_SIMPLE_BYTES: usize = 8 << 10;
        const BYTES_PER_UNIT: usize = 256;
        let own = match self.bytes() {
            ..=MAX_SIMPLE_BYTES => 1,
            bytes => bytes / BYTES_PER_UNIT,
        };
        own + self.limit().map(Self::match_cost).sum::<usize>()
    }

    /// Whether this matcher may match the topic of a presence event (an event about an active subscription).
    /// `false` is certain. `true` is not certain: the matcher may still match no such topic.
    pub(crate) fn may_match_presence(&self, hub: &HubUrl) -> bool {
        let topics = format!("{}{}/", hub.path(), SUBSCRIPTIONS_PATH);
        if self.limit.is_some() && !self.limit().any(|it| it.may_match_presence(hub)) {
            return false;
        }
        match &self.rule {
            MatchRule::All => true,
            MatchRule::Exact => self.written.text.starts_with(&topics),
            MatchRule::Pattern(pattern) => hub
                .all()
                .any(|hub| pattern.may_match_path_below(&topics, hub)),
            MatchRule::Template(_) => {
                let literal = self.written.text.split('{').next().unwrap_or_default();
                may_begin_both(literal, &topics)
            }
        }
    }

    /// Whether this is an exact matcher of this topic, or a selector with the topic as its text.
    pub(crate) fn names(&self, topic: &str) -> bool {
        let is_literal = matches!(self.rule, MatchRule::Exact | MatchRule::Template(_));
        is_literal && &*self.written.text == topic
    }

    pub(crate) fn matches(&self, topic: &Subject<'_>) -> bool {
        self.matches_rule(topic)
            && (self.limit.is_none() || self.limit().any(|it| it.matches(topic)))
    }

    fn matches_rule(&self, topic: &Subject<'_>) -> bool {
        let is_it = || &*self.written.text == topic.text;
        match &self.rule {
            MatchRule::All => true,
            MatchRule::Exact => is_it(),
            MatchRule::Pattern(pattern) => topic.has_url(|url| pattern.matches(url)),
            MatchRule::Template(template) => is_it() || template.matches(topic.text),
        }
    }
}

/// Whether any of the matchers matches the topic.
pub(crate) fn any_matches(matchers: &[Matcher], topic: &str, hub: &HubUrl) -> bool {
    let subject = Subject::new(topic, hub);
    matchers.iter().any(|matcher| matcher.matches(&subject))
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written && self.limit == other.limit
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
        self.limit.hash(state);
    }
}

/// A topic to match. Its text is parsed as a URL only if a URL Pattern needs the URL, and at most once.
pub(crate) struct Subject<'a> {
    text: &'a str,
    hub: &'a HubUrl,
    url: OnceCell<Option<Url>>,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(text: &'a str, hub: &'a HubUrl) -> Self {
        Self {
            text,
            hub,
            url: OnceCell::new(),
        }
    }

    /// Whether the topic has a URL for which `is_it` returns true. A relative topic has one for each URL of the
    /// hub.
    fn has_url(&self, is_it: impl Fn(&Url) -> bool) -> bool {
        let url = self.url.get_or_init(|| self.hub.resolve(self.text));
        if url.as_ref().is_some_and(&is_it) {
            return true;
        }
        let mut others = self.hub.others().iter();
        let mut others = others.by_ref().filter_map(|hub| hub.resolve(self.text));
        others.any(|other| Some(&other) != url.as_ref() && is_it(&other))
    }
}
