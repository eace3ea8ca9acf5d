//! Decides what a token allows, from its authorization details for Mercure (Mercure, chapter Authorization
//! Details; RFC 9396). Each detail allows actions on topics. An error in one detail makes the token invalid.

use std::sync::Arc;

use serde_json::{Map, Value};
use thiserror::Error;

use super::{identity::Identity, issuer::Action, keys::Scope, rules::TokenRules};
use crate::{
    event::{Hash128, Topic},
    matching::{
        Compiling, HubUrl, InvalidMatcher, Matcher, MatcherText, MatcherType, Reservation,
        any_matches,
    },
};

/// The `type` of authorization details for Mercure. Details of other types are ignored.
pub(crate) const DETAIL_TYPE: &str = "https://mercure.rocks/authorization-detail";

/// What the bearer of a token may do.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// When the token expires, in seconds since 1970, rounded down. `None`: never, which only tokens of older
    /// Mercure versions may do.
    pub(crate) expires_at: Option<u64>,
    /// Hash of the token without its signature. Identifies the token in this process.
    pub(crate) token: u64,
    /// The fingerprint (`Key::fingerprint`) of the key that signed the token.
    pub(super) key: u64,
    /// What a revocation can name to revoke the token.
    pub(super) identity: Identity,
    /// Whether the issuer's tokens can grant nothing for subscribers (`actions` of `auth.issuers`).
    pub(crate) is_only_for_publishing: bool,
    /// Identifies the publisher, for its idempotency keys.
    pub(crate) publisher: Hash128,
    publish: Vec<Matcher>,
    subscribe: Vec<Matcher>,
    payloads: Vec<Payload>,
    /// The memory reservation for the token's matchers (topics and patterns). `None` until the verifier sets
    /// it.
    pub(super) compiled: Option<Arc<Reservation>>,
}

/// The payload of one detail: JSON that the hub shows with each active subscription that `topics` match,
/// unless an earlier detail matches the same subscription.
#[derive(Debug)]
struct Payload {
    topics: Vec<Matcher>,
    /// Stored as text, because a parsed object may need about fifty times as much memory. `None`: the detail
    /// has no payload.
    payload: Option<Arc<str>>,
}

/// Why the authorization details of a token, or its claim `mercure` of older versions, are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum InvalidDetails {
    #[error("authorization_details is not a list of objects with a type")]
    Form,
    #[error("there are more details than limits.token_details")]
    TooMany,
    #[error("a detail's actions are not a list of one or more texts")]
    Actions,
    #[error("a detail's topics are not a list of one or more objects with a match")]
    Topics,
    #[error("a detail has more topics than limits.token_topics")]
    TooManyTopics,
    #[error("a detail's payload is not an object")]
    Payload,
    #[error("a topic's match_type is not one that this hub supports")]
    MatchType,
    #[error("a topic's match: {0}")]
    Matcher(#[from] InvalidMatcher),
}

impl Access {
    /// Parses the claim `authorization_details`, and returns what its details for Mercure allow. If `details`
    /// is `None`, the token has no such claim and allows nothing. Fails if the claim is malformed, exceeds a
    /// limit of `rules`, or contains an invalid topic or pattern. Also fails if the memory for matchers is
    /// exhausted.
    pub(crate) fn parse(
        details: Option<&Value>,
        compiling: &mut Compiling<'_>,
        rules: &TokenRules,
    ) -> Result<Self, InvalidDetails> {
        let mut access = Self::default();
        let Some(details) = details else {
            return Ok(access);
        };
        let details = details.as_array().ok_or(InvalidDetails::Form)?;
        let mut count = 0;
        for detail in details {
            let detail = detail.as_object().ok_or(InvalidDetails::Form)?;
            let kind = detail.get("type").and_then(Value::as_str);
            if kind.ok_or(InvalidDetails::Form)? != DETAIL_TYPE {
                continue;
            }
            count += 1;
            if count > rules.details {
                return Err(InvalidDetails::TooMany);
            }
            access.add(detail, compiling, rules)?;
        }
        Ok(access)
    }

    fn add(
        &mut self,
        detail: &Map<String, Value>,
        compiling: &mut Compiling<'_>,
        rules: &TokenRules,
    ) -> Result<(), InvalidDetails> {
        let actions = list(detail, "actions").ok_or(InvalidDetails::Actions)?;
        let actions: Option<Vec<_>> = actions.iter().map(Value::as_str).collect();
        let actions = actions.ok_or(InvalidDetails::Actions)?;
        let topics = list(detail, "topics").ok_or(InvalidDetails::Topics)?;
        if topics.len() > rules.topics {
            return Err(InvalidDetails::TooManyTopics);
        }
        let compile = |topic| matcher(topic, compiling, rules.pattern);
        let topics: Vec<_> = topics.iter().map(compile).collect::<Result<_, _>>()?;
        let payload = detail.get("payload");
        if payload.is_some_and(|payload| !payload.is_object()) {
            return Err(InvalidDetails::Payload);
        }
        if actions.contains(&"publish") {
            self.allow_publish(topics.clone());
        }
        if actions.contains(&"subscribe") {
            self.allow_subscribe(topics.clone());
            self.add_payload(topics, payload.map(|payload| payload.to_string().into()));
        }
        Ok(())
    }

    pub(super) fn allow_publish(&mut self, topics: Vec<Matcher>) {
        self.publish.extend(topics);
    }

    pub(super) fn allow_subscribe(&mut self, topics: Vec<Matcher>) {
        self.subscribe.extend(topics);
    }

    /// Adds a payload that the hub shows with each active subscription to these topics. If the topics of
    /// several calls match a subscription, only the first of these calls counts, even if its payload is
    /// `None`.
    pub(super) fn add_payload(&mut self, topics: Vec<Matcher>, payload: Option<Arc<str>>) {
        self.payloads.push(Payload { topics, payload });
    }

    /// Takes away what the tokens of the issuer cannot grant according to the config.
    pub(super) fn limit_to(&mut self, scope: &Scope) {
        self.is_only_for_publishing = !scope.allows(Action::Subscribe);
        if self.is_only_for_publishing {
            self.subscribe.clear();
            self.payloads.clear();
        }
        if !scope.allows(Action::Publish) {
            self.publish.clear();
        }
        if let Some(topics) = scope.topics() {
            let granted = self.publish.iter_mut().chain(&mut self.subscribe);
            let of_payloads = self.payloads.iter_mut();
            let of_payloads = of_payloads.flat_map(|detail| &mut detail.topics);
            for matcher in granted.chain(of_payloads) {
                matcher.limit_to(topics.clone());
            }
        }
    }

    /// Whether the bearer may publish on a topic.
    pub(crate) fn may_publish(&self, topic: &Topic, hub: &HubUrl) -> bool {
        any_matches(&self.publish, topic.as_str(), hub)
    }

    /// Whether the bearer may publish on any topic at all.
    pub(crate) fn can_publish(&self) -> bool {
        !self.publish.is_empty()
    }

    /// Whether the bearer may read private events on a topic. If `topic` is the path of an active
    /// subscription or of a list of them: whether the bearer may read the document at this path.
    pub(crate) fn may_read(&self, topic: &str, hub: &HubUrl) -> bool {
        any_matches(&self.subscribe, topic, hub)
    }

    /// The memory reservation for the token's matchers. Code that keeps a copy of the matchers must also keep
    /// the reservation, so that their memory stays counted.
    pub(crate) fn compiled(&self) -> Option<Arc<Reservation>> {
        self.compiled.clone()
    }

    /// Matchers for the topics whose private events the bearer may read.
    pub(crate) fn authorized(&self) -> &[Matcher] {
        &self.subscribe
    }

    /// Returns the payload of an active subscription as JSON, or `None` if it has none. `subscribed` is the
    /// topic or pattern that the client subscribed to. The payload is that of the first detail with a topic
    /// that has this text, or that matches this text as if it were a topic (Mercure, chapter Payloads).
    pub(crate) fn payload(&self, subscribed: &str, hub: &HubUrl) -> Option<&str> {
        self.payloads
            .iter()
            .find(|detail| {
                // A pattern may not match its own text. So a detail that contains exactly the text
                // `subscribed` also applies.
                let is_it = |matcher: &Matcher| {
                    !matcher.is_limited() && &*matcher.written().text == subscribed
                };
                detail.topics.iter().any(is_it) || any_matches(&detail.topics, subscribed, hub)
            })
            .and_then(|detail| detail.payload.as_deref())
    }
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Vec<Value>> {
    let list = object.get(key)?.as_array()?;
    (!list.is_empty()).then_some(list)
}

fn matcher(
    topic: &Value,
    compiling: &mut Compiling<'_>,
    max_bytes: usize,
) -> Result<Matcher, InvalidDetails> {
    let topic = topic.as_object().ok_or(InvalidDetails::Topics)?;
    let text = topic.get("match").and_then(Value::as_str);
    let text = text.ok_or(InvalidDetails::Topics)?;
    let kind = match topic.get("match_type") {
        None => MatcherType::Exact,
        Some(kind) => kind
            .as_str()
            .and_then(MatcherType::named)
            .ok_or(InvalidDetails::MatchType)?,
    };
    let written = MatcherText::parse(kind, text, max_bytes)?;
    Ok(compiling.compile(written)?)
}
