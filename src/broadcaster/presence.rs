//! Who subscribes to what, and what those are told who may know (Mercure, chapter Active
//! Subscriptions). Pure.

use std::collections::{BTreeMap, HashMap};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    auth::Access,
    event::{PresenceChange, urn},
    matching::{HubUrl, MatcherText, MatcherType, SUBSCRIPTIONS_PATH},
};

/// What RFC 6570 leaves as it is (section 3.2.2).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// How many subscriptions are listed at once; the rest is left out, and the list says so.
const MOST_LISTED: usize = 10_000;

/// Every subscription there is.
#[derive(Debug)]
pub(crate) struct Presence {
    hub: HubUrl,
    /// By their paths, which are the topics on which they are told of.
    active: BTreeMap<String, Value>,
    subscribers: HashMap<String, Subscriber>,
    /// Memory of what is above, in bytes, about, without what each subscriber has free.
    bytes: usize,
    budget: usize,
}

/// A subscriber's subscriptions.
#[derive(Debug, Default)]
struct Subscriber {
    paths: Vec<String>,
    /// What they take of the budget, in bytes.
    bytes: usize,
}

/// There is no memory for the subscriptions of one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded;

/// What a subscription takes beside its texts, in bytes, about: JSON values and maps.
const SUBSCRIPTION_BYTES: usize = 1024;

/// How many bytes of each subscriber are free: a few subscriptions are among what it takes in any case.
const FREE_BYTES: usize = 4096;

impl Presence {
    /// `budget`: memory for the subscriptions of all subscribers, in bytes.
    pub(crate) fn new(hub: HubUrl, budget: usize) -> Self {
        Self {
            hub,
            active: BTreeMap::new(),
            subscribers: HashMap::new(),
            bytes: 0,
            budget,
        }
    }

    /// The same with these subscriptions, which nobody leaves.
    pub(crate) fn of(hub: HubUrl, documents: Vec<Value>) -> Self {
        let path = |document: &Value| Some(document["id"].as_str()?.to_owned());
        let active = documents
            .into_iter()
            .filter_map(|document| Some((path(&document)?, document)))
            .collect();
        Self {
            active,
            ..Self::new(hub, 0)
        }
    }

    pub(crate) fn hub(&self) -> &HubUrl {
        &self.hub
    }

    /// Adds a subscriber, and returns by which name it leaves, and what is to be told.
    pub(crate) fn join(
        &mut self,
        matchers: &[MatcherText],
        access: Option<&Access>,
    ) -> Result<(String, Vec<PresenceChange>), Crowded> {
        let bytes = self.cost(matchers, access).saturating_sub(FREE_BYTES);
        if bytes > 0 && self.bytes + bytes > self.budget {
            return Err(Crowded);
        }
        self.bytes += bytes;
        let subscriber = urn::random();
        let list = format!("{}{SUBSCRIPTIONS_PATH}", self.hub.path());
        let mut paths = Vec::new();
        for MatcherText { kind, text } in matchers {
            let encode = |text| utf8_percent_encode(text, ENCODED);
            let (topic, name) = (encode(text), encode(&subscriber));
            let mut document = json!({
                "type": "subscription",
                "subscriber": subscriber,
                "active": true,
            });
            let path = if *kind == MatcherType::Selector {
                // The format of the protocol's older versions.
                document["topic"] = json!(&**text);
                format!("{list}/{topic}/{name}")
            } else {
                document["match_type"] = json!(kind.name());
                document["match"] = json!(&**text);
                format!("{list}/{}/{topic}/{name}", kind.name())
            };
            document["id"] = json!(path);
            let payload = access.and_then(|access| access.payload(text, &self.hub));
            if let Some(payload) = payload {
                document["payload"] = payload.clone();
            }
            self.active.insert(path.clone(), document);
            paths.push(path);
        }
        let joined = paths.iter().filter_map(|path| self.active.get(path));
        let changes = joined.map(|document| PresenceChange::new(document.clone(), true));
        let changes = changes.collect();
        let of_subscriber = Subscriber { paths, bytes };
        self.subscribers.insert(subscriber.clone(), of_subscriber);
        Ok((subscriber, changes))
    }

    /// What the subscriptions of a subscriber would take, in bytes, about: three times the path, in which
    /// the matcher is percent-encoded, and the document.
    fn cost(&self, matchers: &[MatcherText], access: Option<&Access>) -> usize {
        let cost = |MatcherText { text, .. }: &MatcherText| {
            let encoded: usize = utf8_percent_encode(text, ENCODED).map(str::len).sum();
            let payload = access.and_then(|access| access.payload(text, &self.hub));
            let payload = payload.map_or(0, |payload| payload.to_string().len());
            SUBSCRIPTION_BYTES + 3 * encoded + text.len() + payload
        };
        matchers.iter().map(cost).sum()
    }

    /// Removes a subscriber, and returns what is to be told.
    pub(crate) fn leave(&mut self, subscriber: &str) -> Vec<PresenceChange> {
        let Subscriber { paths, bytes } = self.subscribers.remove(subscriber).unwrap_or_default();
        self.bytes -= bytes;
        let gone = paths.iter().filter_map(|path| self.active.remove(path));
        gone.map(|document| PresenceChange::new(document, false))
            .collect()
    }

    /// The document at a path: a subscription, or a list of those below it. `None`: neither. In
    /// `legacy` there are lists of the subscriptions to a topic, too.
    pub(crate) fn at(&self, path: &str, legacy: bool) -> Option<Value> {
        if let Some(document) = self.active.get(path) {
            return Some(document.clone());
        }
        let below = path
            .strip_prefix(self.hub.path())?
            .strip_prefix(SUBSCRIPTIONS_PATH)?;
        let parts: Vec<_> = below.split('/').skip(1).collect();
        let is_of_topic = match *parts {
            [] => false,
            [kind, _] => {
                MatcherType::named(kind)?;
                false
            }
            [_] if legacy => true,
            _ => return None,
        };
        let prefix = format!("{path}/");
        let listed = self.active.range(prefix.clone()..);
        let listed = listed.take_while(|(path, _)| path.starts_with(&prefix));
        let mut listed = listed
            .map(|(_, document)| document)
            // A topic may be called `exact`, and other paths begin with `/subscriptions/exact/`: keep only
            // documents that have a `topic`.
            .filter(|document| !is_of_topic || document.get("topic").is_some());
        let first: Vec<_> = listed.by_ref().take(MOST_LISTED).collect();
        let mut list = json!({ "id": path, "type": "subscriptions", "subscriptions": first });
        if listed.next().is_some() {
            list["truncated"] = Value::Bool(true);
        }
        Some(list)
    }
}

/// A path as subscriptions are told of at it: each part of what was asked for may be percent-encoded in
/// other ways. `None`: there is none below the hub's list, or it is not UTF-8.
pub(crate) fn told_path(asked: &str, hub: &HubUrl) -> Option<String> {
    let below = asked
        .strip_prefix(hub.path())?
        .strip_prefix(SUBSCRIPTIONS_PATH)?;
    let parts = below.split('/').map(|part| {
        let decoded = percent_decode_str(part).decode_utf8().ok()?;
        Some(utf8_percent_encode(&decoded, ENCODED).to_string())
    });
    let parts = parts.collect::<Option<Vec<_>>>()?;
    Some(format!(
        "{}{SUBSCRIPTIONS_PATH}{}",
        hub.path(),
        parts.join("/")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence() -> Presence {
        let hub = HubUrl::parse("https://example.com/.well-known/mercure").unwrap();
        Presence::new(hub, usize::MAX)
    }

    fn pattern(text: &str) -> MatcherText {
        MatcherText::parse(MatcherType::UrlPattern, text, 100).unwrap()
    }

    #[test]
    fn subscriptions_are_told_of_and_listed_until_they_end() {
        let mut presence = presence();
        let matchers = [pattern("https://example.com/:selector"), pattern("a b")];

        let (subscriber, changes) = presence.join(&matchers, None).unwrap();
        let (other, _) = presence.join(&matchers[..1], None).unwrap();

        let list = "/.well-known/mercure/subscriptions";
        let encoded = subscriber.replace(':', "%3A");
        let of_pattern = format!("{list}/urlpattern/https%3A%2F%2Fexample.com%2F%3Aselector");
        let path = format!("{of_pattern}/{encoded}");
        assert_eq!(changes.len(), 2);
        let event = &changes[0].event;
        let document: Value = serde_json::from_str(event.data()).unwrap();
        assert_eq!(
            document,
            json!({
                "id": path,
                "type": "subscription",
                "match_type": "urlpattern",
                "match": "https://example.com/:selector",
                "subscriber": subscriber,
                "active": true,
            })
        );
        assert_eq!(event.name().unwrap().as_str(), "mercure");
        let audience = event.audience.as_ref().unwrap();
        assert!(audience.private && audience.topics[0].as_str() == path);
        assert!(changes[0].path() == path && changes[0].is_active());
        assert_eq!(presence.at(&path, false), Some(document));
        let count = |presence: &Presence, path: &str| {
            presence.at(path, false).unwrap()["subscriptions"]
                .as_array()
                .unwrap()
                .len()
        };
        assert_eq!(count(&presence, list), 3);
        assert_eq!(count(&presence, &of_pattern), 2);
        assert_eq!(count(&presence, &format!("{list}/urlpattern/a%20b")), 1);
        assert_eq!(count(&presence, &format!("{list}/exact/a%20b")), 0);
        let documents = presence.active.values().cloned().collect();
        let same = Presence::of(presence.hub.clone(), documents);
        assert_eq!(same.at(list, false), presence.at(list, false));
        assert_eq!(presence.at(&format!("{list}/urlpattern"), false), None);
        assert_eq!(presence.at(&format!("{list}/regex/a%20b"), false), None);
        assert_eq!(presence.at(&format!("{path}x"), false), None);

        let changes = presence.leave(&subscriber);
        assert_eq!(changes.len(), 2);
        assert!(changes[0].event.data().contains("\"active\":false"));
        assert!(changes[0].path() == path && !changes[0].is_active());
        assert_eq!(presence.leave(&subscriber).len(), 0);
        assert_eq!(presence.at(&path, false), None);
        assert_eq!(count(&presence, list), 1);
        presence.leave(&other);
        assert!(presence.active.is_empty() && presence.subscribers.is_empty());
    }

    #[test]
    fn a_list_that_leaves_something_out_says_so() {
        let mut presence = presence();
        let list = "/.well-known/mercure/subscriptions";
        for _ in 0..MOST_LISTED {
            presence.join(&[pattern("a")], None).unwrap();
        }

        let all = presence.at(list, false).unwrap();
        presence.join(&[pattern("a")], None).unwrap();
        let not_all = presence.at(list, false).unwrap();

        assert_eq!(all.get("truncated"), None);
        assert_eq!(not_all["truncated"], true);
        let length = |list: &Value| list["subscriptions"].as_array().unwrap().len();
        assert_eq!([length(&all), length(&not_all)], [MOST_LISTED; 2]);
    }

    #[test]
    fn subscriptions_are_refused_beyond_their_budget_until_others_end() {
        let budget = 100_000;
        let mut presence = Presence {
            budget,
            ..presence()
        };
        let long = format!("/{}", "\u{e9}".repeat(30));
        let many: Vec<_> = (0..10).map(|n| pattern(&format!("{long}{n}"))).collect();
        let joined: Vec<_> = std::iter::from_fn(|| presence.join(&many, None).ok()).collect();

        assert!((2..20).contains(&joined.len()), "{}", joined.len());
        assert!(presence.bytes <= budget);
        assert_eq!(presence.join(&many, None).err(), Some(Crowded));
        // A few are free.
        let (few, _) = presence.join(&[pattern("a")], None).unwrap();
        presence.leave(&joined[0].0);
        let (again, _) = presence.join(&many, None).unwrap();
        for (subscriber, _) in &joined[1..] {
            presence.leave(subscriber);
        }
        presence.leave(&again);
        presence.leave(&few);
        assert_eq!(presence.bytes, 0);
    }
}
