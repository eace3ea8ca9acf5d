//! Serves `GET /.well-known/oauth-protected-resource/…`, which says how clients present a token to this hub
//! (RFC 9728; Mercure, chapter Protected Resource Metadata).

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};

use super::policy::Policy;
use crate::{
    auth::DETAIL_TYPE,
    broadcaster::Hub,
    matching::{HubUrl, MatcherType},
};

/// Prefix of the path of the metadata document. The path of the hub follows this prefix.
const PREFIX: &str = "/.well-known/oauth-protected-resource";

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

pub(super) async fn metadata(hub: web::Data<Hub>, policy: web::Data<Policy>) -> HttpResponse {
    let mut metadata = Map::new();
    let mut put = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
    put("resource", json!(hub.url().as_str()));
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
