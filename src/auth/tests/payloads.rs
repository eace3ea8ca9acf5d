//! Tests which payload an active subscription shows (Mercure, chapter Payloads).

use super::*;
use crate::matching::Compiler;

fn detail(topics: Value, payload: Option<&str>) -> Value {
    let detail = json!({ "type": DETAIL_TYPE, "actions": ["subscribe"], "topics": topics });
    match payload {
        Some(payload) => with(detail, json!({ "payload": { payload: 1 } })),
        None => detail,
    }
}

fn access(details: &[Value]) -> Access {
    let limits = TokenRules {
        details: 10,
        ..RULES
    };
    let compiler = Compiler::new(hub());
    Access::parse(Some(&json!(details)), &mut compiler.begin(), &limits).unwrap()
}

/// The name of the payload's only member.
fn payload(access: &Access, subscribed: &str) -> Option<String> {
    let payload: Value = serde_json::from_str(access.payload(subscribed, &hub())?).unwrap();
    payload.as_object().unwrap().keys().next().cloned()
}

fn foo() -> Value {
    json!([{ "match": "https://example.com/foo" }])
}

fn bar() -> Value {
    json!([{ "match": "https://example.com/bar/:id", "match_type": "urlpattern" }])
}

fn all() -> Value {
    json!([{ "match": "*" }])
}

#[test]
fn the_first_detail_that_matches_the_subscription_has_the_payload() {
    let access = access(&[
        detail(foo(), Some("custom1")),
        detail(bar(), Some("custom2")),
        detail(all(), Some("custom3")),
    ]);

    for (subscribed, expected) in [
        ("https://example.com/foo", "custom1"),
        ("https://example.com/bar/:id", "custom2"),
        ("https://example.com/bar/9", "custom2"),
        ("https://example.com/bar/9/1", "custom3"),
        ("baz", "custom3"),
        ("*", "custom3"),
    ] {
        let found = payload(&access, subscribed);
        assert_eq!(found.as_deref(), Some(expected), "{subscribed}");
    }
}

#[test]
fn a_broad_detail_that_comes_first_hides_the_others() {
    let access = access(&[
        detail(all(), Some("custom3")),
        detail(foo(), Some("custom1")),
    ]);

    let found = payload(&access, "https://example.com/foo");

    assert_eq!(found.as_deref(), Some("custom3"));
}

#[test]
fn the_first_matching_detail_applies_even_without_a_payload() {
    let access = access(&[detail(foo(), None), detail(all(), Some("custom3"))]);

    assert_eq!(payload(&access, "https://example.com/foo"), None);
    assert_eq!(payload(&access, "other").as_deref(), Some("custom3"));
}

#[test]
fn details_without_the_action_subscribe_are_ignored() {
    for actions in [json!(["publish"]), json!(["fly"])] {
        let other = with(detail(foo(), Some("other")), json!({ "actions": actions }));
        let alone = access(std::slice::from_ref(&other));
        let before = access(&[other, detail(all(), Some("custom3"))]);

        let subscribed = "https://example.com/foo";
        assert_eq!(payload(&alone, subscribed), None);
        assert_eq!(payload(&before, subscribed).as_deref(), Some("custom3"));
    }
}

#[test]
fn a_pattern_applies_to_a_subscription_to_the_same_pattern() {
    let digits = r"https://example.com/b/:id(\d+)";
    let pattern = json!([{ "match": digits, "match_type": "urlpattern" }]);
    let access = access(&[detail(pattern, Some("digits"))]);

    assert_eq!(payload(&access, digits).as_deref(), Some("digits"));
    let one = "https://example.com/b/1";
    assert_eq!(payload(&access, one).as_deref(), Some("digits"));
    assert_eq!(payload(&access, "https://example.com/b/x"), None);
}

#[test]
fn an_exact_detail_matches_a_pattern_with_the_same_text() {
    let text = "https://example.com/:x";
    let access = access(&[detail(json!([{ "match": text }]), Some("exact"))]);

    assert_eq!(payload(&access, text).as_deref(), Some("exact"));
    assert_eq!(payload(&access, "https://example.com/1"), None);
}

#[test]
fn a_relative_pattern_is_relative_to_the_hub() {
    let pattern = json!([{ "match": "/x/:y", "match_type": "urlpattern" }]);
    let access = access(&[detail(pattern, Some("x"))]);

    assert_eq!(payload(&access, "/x/1").as_deref(), Some("x"));
    let absolute = "https://hub.example.com/x/1";
    assert_eq!(payload(&access, absolute).as_deref(), Some("x"));
    assert_eq!(payload(&access, "https://example.com/x/1"), None);
}

#[test]
fn a_payload_is_shown_unchanged() {
    for payload in [json!({}), json!({ "a": { "b": [1, null, "c"] } })] {
        let detail = with(detail(all(), None), json!({ "payload": payload }));
        let access = access(&[detail]);

        assert_eq!(access.payload("a", &hub()), Some(&*payload.to_string()));
    }
}

#[test]
fn without_a_detail_there_is_no_payload() {
    assert_eq!(payload(&access(&[]), "a"), None);
    assert_eq!(payload(&Access::default(), "*"), None);
}
