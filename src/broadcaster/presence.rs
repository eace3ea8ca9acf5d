//! Lists the active subscriptions, and creates the presence event for each change (Mercure, chapter Active
//! Subscriptions). It does no I/O.

use std::collections::{BTreeMap, HashMap};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    auth::Access,
    event::{PresenceChange, urn},
    matching::{HubUrl, MatcherText, MatcherType, SUBSCRIPTIONS_PATH},
};

/// The characters that are percent-encoded in a path segment: all but the unreserved ones (RFC 6570, section
/// 3.2.2).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Maximum number of subscriptions in one list, and (`MAX_LIST_BYTES`) maximum size of their JSON documents
/// in bytes. A list that would exceed either limit omits the remaining subscriptions and contains
/// `"truncated":true`.
const MAX_LISTED: usize = 10_000;
const MAX_LIST_BYTES: usize = 4 << 20;

/// Active subscriptions, and the subscribers that have them: those of this server or, if created with
/// [`Presence::of`], those of all servers without their subscribers.
#[derive(Debug)]
pub(crate) struct Presence {
    hub: HubUrl,
    /// The JSON document of each active subscription, by its path. The path is also the topic of the presence
    /// events. The documents are stored as text, because a parsed one may need about fifty times as much
    /// memory.
    active: BTreeMap<String, Box<str>>,
    subscribers: HashMap<String, Subscriber>,
    /// Approximate memory of all subscriptions, in bytes. Does not include the first [`FREE_BYTES`] of each
    /// subscriber. Never exceeds `budget`.
    bytes: usize,
    budget: usize,
}

/// The active subscriptions of one subscriber.
#[derive(Debug, Default)]
struct Subscriber {
    paths: Vec<String>,
    /// Bytes of the memory budget that the subscriptions of this subscriber use.
    bytes: usize,
}

/// Error: the memory budget for active subscriptions is exhausted, so the subscriber is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowded;

/// Approximate memory of an active subscription for JSON values and map entries, in bytes. Its texts (path,
/// matcher and payload) are counted separately.
const SUBSCRIPTION_BYTES: usize = 1024;

/// How many bytes of each subscriber's subscriptions are free, which means that they do not count against the
/// memory budget. This is enough for a few subscriptions.
const FREE_BYTES: usize = 4096;

impl Presence {
    /// `budget`: memory limit for the active subscriptions of all subscribers, in bytes.
    pub(crate) fn new(hub: HubUrl, budget: usize) -> Self {
        Self {
            hub,
            active: BTreeMap::new(),
            subscribers: HashMap::new(),
            bytes: 0,
            budget,
        }
    }

    /// Creates a list of these subscriptions, each given as its path and its JSON document. The list is only
    /// for lookups with [`Self::at`], because it does not know the subscribers.
    pub(crate) fn of(hub: HubUrl, documents: Vec<(String, String)>) -> Self {
        let documents = documents.into_iter();
        Self {
            active: documents.map(|(path, text)| (path, text.into())).collect(),
            ..Self::new(hub, 0)
        }
    }

    pub(crate) fn hub(&self) -> &HubUrl {
        &self.hub
    }

    /// Adds a subscriber and its subscriptions. Returns the new subscriber's name, which [`Self::leave`]
    /// needs, and the presence events to publish. Fails if the memory budget would be exceeded.
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
        let mut changes = Vec::new();
        for MatcherText { kind, text } in matchers {
            let encode = |text| utf8_percent_encode(text, ENCODED);
            let (topic, name) = (encode(text), encode(&subscriber));
            let mut document = json!({
                "type": "subscription",
                "subscriber": subscriber,
                "active": true,
            });
            let path = if *kind == MatcherType::Selector {
                // Only older protocol versions have matchers of this type. Their documents and paths have
                // another format.
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
                document["payload"] = serde_json::from_str(payload).unwrap_or_default();
            }
            let change = PresenceChange::new(document, true);
            self.active.insert(path.clone(), change.document().into());
            changes.push(change);
            paths.push(path);
        }
        let of_subscriber = Subscriber { paths, bytes };
        self.subscribers.insert(subscriber.clone(), of_subscriber);
        Ok((subscriber, changes))
    }

    /// Approximate memory that the subscriptions of a subscriber would use, in bytes. The percent-encoded
    /// matcher is part of the path, so it counts three times: the path is stored in both maps and in the
    /// document.
    fn cost(&self, matchers: &[MatcherText], access: Option<&Access>) -> usize {
        let cost = |MatcherText { text, .. }: &MatcherText| {
            let encoded: usize = utf8_percent_encode(text, ENCODED).map(str::len).sum();
            let payload = access.and_then(|access| access.payload(text, &self.hub));
            let payload = payload.map_or(0, str::len);
            SUBSCRIPTION_BYTES + 3 * encoded + text.len() + payload
        };
        matchers.iter().map(cost).sum()
    }

    /// Removes a subscriber by its name. Returns the presence events to publish, one for each of its
    /// subscriptions.
    pub(crate) fn leave(&mut self, subscriber: &str) -> Vec<PresenceChange> {
        let Subscriber { paths, bytes } = self.subscribers.remove(subscriber).unwrap_or_default();
        self.bytes -= bytes;
        let gone = paths.iter().filter_map(|path| self.active.remove(path));
        gone.filter_map(|document| PresenceChange::of_text(&document, false))
            .collect()
    }

    /// The JSON document at a path: one subscription, the list of all subscriptions, or the list of those
    /// with one matcher. With `legacy`, also the list of those with one topic, as in older protocol versions.
    /// `None`: the path is none of these, or it is that of a subscription that is not active.
    pub(crate) fn at(&self, path: &str, legacy: bool) -> Option<String> {
        if let Some(document) = self.active.get(path) {
            return Some(document.to_string());
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
        let below = self.active.range(prefix.clone()..);
        let below =
            below.map_while(|(path, document)| Some((path.strip_prefix(&prefix)?, document)));
        // The list of one topic has the paths `<topic>/<subscriber>`. If the topic is also the name of a
        // matcher type (`exact`, `urlpattern`), the prefix also covers `<type>/<matcher>/<subscriber>`. Skip
        // these.
        let listed = below.filter(|(rest, _)| !is_of_topic || !rest.contains('/'));
        Some(list(path, listed.map(|(_, document)| &**document)))
    }
}

/// Encodes a list of subscriptions as JSON. If the list exceeds [`MAX_LISTED`] or [`MAX_LIST_BYTES`], it is
/// truncated and contains `"truncated":true`.
fn list<'a>(path: &str, documents: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    let mut is_truncated = false;
    for (count, document) in documents.enumerate() {
        if count == MAX_LISTED || text.len() + document.len() > MAX_LIST_BYTES {
            is_truncated = true;
            break;
        }
        if count > 0 {
            text.push(',');
        }
        text.push_str(document);
    }
    let id = Value::from(path);
    let truncated = if is_truncated {
        ",\"truncated\":true"
    } else {
        ""
    };
    format!("{{\"id\":{id},\"subscriptions\":[{text}]{truncated},\"type\":\"subscriptions\"}}")
}

/// Converts a requested path to the form in which the paths of subscriptions are stored. Clients may
/// percent-encode the same segment in different ways, so each segment is decoded and encoded again. `None`:
/// the path is not below the hub's list of subscriptions, or a segment is not UTF-8.
pub(crate) fn canonical_path(asked: &str, hub: &HubUrl) -> Option<String> {
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

    /// The parsed document at a path.
    fn at(presence: &Presence, path: &str) -> Value {
        serde_json::from_str(&presence.at(path, false).unwrap()).unwrap()
    }

    fn presence() -> Presence {
        let hub = HubUrl::parse("https://example.com/.well-known/mercure").unwrap();
        Presence::new(hub, usize::MAX)
    }

    fn pattern(text: &str) -> MatcherText {
        MatcherText::parse(MatcherType::UrlPattern, text, 100).unwrap()
    }

    #[test]
    fn subscriptions_are_announced_and_listed_until_they_end() {
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
        assert_eq!(at(&presence, &path), document);
        let count = |presence: &Presence, path: &str| {
            at(presence, path)["subscriptions"]
                .as_array()
                .unwrap()
                .len()
        };
        assert_eq!(count(&presence, list), 3);
        assert_eq!(count(&presence, &of_pattern), 2);
        assert_eq!(count(&presence, &format!("{list}/urlpattern/a%20b")), 1);
        assert_eq!(count(&presence, &format!("{list}/exact/a%20b")), 0);
        let documents = presence.active.iter();
        let documents = documents.map(|(path, text)| (path.clone(), text.to_string()));
        let documents = documents.collect();
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
    fn a_list_with_too_many_subscriptions_is_truncated_and_says_so() {
        let mut presence = presence();
        let list = "/.well-known/mercure/subscriptions";
        for _ in 0..MAX_LISTED {
            presence.join(&[pattern("a")], None).unwrap();
        }

        let all = at(&presence, list);
        presence.join(&[pattern("a")], None).unwrap();
        let not_all = at(&presence, list);

        assert_eq!(all.get("truncated"), None);
        assert_eq!(not_all["truncated"], true);
        let length = |list: &Value| list["subscriptions"].as_array().unwrap().len();
        assert_eq!([length(&all), length(&not_all)], [MAX_LISTED; 2]);
    }

    #[test]
    fn a_list_is_truncated_at_its_maximum_size_in_bytes() {
        let document = format!("{{\"id\":\"{}\"}}", "x".repeat(100_000));
        let text = list("/a\"b", std::iter::repeat_n(&*document, 100));

        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&list["id"], &list["truncated"]),
            (&json!("/a\"b"), &json!(true))
        );
        assert_eq!(list["subscriptions"].as_array().unwrap().len(), 41);
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
        // A subscriber with few subscriptions uses only free bytes, so it is accepted although the budget is
        // exhausted.
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
