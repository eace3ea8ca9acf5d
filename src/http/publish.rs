//! Publishes an update: `POST` to the hub (Mercure, chapter Publication).

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};

use super::{
    credentials::access_to_change,
    form,
    policy::Policy,
    problem::{Challenge, Problem, refuse_websocket},
    update,
};
use crate::{
    broadcaster::{Hub, PublishError},
    event::Topic,
};

/// Publishes an event. Responds, as soon as the event is in the log, with the id that subscribers receive:
/// the one that the publisher chose, or else the one that the log assigned.
pub(super) async fn publish(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    refuse_websocket(&request)?;
    let access = access_to_change(&request, &hub, &policy)?;
    let (updates, most) = (&policy.updates, policy.limits.body);
    let form = form::read(&request, payload, updates, most, Problem::BodyTooLong).await?;
    let event = update::parse(&form.bytes, &policy.limits).map_err(Problem::InvalidUpdate)?;
    // From here on, the memory budget includes the event instead of the body, until this request ends.
    let _waiting = updates.reserve(event.bytes());
    drop(form);
    let topics = event.topics();
    if let Some(topic) = topics
        .iter()
        .find(|topic| hub.url().reserves(topic.as_str()))
    {
        log::debug!("refused an update on the hub's own {topic}");
        return Err(Problem::ReservedTopic);
    }
    let is_refused = |topic: &&Topic| !access.may_publish(topic, hub.url());
    if let Some(topic) = topics.iter().find(is_refused) {
        let reason = if access.can_publish() {
            format!("it does not allow publishing on the topic {topic}")
        } else {
            "it has no authorization_details (with hub.legacy: no claim `mercure`) that allow publishing"
                .to_owned()
        };
        return Err(Challenge::InsufficientScope.because(&hub, Some(reason)));
    }
    let given_id = event.given_id().cloned();
    let id = hub.publish_now(event).await.map_err(|err| match err {
        PublishError::Busy => Problem::Busy,
        PublishError::Draining => Problem::Draining,
        PublishError::Unavailable(_) => Problem::LogUnavailable,
        PublishError::Gone(_) => Problem::BroadcasterSilent,
    })?;
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(given_id.map_or_else(|| id.to_string(), |given| given.as_str().to_owned())))
}
