//! Lists active subscriptions: `GET` at and below the hub's `/subscriptions` (Mercure, chapter Subscription
//! API).

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    http::header::{CACHE_CONTROL, ContentType, ETAG, HeaderValue, LINK},
    web,
};

use super::{
    credentials,
    permitted::WithPermit,
    policy::Policy,
    problem::{Challenge, Problem},
};
use crate::{
    broadcaster::{Hub, List, SubscriptionList, canonical_path},
    event::EARLIEST,
    matching::{HubUrl, SUBSCRIPTIONS_PATH},
};

/// The paths of all lists of subscriptions and of all single subscriptions, as route patterns of actix-web.
pub(super) fn paths(hub: &HubUrl) -> [String; 2] {
    let list = format!("{}{SUBSCRIPTIONS_PATH}", hub.path());
    let below = format!("{list}/{{below:.*}}");
    [list, below]
}

pub(super) async fn subscriptions(
    request: HttpRequest,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> Result<HttpResponse, Problem> {
    let access = credentials::access(&request, &hub, &policy).await?;
    let access = access.ok_or_else(|| Challenge::NoToken.to(&hub))?;
    // Checks the rights before the lookup: a client that may not read a path must not learn whether there is
    // a subscription at this path.
    let requested = request.uri().path();
    let may_read = |path: &str| access.may_read(path, hub.url());
    let path = canonical_path(requested, hub.url());
    // The token may allow the path in the form that the client requested, or in its canonical
    // percent-encoding.
    let path = path.filter(|path| may_read(path) || may_read(requested));
    let path = path.ok_or_else(|| Challenge::InsufficientScope.to(&hub))?;
    let lists = policy.lists.clone();
    let permit = lists.try_acquire_owned().map_err(|_| Problem::Busy)?;
    let legacy = policy.legacy;
    let listed = hub.ask(List { path, legacy }).await;
    let listed = listed.map_err(|_| Problem::BroadcasterSilent)?;
    let SubscriptionList { document, last } = listed.map_err(|_| Problem::LogUnavailable)?;
    let document = document.ok_or(Problem::NotFound)?;
    let last = last.map_or_else(|| EARLIEST.to_owned(), |id| id.to_string());
    let link = format!(
        "<{}>; rel=\"mercure\"; last-event-id=\"{last}\"; type=\"mercure\"; \
         content-type=\"application/json\"",
        hub.url().as_str()
    );
    let mut response = HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(document);
    let mut put = |name, value: String| {
        // All of these values are ASCII, so the conversion does not fail.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    put(LINK, link);
    put(ETAG, format!("\"{last}\""));
    put(CACHE_CONTROL, "must-revalidate".to_owned());
    Ok(response.map_body(|_, body| BoxBody::new(WithPermit::new(body, permit))))
}
