//! The metadata that tells clients how to get a token for the hub (RFC 9728).

use serde_json::{Value, json};
use sse_broadcaster::HubUrl;

use crate::support::mercure::{COOKIE, MercureHub, PATH};

fn metadata(hub: &MercureHub, path: &str) -> Value {
    let target = format!("/.well-known/oauth-protected-resource{path}");
    let answer = hub.ask("GET", &target, "Origin: https://any.example\r\n", "");
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn the_metadata_says_how_to_get_a_token_and_where_to_put_it() {
    let hub = MercureHub::start();

    assert_eq!(
        metadata(&hub, PATH),
        json!({
            "resource": "https://hub.example.com/.well-known/mercure",
            "authorization_details_types_supported": ["https://mercure.rocks/authorization-detail"],
            "bearer_methods_supported": ["header"],
            "mercure_cookie": COOKIE,
            "mercure_matcher_types_supported": ["exact", "urlpattern"],
        })
    );
}

#[test]
fn the_metadata_lists_the_enabled_features_and_its_url_contains_the_hubs_path() {
    let hub = MercureHub::with(|config| {
        config.hub.url = HubUrl::parse("https://hub.example.com/a/hub").ok();
        config.hub.subscriptions = true;
        config.auth.cookie = None;
    });

    let metadata = metadata(&hub, "/a/hub");
    let challenge = hub.ask("POST", "/a/hub", "", "topic=a");

    assert_eq!(metadata["resource"], "https://hub.example.com/a/hub");
    assert_eq!(metadata["mercure_subscriptions"], true);
    assert_eq!(metadata.get("mercure_cookie"), None);
    assert_eq!(
        challenge.header("www-authenticate"),
        Some(
            "Bearer resource_metadata=\
             \"https://hub.example.com/.well-known/oauth-protected-resource/a/hub\""
        )
    );
}
