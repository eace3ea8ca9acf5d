//! Hashes that tell whether two updates have the same content, so that a publisher can repeat a request
//! safely.

use aws_lc_rs::digest::{Context, SHA256};

use super::event::Event;

/// The first 16 bytes of a SHA-256 hash. Two different inputs never have the same hash in practice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Hash128(pub(crate) [u8; 16]);

/// Hashes texts. Each is preceded by its length, so that `ab` and `c` differ from `a` and `bc`.
struct Hasher(Context);

impl Hasher {
    /// `purpose` separates hashes of different things from each other.
    fn new(purpose: &str) -> Self {
        let mut hasher = Self(Context::new(&SHA256));
        hasher.text(purpose);
        hasher
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.update(&[u8::from(text.is_some())]);
        self.text(text.unwrap_or_default());
    }

    fn finish(self) -> Hash128 {
        let digest = self.0.finish();
        let (hash, _) = digest
            .as_ref()
            .split_first_chunk()
            .expect("a SHA-256 hash has 32 bytes");
        Hash128(*hash)
    }
}

/// The content of an update: topics, data, type and whether it is private. The order of the topics does not
/// matter.
pub(crate) fn content_hash(event: &Event) -> Hash128 {
    let mut hasher = Hasher::new("content");
    let mut topics: Vec<_> = event.topics().iter().map(|topic| topic.as_str()).collect();
    topics.sort_unstable();
    topics.dedup();
    let is_private = event
        .audience
        .as_ref()
        .is_some_and(|audience| audience.private);
    hasher.text(&topics.len().to_string());
    for topic in topics {
        hasher.text(topic);
    }
    hasher.text(event.data());
    hasher.optional(event.name().map(|name| name.as_str()));
    hasher.text(if is_private { "private" } else { "public" });
    hasher.finish()
}

/// Identifies a publisher by the issuer and the subject of its token.
pub(crate) fn publisher_hash(issuer: &str, subject: Option<&str>) -> Hash128 {
    let mut hasher = Hasher::new("publisher");
    hasher.text(issuer);
    hasher.optional(subject);
    hasher.finish()
}

/// An idempotency key of a publisher, and the content of the update that it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyedUpdate {
    /// A hash of the key and its scope.
    pub(crate) key: Hash128,
    /// A hash of the update, including the id that the publisher chose.
    pub(crate) update: Hash128,
}

impl KeyedUpdate {
    /// `publisher` is the [scope](publisher_hash) of the key: the same key of another publisher is another
    /// key.
    pub(crate) fn new(publisher: Hash128, key: &str, event: &Event) -> Self {
        let mut scoped = Hasher::new("key");
        scoped.0.update(&publisher.0);
        scoped.text(key);
        let mut update = Hasher::new("update");
        update.0.update(&content_hash(event).0);
        update.optional(event.given_id().map(|id| id.as_str()));
        Self {
            key: scoped.finish(),
            update: update.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventName, GivenId, Topic};

    fn on(topics: &[&str], data: &str) -> Event {
        let topics = topics.iter().map(|topic| Topic::parse(topic).unwrap());
        topics.fold(Event::message(data), Event::on)
    }

    #[test]
    fn only_topics_data_type_and_privacy_are_content() {
        let event = on(&["a", "b"], "x");
        let hash = content_hash(&event);
        let mut private = event.clone();
        private.audience.as_mut().unwrap().private = true;

        let named = event.clone().named(EventName::parse("").unwrap());
        for other in [
            on(&["a"], "x"),
            on(&["ab"], "x"),
            on(&["a", "b"], "y"),
            private,
            named,
        ] {
            assert_ne!(content_hash(&other), hash, "{other:?}");
        }
        let given = event.clone().with_id(GivenId::parse("1").unwrap());
        for same in [on(&["b", "a", "a"], "x"), event.with_retry(1), given] {
            assert_eq!(content_hash(&same), hash, "{same:?}");
        }
    }

    #[test]
    fn a_key_has_the_scope_of_its_issuer_and_subject() {
        let event = on(&["a"], "x");
        let key = |issuer, subject, key| {
            KeyedUpdate::new(publisher_hash(issuer, subject), key, &event).key
        };

        let mut keys = vec![
            key("i", None, "k"),
            key("i", Some(""), "k"),
            key("i", Some("s"), "k"),
            key("i", Some("t"), "k"),
            key("j", Some("s"), "k"),
            key("is", None, "k"),
            key("i", Some("s"), "l"),
        ];
        assert_eq!(key("i", Some("s"), "k"), keys[2]);
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn the_id_that_a_publisher_chose_is_part_of_what_a_key_repeats() {
        let event = on(&["a"], "x");
        let given = event.clone().with_id(GivenId::parse("1").unwrap());
        let update = |event| KeyedUpdate::new(publisher_hash("i", None), "k", event).update;

        assert_ne!(update(&event), update(&given));
    }
}
