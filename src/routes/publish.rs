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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::{
        App,
        http::header::RETRY_AFTER,
        rt::System,
        test::{TestRequest, call_service, init_service, read_body},
    };

    use super::*;
    use crate::{
        auth::{Grants, Signer},
        config::Config,
        hub::{HubSettings, MOST_WAITING},
        matcher::MatcherText,
    };

    #[test]
    fn while_too_much_waits_a_publisher_is_told_to_come_again_and_nothing_is_done() {
        System::new().block_on(async {
            let (hub, _gone) = Hub::start(HubSettings::default());
            let policy = Policy::new(&Config::default(), hub.url().clone());
            let (issuer, secret) = ("https://example.com".to_owned(), [7; 32]);
            policy.authority.trust_secret(issuer.clone(), &secret);
            let grants = Grants {
                publish: vec![MatcherText::wildcard()],
                ..Grants::default()
            };
            let signer = Signer::with_secret(issuer, &secret);
            let token = signer.sign(hub.url(), &grants, Duration::from_secs(60));
            let token = token.unwrap();
            let app = App::new()
                .app_data(web::Data::new(hub.clone()))
                .app_data(web::Data::new(policy))
                .route("/", web::post().to(publish));
            let app = init_service(app).await;
            let request = || {
                TestRequest::post()
                    .insert_header(("authorization", format!("Bearer {token}")))
                    .insert_header(ContentType::form_url_encoded())
                    .set_payload("topic=a&data=x")
                    .to_request()
            };
            let waiting: Vec<_> = (0..MOST_WAITING)
                .map(|_| hub.metrics.mark_message())
                .collect();

            let refused = call_service(&app, request()).await;
            assert_eq!(refused.status(), 503);
            assert_eq!(refused.headers().get(RETRY_AFTER).unwrap(), "1");
            let said = read_body(refused).await;
            assert!(String::from_utf8_lossy(&said).contains("can be taken in"));
            assert_eq!(hub.log.next(), 0);

            drop(waiting);
            let taken = call_service(&app, request()).await;
            assert_eq!(taken.status(), 200);
            assert_eq!(hub.log.next(), 1);
        });
    }
}
