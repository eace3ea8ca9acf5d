//! A subscription that begins or ends: what the hub publishes about it, and what the log stores of it.

use serde_json::Value;

use super::{
    event::{Audience, Event},
    topic::Topic,
};

/// A subscription that begins or ends.
#[derive(Debug)]
pub(crate) struct PresenceChange {
    is_active: bool,
    /// What the hub publishes: private, on the subscription's path, with its document as data.
    pub(crate) event: Event,
}

impl PresenceChange {
    /// `document`: a JSON object whose `id` is the subscription's path. Its `active` is set.
    pub(crate) fn new(mut document: Value, is_active: bool) -> Self {
        document["active"] = Value::Bool(is_active);
        let path = document["id"].as_str().unwrap_or_default();
        let topics = vec![Topic::of_hub(path)];
        let mut event = Event::of_hub(document.to_string());
        event.audience = Some(Audience {
            topics,
            private: true,
        });
        Self { is_active, event }
    }

    /// The same for a document as text. `None`: it is not a JSON object.
    pub(crate) fn of_text(document: &str, is_active: bool) -> Option<Self> {
        let document: Value = serde_json::from_str(document).ok()?;
        document.is_object().then(|| Self::new(document, is_active))
    }

    /// The subscription's path, which is also the topic of the event.
    pub(crate) fn path(&self) -> &str {
        self.event.topics().first().map_or("", Topic::as_str)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    /// The subscription as JSON text.
    pub(crate) fn document(&self) -> &str {
        self.event.data()
    }
}
