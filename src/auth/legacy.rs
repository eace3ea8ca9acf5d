//! Reads access tokens of older versions of the Mercure protocol: a JWT of any type with a claim `mercure` or
//! `https://mercure.rocks/`, which lists topic selectors and matchers.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::{
    access::{Access, InvalidDetails},
    rules::TokenRules,
};
use crate::matching::{Compiling, Matcher, MatcherText, MatcherType};

/// The claim `mercure` or `https://mercure.rocks/`: the topics on which the bearer may publish, and those
/// whose private events it may read. A missing list allows nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MercureClaim {
    publish: Option<Vec<ClaimEntry>>,
    subscribe: Option<Vec<ClaimEntry>>,
    /// JSON that the hub shows with each active subscription of the token's bearer. If the first entry of
    /// `subscribe` that matches the subscription has its own payload, that one is shown instead.
    payload: Option<Value>,
}

/// An entry of the list `publish` or `subscribe` in the claim `mercure`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ClaimEntry {
    /// A topic, a URI Template, or `*` for every topic.
    Text(String),
    /// A matcher with the text `match`. Without `match_type`, its type is `exact`.
    Matcher {
        r#match: String,
        match_type: Option<String>,
        /// JSON that replaces the claim's payload for an active subscription, if this is the first entry that
        /// matches the subscription. Ignored in the list `publish`.
        payload: Option<Value>,
    },
}

impl ClaimEntry {
    fn compile(
        &self,
        compiling: &mut Compiling<'_>,
        max_bytes: usize,
    ) -> Result<Matcher, InvalidDetails> {
        let (kind, text) = match self {
            Self::Text(text) => (MatcherType::Selector, text),
            Self::Matcher {
                r#match,
                match_type: None,
                ..
            } => (MatcherType::Exact, r#match),
            Self::Matcher {
                r#match,
                match_type: Some(name),
                ..
            } => {
                let kind = MatcherType::named(name).ok_or(InvalidDetails::MatchType)?;
                (kind, r#match)
            }
        };
        Ok(compiling.compile(MatcherText::parse(kind, text, max_bytes)?)?)
    }

    fn payload(&self) -> Option<&Value> {
        match self {
            Self::Text(_) => None,
            Self::Matcher { payload, .. } => payload.as_ref(),
        }
    }
}

impl MercureClaim {
    pub(super) fn access(
        self,
        compiling: &mut Compiling<'_>,
        rules: &TokenRules,
    ) -> Result<Access, InvalidDetails> {
        let mut compile = |selectors: &[ClaimEntry]| {
            if selectors.len() > rules.topics {
                return Err(InvalidDetails::TooManyTopics);
            }
            let selectors = selectors.iter();
            selectors
                .map(|selector| selector.compile(compiling, rules.pattern))
                .collect::<Result<Vec<_>, _>>()
        };
        let publish = compile(&self.publish.unwrap_or_default())?;
        let selectors = self.subscribe.unwrap_or_default();
        let subscribe = compile(&selectors)?;
        let mut access = Access::default();
        access.allow_publish(publish);
        access.allow_subscribe(subscribe.clone());
        let text = |payload: &Value| Arc::from(payload.to_string());
        let of_claim: Option<Arc<str>> = self.payload.as_ref().map(text);
        for (selector, matcher) in selectors.iter().zip(subscribe) {
            let payload = selector.payload().map(text);
            access.add_payload(vec![matcher], payload.or_else(|| of_claim.clone()));
        }
        let all = compiling.compile(MatcherText::wildcard())?;
        access.add_payload(vec![all], of_claim);
        Ok(access)
    }
}
