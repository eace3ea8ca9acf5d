//! The metadata that tells clients how to get a token for the hub (RFC 9728).

use serde_json::{Value, json};
use sse_broadcaster::HubUrl;

use crate::support::mercure::{
    COOKIE, Client, HUB, METADATA, MercureHub, PATH, bearer, detail, form, token_for,
};

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
fn the_metadata_names_the_url_under_which_the_client_knows_the_hub() {
    const OTHER: &str = "https://other.example:8443/.well-known/mercure";
    let hub = MercureHub::with(|config| {
        config.hub.public_urls = vec![HubUrl::parse(OTHER).unwrap()];
        config.auth.authorization_servers = vec!["https://login.example".to_owned()];
    });
    let target = format!("/.well-known/oauth-protected-resource{PATH}");
    let ask = |host: &str, method: &str, target: &str| {
        let mut client = Client::connect(hub.addr());
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        client.send(request.as_bytes());
        client.answer()
    };
    let resource = |host: &str| {
        let document: Value = serde_json::from_str(&ask(host, "GET", &target).body).unwrap();
        assert_eq!(
            document["authorization_servers"],
            json!(["https://login.example"])
        );
        document["resource"].as_str().unwrap().to_owned()
    };
    let challenge = |host: &str| {
        let answer = ask(host, "POST", PATH);
        assert_eq!(answer.status(), 401);
        answer.header("www-authenticate").unwrap().to_owned()
    };

    assert_eq!(resource("other.example:8443"), OTHER);
    assert!(
        challenge("other.example:8443")
            .contains("=\"https://other.example:8443/.well-known/oauth-")
    );
    for host in [
        "hub.example.com",
        "other.example",
        "unknown.example",
        "a@other.example:8443",
    ] {
        assert_eq!(resource(host), HUB, "{host}");
        assert!(challenge(host).ends_with(METADATA), "{host}");
    }
}

#[test]
fn a_token_may_name_any_url_of_the_hub_as_its_audience() {
    const OTHER: &str = "https://other.example/hub";
    let hub = MercureHub::with(|config| {
        config.hub.public_urls = vec![HubUrl::parse(OTHER).unwrap()];
        config.hub.subscriptions = true;
    });
    let all = || json!([detail(&["publish", "subscribe"], json!([{ "match": "*" }]))]);
    let publish = |token: &str, topic: &str| {
        let form = form(&[("topic", topic), ("data", "x"), ("private", "on")]);
        hub.ask("POST", PATH, &bearer(token), &form).status()
    };
    for url in [HUB, OTHER] {
        assert_eq!(publish(&token_for(url, all()), "/books/1"), 200, "{url}");
    }
    assert_eq!(
        publish(&token_for("https://unknown.example/hub", all()), "/books/1"),
        401
    );
    // The paths of all URLs are reserved for the hub.
    for topic in [
        PATH,
        "/hub",
        "/hub/subscriptions",
        "https://any.example/hub/x",
    ] {
        let answer = publish(&token_for(HUB, all()), topic);
        assert_eq!(answer, 400, "{topic}");
    }
    // A topic that is a path is known under each URL.
    for pattern in [
        "https://other.example/books/:id",
        "https://hub.example.com/books/:id",
        "/books/:id",
    ] {
        let query = form(&[("match_urlpattern", pattern)]);
        let mut stream = hub.subscribe_with(&query, &token_for(OTHER, all()));
        assert_eq!(publish(&token_for(HUB, all()), "/books/2"), 200);
        assert_eq!(stream.event().unwrap().data, "x", "{pattern}");
    }
    let pattern = "https://other.example/.well-known/mercure/subscriptions/*";
    let query = form(&[("match_urlpattern", pattern)]);
    let mut presence = hub.subscribe_with(&query, &token_for(OTHER, all()));
    let _new = hub.subscribe("match=/seen");
    while !presence.event().unwrap().data.contains("/seen") {}
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
