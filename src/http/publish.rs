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
    idempotency_key::key_of,
    policy::Policy,
    problem::{Problem, refuse_websocket},
    publish_rights::authorize,
    update::{self, Update},
};
use crate::{broadcaster::Hub, event::KeyedUpdate};

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
    let access = access_to_change(&request, &hub, &policy).await?;
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
    // The body may have arrived slowly, and the token may have been revoked meanwhile.
    let access = access_to_change(&request, &hub, &policy).await?;
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

fn mark_replayed(response: &mut HttpResponseBuilder, is_replay: bool) {
    if is_replay {
        response.insert_header((IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")));
    }
}
