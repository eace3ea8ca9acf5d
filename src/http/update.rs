//! Parses an update, the form or JSON that a publisher sends, into an event (Mercure, chapter Publication).

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    config::LimitsConfig,
    event::{
        Audience, Event, EventName, GivenId, InvalidEventName, InvalidGivenId, InvalidTopic, Topic,
        wire,
    },
    transport::form::{self, NotUtf8},
};

/// Why a form or JSON is not a valid update.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum InvalidUpdate {
    #[error("The form: {0}.")]
    Form(#[from] NotUtf8),
    #[error("An update must have at least one field `topic`.")]
    NoTopic,
    #[error("The field `topic`: {0}.")]
    Topic(#[from] InvalidTopic),
    #[error("The field `id`: {0}.")]
    Id(#[from] InvalidGivenId),
    #[error("The field `type`: {0}.")]
    Type(#[from] InvalidEventName),
    #[error("The field `retry` must consist of the digits 0 to 9.")]
    Retry,
    #[error("The field `{0}` must not occur more than once.")]
    Twice(&'static str),
    #[error("A field is longer than {0} bytes (limits.field).")]
    FieldTooLong(usize),
    #[error(
        "The field `data` is longer than {0} bytes (limits.field), with each of its line breaks counted as 7."
    )]
    DataTooLong(usize),
    #[error("There are more than {0} topics (limits.topics).")]
    TooManyTopics(usize),
    /// Contains what the JSON parser says.
    #[error("The JSON: {0}.")]
    Json(String),
    #[error("An idempotency key consists of 1 to 255 printable ASCII characters.")]
    Key,
}

impl InvalidUpdate {
    /// Whether the update is refused because it exceeds a size limit. The status is then 413 instead of 400.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::FieldTooLong(_)
                | Self::DataTooLong(_)
                | Self::TooManyTopics(_)
                | Self::Topic(InvalidTopic::TooLong)
                | Self::Id(InvalidGivenId::TooLong)
                | Self::Type(InvalidEventName::TooLong)
        )
    }
}

/// Maximum length of an idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Maximum length of what an error says about JSON, in bytes. It can contain text of the update.
const MAX_REASON_BYTES: usize = 200;

/// A parsed update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) event: Event,
    /// The member `idempotency_key`. A form has none: its key is in a header.
    pub(crate) key: Option<String>,
}

/// The fields of an update before they are validated. An empty `id` or `type` counts as missing, because
/// browsers send empty fields of a form that was not filled in.
#[derive(Debug, Default)]
struct Fields {
    topics: Vec<Topic>,
    data: String,
    id: Option<String>,
    kind: Option<String>,
    retry: Option<u64>,
    private: bool,
}

impl Fields {
    fn add_topic(&mut self, topic: &str, limits: &LimitsConfig) -> Result<(), InvalidUpdate> {
        if self.topics.len() == limits.topics {
            return Err(InvalidUpdate::TooManyTopics(limits.topics));
        }
        self.topics.push(Topic::parse(topic)?);
        Ok(())
    }

    fn event(self, limits: &LimitsConfig) -> Result<Event, InvalidUpdate> {
        let Self {
            topics,
            data,
            id,
            kind,
            retry,
            private,
        } = self;
        if topics.is_empty() {
            return Err(InvalidUpdate::NoTopic);
        }
        if wire::data_bytes(&data) > limits.field {
            return Err(InvalidUpdate::DataTooLong(limits.field));
        }
        let given = |field: Option<String>| field.filter(|value| !value.is_empty());
        let mut event = Event::message(data);
        event.audience = Some(Audience { topics, private });
        if let Some(id) = given(id) {
            event = event.with_id(GivenId::parse(&id)?);
        }
        if let Some(kind) = given(kind) {
            event = event.named(EventName::parse(kind)?);
        }
        Ok(match retry {
            Some(retry) => event.with_retry(retry),
            None => event,
        })
    }
}

/// Parses a form. Fields with unknown names are ignored, but they fail if they are too long or not UTF-8. An
/// empty `retry` counts as missing.
pub(crate) fn parse_form(form: &[u8], limits: &LimitsConfig) -> Result<Update, InvalidUpdate> {
    let mut fields = Fields::default();
    let [mut data, mut id, mut kind, mut retry] = [const { None }; 4];
    for (name, value) in form::pairs(form) {
        if value.len() > limits.field {
            return Err(InvalidUpdate::FieldTooLong(limits.field));
        }
        let (name, value) = (form::text(name)?, form::text(value)?);
        let (field, slot) = match name.as_str() {
            "topic" => {
                fields.add_topic(&value, limits)?;
                continue;
            }
            "private" => {
                fields.private = true;
                continue;
            }
            "data" => ("data", &mut data),
            "id" => ("id", &mut id),
            "type" => ("type", &mut kind),
            "retry" => ("retry", &mut retry),
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(InvalidUpdate::Twice(field));
        }
    }
    fields.data = data.unwrap_or_default();
    (fields.id, fields.kind) = (id, kind);
    if let Some(retry) = retry.filter(|retry| !retry.is_empty()) {
        if !retry.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidUpdate::Retry);
        }
        // A number beyond `u64` becomes `u64::MAX`. In practice, a client cannot tell the difference.
        fields.retry = Some(retry.parse().unwrap_or(u64::MAX));
    }
    Ok(Update {
        event: fields.event(limits)?,
        key: None,
    })
}

/// An update as a JSON object. Other members are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct JsonUpdate<'a> {
    topic: Topics,
    /// Any JSON value. Absent: an empty text.
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    retry: Option<u64>,
    private: Option<bool>,
    idempotency_key: Option<String>,
}

/// One topic, or a list of topics.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "topic is a text, or a list of texts")]
enum Topics {
    One(String),
    Many(Vec<String>),
}

/// Reads a value that is there, even `null`, which `Option` alone takes for a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Parses a JSON object.
pub(crate) fn parse_json(json: &[u8], limits: &LimitsConfig) -> Result<Update, InvalidUpdate> {
    // A list would be accepted as the values of the members.
    if json
        .trim_ascii_start()
        .first()
        .is_some_and(|byte| *byte != b'{')
    {
        return Err(InvalidUpdate::Json("an update is an object".to_owned()));
    }
    let update: JsonUpdate<'_> = serde_json::from_slice(json).map_err(|err| not_json(&err))?;
    let mut fields = Fields {
        data: update.data.map(data_of).transpose()?.unwrap_or_default(),
        id: update.id,
        kind: update.kind,
        retry: update.retry,
        private: update.private.unwrap_or_default(),
        ..Fields::default()
    };
    match update.topic {
        Topics::One(topic) => fields.add_topic(&topic, limits)?,
        Topics::Many(topics) => topics
            .iter()
            .try_for_each(|topic| fields.add_topic(topic, limits))?,
    }
    let key = update.idempotency_key.map(|key| parse_key(&key));
    Ok(Update {
        event: fields.event(limits)?,
        key: key.transpose()?,
    })
}

/// Validates an idempotency key.
pub(crate) fn parse_key(key: &str) -> Result<String, InvalidUpdate> {
    let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(is_printable) {
        return Err(InvalidUpdate::Key);
    }
    Ok(key.to_owned())
}

/// The data of an event: the text if the value is a text, and otherwise the value as JSON without whitespace.
fn data_of(value: &RawValue) -> Result<String, InvalidUpdate> {
    let json = value.get();
    if json.starts_with('"') {
        return serde_json::from_str(json).map_err(|err| not_json(&err));
    }
    Ok(compact(json))
}

/// Removes the whitespace between the tokens of valid JSON. Numbers and texts stay as they are written.
fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut is_escaped = false;
    let keeps = |c: &char| {
        if in_text {
            in_text = is_escaped || *c != '"';
            is_escaped = !is_escaped && *c == '\\';
            return true;
        }
        in_text = *c == '"';
        !c.is_ascii_whitespace()
    };
    json.chars().filter(keeps).collect()
}

fn not_json(err: &serde_json::Error) -> InvalidUpdate {
    let mut reason = err.to_string();
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    InvalidUpdate::Json(reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::to_uri;

    /// Fields that may occur only once.
    const FIELDS: [&str; 3] = ["data", "id", "type"];

    proptest! {
        #[test]
        fn an_update_is_what_its_form_says(
            topics in prop::collection::vec("[a-z/:{}% é😀]{1,20}", 1..5),
            data in "\\PC{0,40}",
            id in prop::option::of("[a-z0-9:/é]{1,30}"),
            kind in prop::option::of("[a-z]{4}[0-9]"),
            retry in prop::option::of(any::<u64>()),
            private: bool,
            others in prop::collection::vec(("[A-Z]{1,5}", "\\PC{0,9}"), 0..4),
        ) {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(topics.iter().map(|topic| ("topic", topic)));
            form.extend_pairs(&others);
            form.append_pair("data", &data);
            form.extend_pairs(id.iter().map(|id| ("id", id)));
            form.extend_pairs(kind.iter().map(|kind| ("type", kind)));
            form.extend_pairs(retry.iter().map(|retry| ("retry", retry.to_string())));
            if private {
                form.append_key_only("private");
            }

            let event = parse_form(form.finish().as_bytes(), &LimitsConfig::default());
            let event = event.unwrap().event;

            let read: Vec<_> = event.topics().iter().map(Topic::as_str).collect();
            prop_assert_eq!(read, topics);
            prop_assert_eq!(event.data(), data);
            let given_id = id.as_deref().map(to_uri);
            prop_assert_eq!(event.given_id().map(GivenId::as_str), given_id.as_deref());
            prop_assert_eq!(event.name().map(EventName::as_str), kind.as_deref());
            prop_assert_eq!(event.retry(), retry);
            prop_assert_eq!(event.audience.unwrap().private, private);
        }

        #[test]
        fn any_fields_are_read_or_refused(
            fields in prop::collection::vec(
                (prop::sample::select(&FIELDS[..]), "(?s:.{0,20})"), 0..6,
            ),
        ) {
            let mut form = form_urlencoded::Serializer::new("topic=a".to_owned());
            form.extend_pairs(fields.iter());
            let names = fields.iter().map(|(name, _)| name);
            let is_twice = FIELDS.iter().any(|field| names.clone().filter(|it| *it == field).count() > 1);

            let read = parse_form(form.finish().as_bytes(), &LimitsConfig::default());

            if is_twice {
                prop_assert!(read.is_err());
            }
            if let Ok(Update { event, .. }) = read {
                let data = fields.iter().find(|(name, _)| *name == "data");
                prop_assert_eq!(event.data(), data.map_or("", |(_, data)| data));
            }
        }
    }
}
