//! When a limit is reached, clients receive 503 with `Retry-After`, and the refused request has no effect.

use std::time::Duration;

use actix_web::{
    App, Error,
    body::BoxBody,
    dev::{Service, ServiceResponse},
    http::header::{ContentType, RETRY_AFTER},
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};

use super::{events, policy::Policy, publish, topics};
use crate::{
    auth::{Action, Grant, Signer},
    broadcaster::{Hub, HubSettings},
    config::Config,
    matching::{MatcherText, MatcherType},
};

const ISSUER: &str = "https://example.com";
const SECRET: [u8; 32] = [7; 32];

fn policy(hub: &Hub) -> web::Data<Policy> {
    let policy = Policy::new(&Config::default(), hub.url().clone());
    policy
        .token_verifier
        .trust_secret(ISSUER.to_owned(), &SECRET)
        .unwrap();
    web::Data::new(policy)
}

/// A token that allows publishing on this topic or pattern.
fn token(hub: &Hub, kind: MatcherType, text: &str) -> String {
    let grant = Grant {
        actions: vec![Action::Publish],
        topics: vec![MatcherText::parse(kind, text, 100).unwrap()],
        payload: None,
    };
    let signer = Signer::with_secret(ISSUER.to_owned(), &SECRET);
    let token = signer.sign(hub.url(), &[grant], Duration::from_secs(60));
    token.unwrap()
}

async fn app(
    hub: &Hub,
    policy: &web::Data<Policy>,
) -> impl Service<actix_http::Request, Response = ServiceResponse<BoxBody>, Error = Error> + use<> {
    let hub = web::resource("/")
        .app_data(web::Data::new(hub.clone()))
        .app_data(policy.clone())
        .route(web::method(topics::query()).to(events::subscribe_to_topics))
        .route(web::post().to(publish::publish));
    init_service(App::new().service(hub)).await
}

fn publishing(token: &str) -> actix_http::Request {
    TestRequest::post()
        .insert_header(("authorization", format!("Bearer {token}")))
        .insert_header(ContentType::form_url_encoded())
        .set_payload("topic=/a&data=x")
        .to_request()
}

fn asking(form: &'static str) -> actix_http::Request {
    TestRequest::default()
        .method(topics::query())
        .insert_header(ContentType::form_url_encoded())
        .set_payload(form)
        .to_request()
}

/// Asserts that the response is 503 with `Retry-After`, and that its detail contains `why`.
async fn assert_must_retry_later(answer: ServiceResponse, why: &str) {
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers().get(RETRY_AFTER).unwrap(), "1");
    let said = read_body(answer).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(why), "{said}");
}

#[test]
fn while_too_many_events_wait_publishing_is_refused() {
    System::new().block_on(async {
        let (hub, _gone) = Hub::start(HubSettings::default());
        let app = app(&hub, &policy(&hub)).await;
        let token = token(&hub, MatcherType::Exact, "*");
        let all = hub.hold_publish_permits().await;

        let refused = call_service(&app, publishing(&token)).await;
        assert_must_retry_later(refused, "The server is busy").await;
        assert_eq!(hub.log().next(), 1);

        drop(all);
        let taken = call_service(&app, publishing(&token)).await;
        assert_eq!(taken.status(), 200);
        assert_eq!(hub.log().next(), 2);
    });
}

#[test]
fn while_the_memory_for_patterns_is_exhausted_only_new_patterns_are_refused() {
    System::new().block_on(async {
        let (hub, _gone) = Hub::start(HubSettings::default());
        let policy = policy(&hub);
        let app = app(&hub, &policy).await;
        let with_pattern = token(&hub, MatcherType::UrlPattern, "/:x");
        let with_topic = token(&hub, MatcherType::Exact, "/a");
        let others = (hub.fill_matcher_memory(), policy.token_verifier.fill());

        let refused = call_service(&app, asking("match_urlpattern=/:x")).await;
        assert_must_retry_later(refused, "patterns is exhausted").await;
        let refused = call_service(&app, publishing(&with_pattern)).await;
        assert_must_retry_later(refused, "patterns is exhausted").await;
        assert_eq!(hub.log().next(), 1);
        for request in [asking("match=/a"), publishing(&with_topic)] {
            assert_eq!(call_service(&app, request).await.status(), 200);
        }

        drop(others);
        for request in [asking("match_urlpattern=/:x"), publishing(&with_pattern)] {
            assert_eq!(call_service(&app, request).await.status(), 200);
        }
    });
}
