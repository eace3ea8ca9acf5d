//! Topics that are reserved for the hub, and topics that only look like them.

use serde_json::json;
use sse_broadcaster::HubUrl;

use super::assert_refused;
use crate::support::mercure::{MercureHub, PATH, bearer, form, grant, token_for};

/// Topics that resolve to the hub's URL or to a path below it.
const RESERVED: &[&str] = &[
    "",
    "#f",
    "?q",
    "mercure",
    "./mercure",
    "mercure/x",
    "https:mercure",
    "/.well-known/mercure",
    "/.well-known/mercure/",
    "/.well-known/mercure?x=1",
    "/.well-known/mercure#x",
    "/.well-known/mercure/subscriptions/exact/a/b",
    "/.well-known/mercure/subscriptions/exact/../s",
    "/.well-known/%6Dercure/x",
    "/.well-known/%6dercure",
    "/.well-known/m%65rcure",
    "/%2Ewell%2Dknown/mercure",
    "/.well-known/mercure/../mercure/x",
    "/a/../.well-known/./mercure/",
    "/%2e/.well-known/mercure",
    "/x/%2E%2e/.well-known/mercure",
    " /.well-known/mercure/x",
    "/.well-known/mercure ",
    "\\.well-known\\mercure",
    "//other/.well-known/mercure",
    "https://hub.example.com/.well-known/mercure/subscriptions/x",
    "HTTPS://HUB.EXAMPLE.COM/.well-known/mercure",
    "http://anything:81/.well-known/mercure",
    "https://u:p@h/.well-known/mercure",
    "file:///.well-known/mercure",
    "mailto:/.well-known/mercure",
    "javascript:/.well-known/mercure/x",
];

/// Topics that look similar, but are not reserved.
const FREE: &[&str] = &[
    "foo",
    ".",
    "..",
    "/",
    "/.well-known/mercure2",
    "/.well-known/mercure;x",
    "/.well-known/Mercure",
    "/.Well-Known/mercure",
    "/.well-known//mercure",
    "/.well-known%2Fmercure",
    "/.well-known/mercure%2Fx",
    "/.well-known/%256Dercure",
    "/.well-known/mercure/..",
    "/.well-known/mercure/%2e%2e/foo",
    "/x/.well-known/mercure",
    "http:mercure",
    "foo:.well-known/mercure",
    "urn:uuid:x",
    "blob:https://h/.well-known/mercure",
    "https://[bad",
    "https://exa mple.com/.well-known/mercure",
    "/.well-known/mercur\u{435}",
    "https://example.com/?u=/.well-known/mercure",
    "**",
];

#[test]
fn the_hubs_own_topics_are_refused_in_every_spelling() {
    let hub = MercureHub::start();

    let forms = RESERVED.iter().flat_map(|topic| {
        let alone = form(&[("topic", topic)]);
        let second = form(&[("topic", "a"), ("topic", topic)]);
        let first = form(&[("topic", topic), ("topic", "a")]);
        [alone, second, first]
    });

    assert_refused(&hub, 400, forms);
}

#[test]
fn topics_that_only_look_like_the_hubs_are_accepted() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut stream = hub.subscribe("match=*");

    for topic in FREE {
        publisher.publish_on(topic);
        assert_eq!(stream.event().unwrap().data, *topic);
    }
}

#[test]
fn the_hubs_own_topics_are_below_its_configured_path() {
    const MOVED: &str = "https://hub.example.com/a/hub";
    let url = HubUrl::parse(MOVED).ok();
    let hub = MercureHub::with(|config| config.hub.url = url);
    let token = token_for(MOVED, json!([grant("publish", &["*"])]));
    let post = |topic: &str| {
        let form = form(&[("topic", topic)]);
        hub.ask("POST", "/a/hub", &bearer(&token), &form).status()
    };

    for topic in [
        "",
        "hub",
        "/a/hub",
        "/a/hub/x",
        "../a/%68ub",
        "https://x/a/hub",
    ] {
        assert_eq!(post(topic), 400, "{topic}");
    }
    for topic in ["/.well-known/mercure", "/hub", "a/hub", "/a/hubs"] {
        assert_eq!(post(topic), 200, "{topic}");
    }
    let elsewhere = hub.ask("POST", PATH, &bearer(&token), "topic=a");
    assert_eq!(elsewhere.status(), 405, "there are the page's files");
}

#[test]
fn the_wildcard_is_not_a_topic() {
    let hub = MercureHub::start();

    let forms = ["topic=*", "topic=%2A", "topic=a&topic=*", "topic=*&topic=a"];

    assert_refused(&hub, 400, forms);
}
