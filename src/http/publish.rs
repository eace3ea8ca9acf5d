//! Handles `POST` to the hub (Mercure, chapter Publication): publishes one update, a form or JSON, or passes
//! a body with many of them to [`bulk`]. A publisher can safely repeat an update that has an id or an
//! idempotency key.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header::{CONTENT_ENCODING, ContentType, HeaderMap, HeaderName, HeaderValue},
    web,
};
use serde_json::json;

use super::{
    body::{self, MediaType},
    bulk,
    credentials::access_to_change,
    policy::Policy,
    problem::{Challenge, Problem, refuse_websocket},
    update::{self, Update},
};
use crate::{
    auth::Access,
    broadcaster::Hub,
    event::{Event, KeyedUpdate, Topic},
};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Publishes an update, or many of them. For one update, responds, as soon as the event is in the log, with
/// the id that subscribers receive: the one that the publisher chose, or else the one that the log assigned.
pub(super) async fn publish(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    refuse_websocket(&request)?;
    let access = access_to_change(&request, &hub, &policy)?;
    if is_encoded(request.headers()) {
        return Err(Problem::ContentEncoding);
    }
    let kind = MediaType::of(&request);
    match kind {
        MediaType::Form | MediaType::Json => {}
        MediaType::Ndjson => {
            return bulk::publish(&request, payload, hub, policy, access).await;
        }
        MediaType::Other => return Err(Problem::NotAnUpdate),
    }
    let (updates, most) = (&policy.updates, policy.limits.body);
    let body = body::read(payload, updates, most, Problem::BodyTooLong).await?;
    let update = match kind {
        MediaType::Json => update::parse_json(&body.bytes, &policy.limits),
        _ => update::parse_form(&body.bytes, &policy.limits),
    };
    let Update { event, key } = update.map_err(Problem::InvalidUpdate)?;
    // From here on, the memory budget includes the event instead of the body, until this request ends.
    let _waiting = updates.reserve(event.bytes());
    drop(body);
    authorize(&access, &hub, &event)?;
    let key = key_of(request.headers(), key)?;
    let key = key.map(|key| KeyedUpdate::new(access.publisher, &key, &event));
    let given_id = event.given_id().cloned();
    let appended = hub.publish_now(event, key).await?;
    let id = given_id.map_or_else(
        || appended.id.to_string(),
        |given| given.as_str().to_owned(),
    );
    let mut response = HttpResponse::Ok();
    mark_replayed(&mut response, appended.is_replay);
    Ok(match kind {
        MediaType::Json => response.json(json!({ "id": id })),
        _ => response.content_type(ContentType::plaintext()).body(id),
    })
}

/// Whether the body is compressed or encoded otherwise.
fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING);
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Fails unless the token allows publishing on each topic of the event.
pub(super) fn authorize(access: &Access, hub: &Hub, event: &Event) -> Result<(), Problem> {
    let topics = event.topics();
    let reserved = |topic: &&Topic| hub.url().reserves(topic.as_str());
    if let Some(topic) = topics.iter().find(reserved) {
        log::debug!("refused an update on the hub's own {topic}");
        return Err(Problem::ReservedTopic);
    }
    let is_refused = |topic: &&Topic| !access.may_publish(topic, hub.url());
    let Some(topic) = topics.iter().find(is_refused) else {
        return Ok(());
    };
    if !access.can_publish() {
        return Err(may_not_publish(hub));
    }
    let reason = format!("it does not allow publishing on the topic {topic}");
    Err(Challenge::InsufficientScope.because(hub, Some(reason)))
}

/// The problem of a token that does not allow publishing on any topic.
pub(super) fn may_not_publish(hub: &Hub) -> Problem {
    let reason = "it has no authorization_details (with hub.legacy: no claim `mercure`) that allow publishing";
    Challenge::InsufficientScope.because(hub, Some(reason.to_owned()))
}

fn mark_replayed(response: &mut HttpResponseBuilder, is_replay: bool) {
    if is_replay {
        response.insert_header((IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")));
    }
}

/// The idempotency key of a request: from its header, or `of_update`, the one in its body. If both have one,
/// they must be equal. The value of the header may be quoted, as the IETF draft says, or not, as most clients
/// send it.
fn key_of(headers: &HeaderMap, of_update: Option<String>) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(of_update);
    };
    if values.next().is_some() {
        return Err(Problem::InvalidKey);
    }
    let value = value.to_str().map_err(|_| Problem::InvalidKey)?;
    let key = unquoted(value).ok_or(Problem::InvalidKey)?;
    let key = update::parse_key(&key).map_err(|_| Problem::InvalidKey)?;
    if of_update.is_some_and(|of_update| of_update != key) {
        return Err(Problem::InvalidKey);
    }
    Ok(Some(key))
}

/// The content of a quoted text (a String of RFC 9651), or the whole text if it is not quoted. `None` if the
/// quotation is malformed.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(text.to_owned());
    };
    let mut content = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(content),
            '\\' => content.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => content.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_quoted() {
        for (text, key) in [
            ("abc", Some("abc")),
            ("\"abc\"", Some("abc")),
            (r#""a\"b\\c""#, Some(r#"a"b\c"#)),
            ("a\"b", Some("a\"b")),
            ("\"\"", Some("")),
            ("\"abc", None),
            ("\"abc\"d", None),
            (r#""a\n""#, None),
        ] {
            assert_eq!(unquoted(text).as_deref(), key, "{text}");
        }
    }
}
