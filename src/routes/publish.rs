//! `POST` to the hub: publishing (Mercure, chapter Publication).

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};

use super::{
    credentials::access_to_change,
    form,
    problem::{Challenge, Problem},
};
use crate::{
    event::{EventId, Naming},
    hub::{Hub, PublishError},
    policy::Policy,
    update,
};

/// Answers with the event's id once it is in the log.
pub(super) async fn publish(
    request: HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    let access = access_to_change(&request, &hub, &policy)?;
    let form = form::read(&request, payload, policy.limits.body, Problem::BodyTooLong).await?;
    let event = update::parse(&form, &policy.limits).map_err(Problem::InvalidUpdate)?;
    let topics = event.topics();
    if let Some(topic) = topics
        .iter()
        .find(|topic| hub.url().reserves(topic.as_str()))
    {
        log::debug!("refused an update on the hub's own {topic}");
        return Err(Problem::ReservedTopic);
    }
    let may_publish = |topic| access.may_publish(topic, hub.url());
    if !topics.iter().all(may_publish) {
        return Err(Challenge::InsufficientScope.to(&hub));
    }
    if event
        .given_id()
        .is_some_and(|id| hub.is_own_id(id.as_str()))
    {
        return Err(Problem::HubsId);
    }
    let naming = event.naming.clone();
    let id = hub.publish_now(event).await.map_err(|err| match err {
        PublishError::Busy => Problem::Busy,
        PublishError::Draining => Problem::Draining,
        PublishError::Unavailable(_) => Problem::LogUnavailable,
        PublishError::Gone(_) => Problem::BroadcasterSilent,
    })?;
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .body(written(&naming, id)))
}

/// The id as subscribers get it.
fn written(naming: &Naming, id: EventId) -> String {
    match naming {
        Naming::Plain => id.to_string(),
        Naming::Fragment => format!("#{id}"),
        Naming::Given(given) => given.as_str().to_owned(),
    }
}
