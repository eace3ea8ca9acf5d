//! The start or end of one active subscription: the presence event that reports it, and the JSON document
//! that describes the subscription.

use serde_json::Value;

use super::{
    event::{Audience, Event},
    topic::Topic,
};

/// The start or end of one active subscription. Each topic matcher of a connected subscriber is one
/// subscription.
#[derive(Debug)]
pub(crate) struct PresenceChange {
    is_active: bool,
    /// The presence event that reports this change. It is private, its topic is the path of the subscription,
    /// and its data is the subscription's JSON document.
    pub(crate) event: Event,
}

impl PresenceChange {
    /// Creates the change and its presence event. `document` describes the subscription: a JSON object whose
    /// member `id` is the path of the subscription. Its member `active` is set to `is_active`.
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

    /// Like [`Self::new`], with the document as JSON text. `None` if the text is not a JSON object.
    pub(crate) fn of_text(document: &str, is_active: bool) -> Option<Self> {
        let document: Value = serde_json::from_str(document).ok()?;
        document.is_object().then(|| Self::new(document, is_active))
    }

    /// The path of the subscription, which is also the topic of the presence event.
    pub(crate) fn path(&self) -> &str {
        self.event.topics().first().map_or("", Topic::as_str)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }

    /// The document of the subscription, as JSON text.
    pub(crate) fn document(&self) -> &str {
        self.event.data()
    }
}
