//! The form in which a file or Redis stores an event.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::event::{Audience, Event, EventName, GivenId, OF_HUB, Topic};

/// An event as it is stored, without the id that the log assigned. Its fields were validated before it was
/// appended, so they are not validated when they are read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// When the event was appended, in milliseconds since 1970. 0 in Redis, which stores the time in another
    /// field of the entry.
    #[serde(default, skip_serializing_if = "is_zero")]
    at: u64,
    /// Topics of the event. Empty if the event was published without a topic. It then belongs to the log's
    /// own topic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    topics: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    private: bool,
    /// The id that the publisher chose for the event. `None`: the publisher chose none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde requires it")]
fn is_zero(at: &u64) -> bool {
    *at == 0
}

/// Converts a time to milliseconds since 1970, the unit of epochs and of stored times. 0 for earlier times.
pub(super) fn millis_since_1970(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Time since `at`, in milliseconds since 1970. Zero if that is in the future, because the clock was set back.
pub(super) fn age_of(at: u64, now: SystemTime) -> Duration {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at));
    let age = at.and_then(|at| now.duration_since(at).ok());
    age.unwrap_or_default()
}

impl Record {
    pub(super) fn of(event: &Event, at: SystemTime) -> Self {
        Self {
            at: millis_since_1970(at),
            ..Self::without_data(event).with_data(event.data().to_owned())
        }
    }

    /// Whether this is a presence event, which is about an active subscription. Only the server can use the
    /// name of these events, so the name is proof.
    pub(super) fn is_presence(&self) -> bool {
        self.name.as_deref() == Some(OF_HUB)
    }

    /// The record of an event without its data and time, because Redis stores them in separate fields.
    pub(super) fn without_data(event: &Event) -> Self {
        let topics = event.topics().iter();
        Self {
            at: 0,
            topics: topics.map(|topic| topic.as_str().to_owned()).collect(),
            private: event
                .audience
                .as_ref()
                .is_some_and(|audience| audience.private),
            id: event.given_id().map(|id| id.as_str().to_owned()),
            name: event.name().map(|name| name.as_str().to_owned()),
            data: String::new(),
            retry: event.retry(),
        }
    }

    pub(super) fn with_data(self, data: String) -> Self {
        Self { data, ..self }
    }

    /// When the event was appended, in milliseconds since 1970.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn event(self) -> Event {
        let mut event = Event::message(self.data);
        if !self.topics.is_empty() {
            event.audience = Some(Audience {
                topics: self.topics.iter().map(|text| Topic::of_hub(text)).collect(),
                private: self.private,
            });
        }
        if let Some(id) = self.id {
            event = event.with_id(GivenId::stored(&id));
        }
        if let Some(name) = self.name {
            event = event.named(EventName::stored(name));
        }
        match self.retry {
            Some(ms) => event.with_retry(ms),
            None => event,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_restored_as_it_was_stored() {
        let topic = |text| Topic::parse(text).unwrap();
        let mut private = Event::message("a\nb\0\u{2028}")
            .on(topic("a"))
            .on(topic("\"b\\"));
        private.audience.as_mut().unwrap().private = true;
        let given = GivenId::parse("urn:x:1").unwrap();

        for event in [
            Event::message("Message number: 1"),
            private,
            Event::message("x").with_id(given).with_retry(u64::MAX),
            Event::message("x").named(EventName::parse("added").unwrap()),
            Event::of_hub("{}".to_owned()),
        ] {
            let record = Record::of(&event, SystemTime::now());
            let text = serde_json::to_vec(&record).unwrap();
            let read: Record = serde_json::from_slice(&text).unwrap();
            assert_eq!(read.event(), event);
        }
    }

    #[test]
    fn an_event_from_the_future_has_age_zero() {
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);

        let age = |at| {
            let record = Record::of(&Event::message(""), at);
            age_of(record.at(), now)
        };
        assert_eq!(age(now + hour), Duration::ZERO);
        assert!(age(now - hour) >= hour && age(now - hour) < hour + Duration::from_secs(1));
    }
}
