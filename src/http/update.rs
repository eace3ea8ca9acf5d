//! Parses an update, the form that a publisher sends, into an event (Mercure, chapter Publication).

use thiserror::Error;

use crate::{
    config::LimitsConfig,
    event::{
        Audience, Event, EventName, GivenId, InvalidEventName, InvalidGivenId, InvalidTopic, Topic,
        wire,
    },
    transport::form::{self, NotUtf8},
};

/// Why a form is not a valid update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
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
}

impl InvalidUpdate {
    /// Whether the update is refused because it exceeds a size limit. The status is then 413 instead of 400.
    pub(crate) fn is_too_large(self) -> bool {
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

/// Parses an update. Unknown fields are ignored, unless they are too long or not UTF-8. An empty `id`, `type`
/// or `retry` is treated as missing, because browsers also send the fields of a form that were not filled in.
pub(crate) fn parse(form: &[u8], limits: &LimitsConfig) -> Result<Event, InvalidUpdate> {
    let mut topics = Vec::new();
    let mut private = false;
    let [mut data, mut id, mut kind, mut retry] = [const { None }; 4];
    for (name, value) in form::pairs(form) {
        if value.len() > limits.field {
            return Err(InvalidUpdate::FieldTooLong(limits.field));
        }
        let (name, value) = (form::text(name)?, form::text(value)?);
        let (field, slot) = match name.as_str() {
            "topic" if topics.len() == limits.topics => {
                return Err(InvalidUpdate::TooManyTopics(limits.topics));
            }
            "topic" => {
                topics.push(Topic::parse(&value)?);
                continue;
            }
            "private" => {
                private = true;
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
    if topics.is_empty() {
        return Err(InvalidUpdate::NoTopic);
    }
    let given = |field: Option<String>| field.filter(|value| !value.is_empty());
    let data = data.unwrap_or_default();
    if wire::data_bytes(&data) > limits.field {
        return Err(InvalidUpdate::DataTooLong(limits.field));
    }
    let mut event = Event::message(data);
    event.audience = Some(Audience { topics, private });
    if let Some(id) = given(id) {
        event = event.with_id(GivenId::parse(&id)?);
    }
    if let Some(kind) = given(kind) {
        event = event.named(EventName::parse(kind)?);
    }
    if let Some(retry) = given(retry) {
        if !retry.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidUpdate::Retry);
        }
        // A number that does not fit into `u64` becomes `u64::MAX`. As delays in milliseconds, both are
        // practically endless.
        event = event.with_retry(retry.parse().unwrap_or(u64::MAX));
    }
    Ok(event)
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

            let event = parse(form.finish().as_bytes(), &LimitsConfig::default()).unwrap();

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

            let read = parse(form.finish().as_bytes(), &LimitsConfig::default());

            if is_twice {
                prop_assert!(read.is_err());
            }
            if let Ok(event) = read {
                let data = fields.iter().find(|(name, _)| *name == "data");
                prop_assert_eq!(event.data(), data.map_or("", |(_, data)| data));
            }
        }
    }
}
