//! Serves `GET /.well-known/oauth-protected-resource/…`, which says how clients present a token to this hub
//! (RFC 9728; Mercure, chapter Protected Resource Metadata).

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HOST, HeaderMap},
    web,
};
use serde_json::{Map, Value, json};
use url::Position;

use super::policy::Policy;
use crate::{
    auth::DETAIL_TYPE,
    broadcaster::Hub,
    matching::{HubUrl, MatcherType},
};

/// Prefix of the path of the metadata document. The path of the hub follows this prefix.
const PREFIX: &str = "/.well-known/oauth-protected-resource";

/// The URL of the hub under which the client knows it: the one with the host of the request, or else `hub.url`.
pub(super) fn known_url<'a>(hub: &'a HubUrl, headers: &HeaderMap) -> &'a HubUrl {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_it = |url: &&HubUrl| host == Some(&url.url()[Position::BeforeHost..Position::AfterPort]);
    hub.all().find(is_it).unwrap_or(hub)
}

/// Path of the metadata document on this server.
pub(super) fn path(hub: &HubUrl) -> String {
    format!("{PREFIX}{}", hub.path())
}

/// URL of the metadata document, as clients know it.
pub(super) fn url(hub: &HubUrl) -> String {
    let mut url = hub.url().clone();
    url.set_path(&path(hub));
    url.into()
}

pub(super) async fn metadata(
    request: HttpRequest,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
) -> HttpResponse {
    let mut metadata = Map::new();
    let mut put = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
    put(
        "resource",
        json!(known_url(hub.url(), request.headers()).as_str()),
    );
    if !policy.authorization_servers.is_empty() {
        put("authorization_servers", json!(policy.authorization_servers));
    }
    put(
        "authorization_details_types_supported",
        json!([DETAIL_TYPE]),
    );
    put("bearer_methods_supported", json!(["header"]));
    if let Some(cookie) = &policy.cookie {
        put("mercure_cookie", json!(cookie));
    }
    let types = MatcherType::REGISTERED.map(MatcherType::name);
    put("mercure_matcher_types_supported", json!(types));
    if policy.subscriptions {
        put("mercure_subscriptions", json!(true));
    }
    HttpResponse::Ok().json(metadata)
}
