//! Topic matchers: what a subscriber or a token says to mean topics (Mercure, chapter Matcher Types).

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

/// Means every topic, whatever the type of the matcher.
const WILDCARD: &str = "*";

/// How a matcher is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MatcherType {
    /// The very topic.
    Exact,
    /// A URL Pattern.
    UrlPattern,
    /// The very topic, or a URI Template: a *topic selector* of the protocol's older versions.
    Selector,
}

impl MatcherType {
    /// Those of the protocol.
    pub(crate) const REGISTERED: [Self; 2] = [Self::Exact, Self::UrlPattern];

    /// Its name, which is registered but for that of selectors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::UrlPattern => "urlpattern",
            Self::Selector => "selector",
        }
    }

    /// The registered type of this name, which is case-sensitive.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut registered = Self::REGISTERED.into_iter();
        registered.find(|kind| kind.name() == name)
    }
}

/// A matcher as it was written. Two are the same if they are written the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MatcherText {
    pub(crate) kind: MatcherType,
    pub(crate) text: Arc<str>,
}

/// The text cannot be a matcher.
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
    #[error("the patterns are too complex together")]
    TooMuch,
    #[error("the memory for topics and patterns is exhausted")]
    Crowded,
}

impl MatcherText {
    /// Checks what can be seen without compiling it.
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

    /// Means every topic.
    pub(crate) fn wildcard() -> Self {
        Self {
            kind: MatcherType::Exact,
            text: WILDCARD.into(),
        }
    }

    /// Whether it means every topic, of whatever type it is.
    fn is_wildcard(&self) -> bool {
        &*self.text == WILDCARD
    }
}

/// Says of any topic whether it is meant.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    written: MatcherText,
    meaning: Meaning,
}

#[derive(Debug, Clone)]
pub(crate) enum Meaning {
    /// Every topic.
    All,
    /// The topic that is written.
    Exact,
    Pattern(Arc<UrlPattern>),
    /// The topic that is written, and what it can be expanded to.
    Template(Arc<UriTemplate>),
}

impl Matcher {
    pub(crate) fn compile(written: MatcherText, hub: &HubUrl) -> Result<Self, InvalidMatcher> {
        let meaning = match written.kind {
            _ if written.is_wildcard() => Meaning::All,
            MatcherType::Exact => Meaning::Exact,
            MatcherType::UrlPattern => {
                let pattern = UrlPattern::parse(&written.text, hub);
                Meaning::Pattern(Arc::new(pattern.map_err(|_| InvalidMatcher::Pattern)?))
            }
            MatcherType::Selector => match UriTemplate::parse(&written.text) {
                Ok(template) => Meaning::Template(Arc::new(template)),
                Err(NoTemplate::Plain) => Meaning::Exact,
                Err(NoTemplate::TooComplex) => return Err(InvalidMatcher::Template),
            },
        };
        Ok(Self { written, meaning })
    }

    /// The one topic.
    pub(crate) fn exact(topic: &Topic) -> Self {
        Self {
            written: MatcherText {
                kind: MatcherType::Exact,
                text: topic.as_str().into(),
            },
            meaning: Meaning::Exact,
        }
    }

    pub(crate) fn written(&self) -> &MatcherText {
        &self.written
    }

    pub(crate) fn meaning(&self) -> &Meaning {
        &self.meaning
    }

    /// How much memory it takes beside its text, in bytes: without what matching keeps.
    pub(crate) fn bytes(&self) -> usize {
        match &self.meaning {
            Meaning::All | Meaning::Exact => 0,
            Meaning::Pattern(pattern) => pattern.bytes(),
            Meaning::Template(template) => template.bytes(),
        }
    }

    /// What it may take to try it on a topic, in tries of a simple one.
    pub(crate) fn match_cost(&self) -> usize {
        // The larger it is, the more may have to be done for each byte of a topic; the most part of
        // those that are written takes far less.
        const SIMPLE: usize = 8 << 10;
        const OF_MANY: usize = 256;
        match self.bytes() {
            ..=SIMPLE => 1,
            bytes => bytes / OF_MANY,
        }
    }

    /// Whether it may match the topic of a presence event. `true` is possible for a pattern that matches none.
    pub(crate) fn may_match_presence(&self, hub: &HubUrl) -> bool {
        let topics = format!("{}{}/", hub.path(), SUBSCRIPTIONS_PATH);
        match &self.meaning {
            Meaning::All => true,
            Meaning::Exact => self.written.text.starts_with(&topics),
            Meaning::Pattern(pattern) => pattern.may_match_path_below(&topics, hub),
            Meaning::Template(_) => {
                let literal = self.written.text.split('{').next().unwrap_or_default();
                may_begin_both(literal, &topics)
            }
        }
    }

    pub(crate) fn matches(&self, topic: &Subject<'_>) -> bool {
        let is_it = || &*self.written.text == topic.text;
        match &self.meaning {
            Meaning::All => true,
            Meaning::Exact => is_it(),
            Meaning::Pattern(pattern) => topic.url().is_some_and(|url| pattern.matches(url)),
            Meaning::Template(template) => is_it() || template.matches(topic.text),
        }
    }
}

/// Whether one of these means a topic.
pub(crate) fn any_matches(matchers: &[Matcher], topic: &str, hub: &HubUrl) -> bool {
    let subject = Subject::new(topic, hub);
    matchers.iter().any(|matcher| matcher.matches(&subject))
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
    }
}

/// A topic that is asked about. It is parsed as a URL once, and only if a pattern wants to know.
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

    fn url(&self) -> Option<&Url> {
        self.url
            .get_or_init(|| self.hub.resolve(self.text))
            .as_ref()
    }
}
