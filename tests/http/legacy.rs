//! Requests of clients for older Mercure versions, with `hub.legacy` enabled.

use crate::support::{
    eventually,
    mercure::{
        COOKIE, Client, MARKER, MercureHub, PATH, bearer, detail, grant, query, signed_as, token,
        until_marker,
    },
};
use serde_json::{Value, json};

fn hub() -> MercureHub {
    MercureHub::with(|config| {
        config.hub.legacy = true;
        config.hub.subscriptions = true;
    })
}

fn legacy(claim: &Value) -> String {
    signed_as("JWT", &json!({ "mercure": claim }))
}

/// Subscribes with this query and publishes on these topics. Returns the data of the events that arrive.
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
fn the_topic_parameter_is_an_exact_topic_or_a_uri_template() {
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
fn a_request_body_accepts_the_same_parameters() {
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
fn a_stream_resumes_by_the_older_parameters_for_the_last_event_id() {
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
fn the_mercure_claim_allows_the_private_events_that_its_selectors_match() {
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
fn the_current_cookie_has_priority_over_the_older_one() {
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
fn the_mercure_claim_limits_what_can_be_published() {
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
fn the_payload_of_the_mercure_claim_is_listed_with_every_subscription() {
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
    assert_eq!(subscription["topic"], "/{x}", "{document}");
    assert_eq!(subscription.get("match"), None);
    assert_eq!(subscription["payload"], payload);
}

#[test]
fn a_token_in_the_query_is_accepted_and_a_header_has_priority() {
    let hub = hub();
    let all = legacy(&json!({ "publish": ["*"], "subscribe": ["*"] }));
    let nothing = legacy(&json!({}));
    let mut publisher = hub.publisher();

    let stream = |query: &str, headers: &str| {
        let query = format!("topic=/a&topic={MARKER}{query}");
        hub.open(&query, headers)
    };
    let cookie = format!("Cookie: mercureAuthorization={nothing}\r\n");
    let mut by_query = stream(&format!("&authorization={all}"), &cookie);
    let mut by_header = stream(&format!("&authorization={all}"), &bearer(&nothing));
    let mut by_cookie = stream("&authorization=", &cookie);
    publisher.publish("topic=/a&data=private&private=on");
    publisher.mark();

    assert_eq!(until_marker(&mut by_query), ["private"]);
    for stream in [&mut by_header, &mut by_cookie] {
        assert_eq!(until_marker(stream), [""; 0]);
    }
    // A token in the query needs no origin check, because a browser never adds it by itself.
    let target = format!("{PATH}?authorization={all}");
    let foreign = "Origin: https://elsewhere.example\r\n";
    let published = hub.ask("POST", &target, foreign, "topic=/a");
    assert_eq!(published.status(), 200, "{published:?}");
    for (wrong, status) in [
        ("authorization=x".to_owned(), 401),
        (format!("authorization={all}&authorization={all}"), 400),
    ] {
        let target = format!("{PATH}?topic=/a&{wrong}");
        hub.ask("GET", &target, "", "")
            .assert_refuses(status, &wrong);
    }
}

#[test]
fn the_namespaced_claim_replaces_the_mercure_claim() {
    let hub = hub();
    let namespaced = signed_as(
        "JWT",
        &json!({
            "https://mercure.rocks/": { "publish": ["/a"] },
            "mercure": { "publish": ["/b"] },
        }),
    );
    let mut client = Client::connect(hub.addr());

    for (form, expected) in [("topic=/a", 200), ("topic=/b", 403)] {
        let answer = client.post(&bearer(&namespaced), form);
        assert_eq!(answer.status(), expected, "{form}");
    }
}

#[test]
fn the_older_header_name_is_sent_and_exposed_to_pages() {
    let hub = hub();
    let id = hub.publisher().publish_on("/a");
    let page = "Origin: https://page.example\r\n";
    let id_header = format!("{page}Last-Event-ID: {id}\r\n");

    let known = hub.open("topic=/a", &id_header);
    let unknown = hub.open("topic=/a&lastEventID=unknown", page);
    let none = hub.open("topic=/a", page);

    assert_eq!(known.header("last-event-id"), Some(&*id));
    assert_eq!(unknown.header("last-event-id"), Some("earliest"));
    assert_eq!(none.header("last-event-id"), None);
    let exposed = known.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("last-event-id, ") || exposed.ends_with(", last-event-id"));
}

#[test]
fn subscriptions_are_announced_and_listed_by_their_topics() {
    let hub = hub();
    let all = token(json!([detail(
        &["subscribe"],
        json!([{ "match": format!("{PATH}/subscriptions/*"), "match_type": "urlpattern" }])
    )]));
    let list = format!("{PATH}/subscriptions/%2Fbooks%2F%7Bid%7D");
    let get = |path: &str| hub.ask("GET", path, &bearer(&all), "");
    let listed = |path: &str| {
        let answer = get(path);
        assert_eq!(answer.status(), 200, "{path}: {answer:?}");
        let document: Value = serde_json::from_str(&answer.body).unwrap();
        document["subscriptions"].as_array().unwrap().clone()
    };
    let mut events = hub.subscribe_with("topic=*", &all);
    assert!(listed(&list).is_empty(), "no subscriber yet");

    let stream = hub.subscribe("topic=/books/{id}&match=exact");
    let begun = loop {
        let event = events.event().unwrap();
        let document: Value = serde_json::from_str(&event.data).unwrap();
        if document["topic"] == "/books/{id}" {
            assert_eq!(event.name.as_deref(), Some("mercure"));
            break document;
        }
    };

    let subscriber = begun["subscriber"].as_str().unwrap();
    let path = format!("{list}/{}", subscriber.replace(':', "%3A"));
    assert_eq!(
        begun,
        json!({
            "id": path,
            "type": "subscription",
            "subscriber": subscriber,
            "topic": "/books/{id}",
            "active": true,
        })
    );
    assert_eq!(listed(&list), std::slice::from_ref(&begun));
    // A topic that has the same name as a matcher type.
    assert!(listed(&format!("{PATH}/subscriptions/exact")).is_empty());
    assert_eq!(
        listed(&format!("{PATH}/subscriptions/exact/exact")).len(),
        1
    );
    let one: Value = serde_json::from_str(&get(&path).body).unwrap();
    assert_eq!(one, begun);
    get(&format!("{path}x")).assert_refuses(404, "another subscriber");
    drop(stream);
    eventually("the end of the subscription", || {
        (get(&path).status() == 404).then_some(())
    });
}

#[test]
fn a_token_can_name_a_subscription_list_as_its_client_encodes_it() {
    let hub = hub();
    let path = format!("{PATH}/subscriptions/a:b");
    let reader = legacy(&json!({ "subscribe": [path] }));

    let answer = hub.ask("GET", &path, &bearer(&reader), "");

    assert_eq!(answer.status(), 200, "{answer:?}");
}

#[test]
fn invalid_legacy_requests_are_refused() {
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
fn without_the_setting_no_legacy_request_is_accepted() {
    let hub = MercureHub::start();
    let token = legacy(&json!({ "publish": ["*"], "subscribe": ["*"] }));

    hub.ask("GET", &format!("{PATH}?topic=a"), "", "")
        .assert_refuses(400, "topic");
    hub.ask("GET", &format!("{PATH}?match=a"), &bearer(&token), "")
        .assert_refuses(401, "the claim");
    hub.ask("POST", PATH, &bearer(&token), "topic=a")
        .assert_refuses(401, "the claim");
    // A cookie that is not a token of this hub.
    let cookie = format!("Cookie: mercureAuthorization={token}\r\n");
    hub.open("match=a", &cookie);
}
