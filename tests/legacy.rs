//! What clients of the protocol's older versions send, where `hub.legacy` is on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::mercure::{
    COOKIE, Client, MARKER, MercureHub, PATH, bearer, grant, query, signed_as, token, until_marker,
};

fn hub() -> MercureHub {
    MercureHub::with(|config| {
        config.hub.legacy = true;
        config.hub.subscriptions = true;
    })
}

fn legacy(claim: &Value) -> String {
    signed_as("JWT", &json!({ "mercure": claim }))
}

/// What a stream with this query gets of updates on these topics.
fn got(hub: &MercureHub, query: &str, topics: &[&str]) -> Vec<String> {
    let mut stream = hub.subscribe(&format!("{query}&topic={MARKER}"));
    let mut publisher = hub.publisher();
    for topic in topics {
        publisher.publish_on(topic);
    }
    publisher.mark();
    until_marker(&mut stream)
}

#[test]
fn a_topic_is_asked_for_by_itself_or_by_a_template() {
    let hub = hub();
    let topics = ["/a", "/books/1", "/books/{id}", "/books/1/2", "/b?q=1"];

    for (query, expected) in [
        ("topic=/a", &["/a"][..]),
        ("topic=/books/{id}", &["/books/1", "/books/{id}"]),
        ("topic=/books%7B/x*%7D", &["/books/1", "/books/1/2"]),
        ("topic=/b{?q}&topic=/a", &["/a", "/b?q=1"]),
        ("topic=/nothing&match=/a", &["/a"]),
        ("topic=*", &topics),
    ] {
        assert_eq!(got(&hub, query, &topics), expected, "{query}");
    }
}

#[test]
fn a_body_asks_the_same_way() {
    let hub = hub();
    let mut stream = query(
        &hub,
        PATH,
        "",
        &format!("topic=/books/{{id}}&topic={MARKER}"),
    );
    let mut publisher = hub.publisher();

    publisher.publish_on("/books/1");
    publisher.mark();

    assert_eq!(until_marker(&mut stream), ["/books/1"]);
}

#[test]
fn a_stream_resumes_by_the_older_names_of_the_last_event_id() {
    let hub = hub();
    let mut publisher = hub.publisher();
    let first = publisher.publish("topic=/a&data=1&id=urn:uuid:1");
    publisher.publish("topic=/a&data=2");
    publisher.mark();

    for name in ["lastEventID", "Last-Event-ID", "lastEventId"] {
        let mut stream = hub.subscribe(&format!("topic=/a&topic={MARKER}&{name}={first}"));
        assert_eq!(until_marker(&mut stream), ["2"], "{name}");
    }
}

#[test]
fn the_claim_opens_what_its_selectors_name() {
    let hub = hub();
    let reader = legacy(&json!({ "subscribe": ["/books/{id}"] }));
    let query = format!("topic=*&match={MARKER}");
    let cookie = format!("Cookie: mercureAuthorization={reader}\r\n");

    for headers in [bearer(&reader), cookie] {
        let mut stream = hub.open(&query, &headers);
        let mut publisher = hub.publisher();
        publisher.publish("topic=/books/1&data=yes&private=on");
        publisher.publish("topic=/cars/1&data=no&private=on");
        publisher.mark();
        let got = until_marker(&mut stream);
        assert_eq!(got, ["yes"], "{headers}");
    }
}

#[test]
fn the_hubs_own_cookie_comes_before_the_older_one() {
    let hub = hub();
    let nothing = token(json!([]));
    let reader = legacy(&json!({ "subscribe": ["*"] }));
    let cookies = format!("Cookie: mercureAuthorization={reader}; {COOKIE}={nothing}\r\n");
    let mut stream = hub.open(&format!("topic=/a&topic={MARKER}"), &cookies);
    let mut publisher = hub.publisher();

    publisher.publish("topic=/a&data=no&private=on");
    publisher.mark();

    assert_eq!(until_marker(&mut stream), [""; 0]);
}

#[test]
fn the_claim_says_what_may_be_published() {
    let hub = hub();
    let publisher = legacy(&json!({ "publish": ["/books/{id}", "/a"] }));
    let mut client = Client::connect(hub.addr());

    for (form, expected) in [
        ("topic=/books/1&data=x", 200),
        ("topic=/a&data=x", 200),
        ("topic=/b&data=x", 403),
        ("topic=/a&topic=/b&data=x", 403),
        ("topic=/.well-known/mercure/subscriptions/x&data=x", 400),
    ] {
        let answer = client.post(&bearer(&publisher), form);
        assert_eq!(answer.status(), expected, "{form}: {answer:?}");
    }
}

#[test]
fn its_payload_is_told_of_every_subscription() {
    let hub = hub();
    let payload = json!({ "user": "kevin" });
    let reader = legacy(&json!({ "subscribe": ["/a"], "payload": payload }));
    let _stream = hub.open("topic=/{x}", &bearer(&reader));
    let all = token(json!([grant(
        "subscribe",
        &[&format!("{PATH}/subscriptions")]
    )]));

    let answer = hub.ask("GET", &format!("{PATH}/subscriptions"), &bearer(&all), "");

    let document: Value = serde_json::from_str(&answer.body).unwrap();
    let subscription = &document["subscriptions"][0];
    assert_eq!(subscription["match_type"], "selector", "{document}");
    assert_eq!(subscription["match"], "/{x}");
    assert_eq!(subscription["payload"], payload);
}

#[test]
fn what_is_wrong_is_refused() {
    let hub = MercureHub::with(|config| {
        config.hub.legacy = true;
        config.limits.matchers = 2;
    });

    for query in [
        "topic=",
        "topic=%ff",
        "topic=/{x:9999}",
        "topic=a&topic=b&match=c",
        "",
    ] {
        let target = format!("{PATH}?{query}");
        hub.ask("GET", &target, "", "").assert_refuses(400, query);
    }
    let wrong = bearer(&signed_as("JWT", &json!({ "mercure": "all" })));
    hub.ask("GET", &format!("{PATH}?topic=a"), &wrong, "")
        .assert_refuses(401, "a claim that is no object");
}

#[test]
fn nothing_of_it_is_understood_where_it_is_off() {
    let hub = MercureHub::start();
    let token = legacy(&json!({ "publish": ["*"], "subscribe": ["*"] }));

    hub.ask("GET", &format!("{PATH}?topic=a"), "", "")
        .assert_refuses(400, "topic");
    hub.ask("GET", &format!("{PATH}?match=a"), &bearer(&token), "")
        .assert_refuses(401, "the claim");
    hub.ask("POST", PATH, &bearer(&token), "topic=a")
        .assert_refuses(401, "the claim");
    // A cookie that is none of the hub's.
    let cookie = format!("Cookie: mercureAuthorization={token}\r\n");
    hub.open("match=a", &cookie);
}
