//! A subscription that begins or ends: what the hub publishes about it, and what the log stores of it.

use serde_json::Value;

use super::{
    event::{Audience, Event},
    topic::Topic,
};

/// A subscription that begins, or ends.
#[derive(Debug)]
pub(crate) struct PresenceChange {
    /// As it is now told of: whether it is active, too.
    pub(crate) document: Value,
    /// What is to be published.
    pub(crate) event: Event,
}

impl PresenceChange {
    pub(crate) fn new(mut document: Value, active: bool) -> Self {
        document["active"] = Value::Bool(active);
        let event = told(&document);
        Self { document, event }
    }

    /// The subscription's path, which is also the topic on which it is told of.
    pub(crate) fn path(&self) -> &str {
        self.document["id"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_active(&self) -> bool {
        self.document["active"] == Value::Bool(true)
    }
}

/// What is published of a subscription: private, and by the hub alone.
fn told(document: &Value) -> Event {
    let path = document["id"].as_str().unwrap_or_default();
    let mut event = Event::of_hub(document.to_string());
    event.audience = Some(Audience {
        topics: vec![Topic::of_hub(path)],
        private: true,
    });
    event
}
