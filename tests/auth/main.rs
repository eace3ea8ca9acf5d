//! Tokens of subscribers and of pages: how clients present them, which private events they allow, and what
//! browsers receive (Mercure, chapters Authorization and Protected Resource Metadata).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod grants;
mod key_sets;
mod metadata;
mod pages;
mod revocations;
mod scopes;

use serde_json::json;
use support::mercure::{
    COOKIE, MARKER, METADATA, MercureHub, PATH, bearer, grant, now, token, token_until,
    until_marker,
};

/// A token that allows reading everything.
fn wide() -> String {
    token(json!([grant("subscribe", &["*"])]))
}

/// A token that allows reading nothing private.
fn narrow() -> String {
    token(json!([]))
}

fn cookie(name: &str, token: &str) -> String {
    format!("Cookie: {name}={token}\r\n")
}

/// Subscribes with these headers, and publishes a public and a private event. Returns the data of the events
/// that arrive.
fn got(hub: &MercureHub, headers: &str) -> Vec<String> {
    let mut publisher = hub.publisher();
    let mut stream = hub.open(&format!("match=a&match={MARKER}"), headers);
    publisher.publish("topic=a&data=public");
    publisher.publish("topic=a&data=private&private=on");
    publisher.mark();
    until_marker(&mut stream)
}

#[test]
fn a_token_in_a_header_or_a_cookie_allows_private_events() {
    let hub = MercureHub::start();
    let (wide, narrow) = (wide(), narrow());

    for headers in [
        bearer(&wide),
        format!("authorization: bearer {wide}\r\n"),
        format!("Authorization: BEARER   {wide}\r\n"),
        cookie(COOKIE, &wide),
        cookie(COOKIE, &format!("\"{wide}\"")),
        format!("Cookie: a=b; {COOKIE}={wide}; c=d\r\n"),
        format!("Cookie: a=b\r\nCookie: {COOKIE}={wide}\r\n"),
        format!("Cookie: {COOKIE}={wide}; {COOKIE}=x\r\n"),
        format!("Cookie: name=Jos\u{e9}; {COOKIE}={wide}\r\n"),
        format!("{}{}", bearer(&wide), cookie(COOKIE, "x")),
        format!("{}{}", bearer(&wide), cookie(COOKIE, &narrow)),
    ] {
        assert_eq!(got(&hub, &headers), ["public", "private"], "{headers}");
    }
}

#[test]
fn without_a_sufficient_token_a_subscriber_gets_only_public_events() {
    let hub = MercureHub::start();
    let (wide, narrow) = (wide(), narrow());

    for headers in [
        String::new(),
        bearer(&narrow),
        bearer(&token(json!([grant("publish", &["*"])]))),
        cookie(COOKIE, &narrow),
        cookie(COOKIE, ""),
        cookie("mercureAuthorization", &wide),
        cookie("mercure_access_token", &wide),
        cookie(&COOKIE.to_lowercase(), &wide),
        format!("Authorization: Basic dTpw\r\n{}", cookie(COOKIE, &wide)),
        format!("Authorization: BearerX {wide}\r\n"),
        format!("{}{}", bearer(&narrow), cookie(COOKIE, &wide)),
    ] {
        assert_eq!(got(&hub, &headers), ["public"], "{headers}");
    }
}

#[test]
fn a_token_in_the_url_is_ignored() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let wide = wide();
    let query = format!("match=a&match={MARKER}&access_token={wide}&authorization={wide}");
    let mut stream = hub.subscribe(&query);

    publisher.publish("topic=a&data=private&private=on");
    publisher.mark();

    assert_eq!(until_marker(&mut stream), [""; 0]);
}

#[test]
fn an_invalid_token_is_refused_and_not_ignored() {
    let hub = MercureHub::start();
    let expired = token_until(now() as u64 - 1, json!([grant("subscribe", &["*"])]));
    let target = format!("{PATH}?match=a");
    let numbered = "/events/sse";

    for headers in [
        bearer("x"),
        bearer(&expired),
        bearer(&"x".repeat(9000)),
        cookie(COOKIE, "x"),
        cookie(COOKIE, &expired),
        format!("{}{}", bearer("x"), cookie(COOKIE, &wide())),
        format!("Cookie: {COOKIE}=x; {COOKIE}={}\r\n", wide()),
    ] {
        for (method, target) in [("GET", &*target), ("QUERY", &target), ("GET", numbered)] {
            let answer = hub.ask(method, target, &headers, "");

            answer.assert_refuses(401, &headers);
            let expected = format!("Bearer error=\"invalid_token\", {METADATA}");
            assert_eq!(answer.header("www-authenticate"), Some(&*expected));
        }
    }
}

#[test]
fn a_malformed_authorization_is_a_bad_request() {
    let hub = MercureHub::start();
    let target = format!("{PATH}?match=a");
    let wide = wide();

    for headers in [
        "Authorization: Bearer\r\n".to_owned(),
        format!("Authorization: Bearer {wide} {wide}\r\n"),
        format!("Authorization: Bearer {wide},{wide}\r\n"),
        bearer(&wide).repeat(2),
    ] {
        let answer = hub.ask("GET", &target, &headers, "");

        answer.assert_refuses(400, &headers);
        let expected = format!("Bearer error=\"invalid_request\", {METADATA}");
        assert_eq!(answer.header("www-authenticate"), Some(&*expected));
    }
}

#[test]
fn the_cookie_can_be_renamed_or_disabled() {
    let renamed = MercureHub::with(|config| config.auth.cookie = Some("token".to_owned()));
    let none = MercureHub::with(|config| config.auth.cookie = None);
    let wide = wide();

    assert_eq!(
        got(&renamed, &cookie("token", &wide)),
        ["public", "private"]
    );
    assert_eq!(got(&renamed, &cookie(COOKIE, &wide)), ["public"]);
    assert_eq!(got(&none, &cookie(COOKIE, &wide)), ["public"]);
    assert_eq!(got(&none, &bearer(&wide)), ["public", "private"]);
}
