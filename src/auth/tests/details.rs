//! Tests which authorization details are valid.

mod allowed;

use super::*;
use crate::event::Topic;
use std::sync::Arc;

/// A token with these authorization details.
fn token(details: Value) -> String {
    let claims = with(claims(), json!({ "authorization_details": details }));
    sign(&header(), &claims, "p256")
}

fn detail(actions: &[&str], topics: Value) -> Value {
    json!({ "type": DETAIL_TYPE, "actions": actions, "topics": topics })
}

/// A detail that allows everything.
fn all() -> Value {
    detail(&["publish", "subscribe"], json!([{ "match": "*" }]))
}

fn exactly(topic: &str) -> Value {
    json!({ "match": topic })
}

fn pattern(pattern: &str) -> Value {
    json!({ "match": pattern, "match_type": "urlpattern" })
}

fn access(details: Value) -> Arc<Access> {
    let token = token(details);
    token_verifier().verify_at(&token, NOW as f64).unwrap()
}

fn may_publish(access: &Access, topic: &str) -> bool {
    access.may_publish(&Topic::parse(topic).unwrap(), &hub())
}

/// Asserts that a wrong detail makes the token invalid: alone, before a valid detail, and after a valid
/// detail.
fn assert_invalidates(wrong: &Value, expected: &str) {
    let token_verifier = token_verifier();
    for details in [json!([wrong]), json!([wrong, all()]), json!([all(), wrong])] {
        assert_eq!(
            verdict(&token_verifier, &token(details)),
            expected,
            "{wrong}"
        );
    }
}

#[test]
fn details_are_a_list_of_objects_with_a_type() {
    let token_verifier = token_verifier();

    for (details, expected) in [
        (json!([]), "good"),
        (json!(null), "good"),
        (json!({}), "Form"),
        (all(), "Form"),
        (json!("x"), "Form"),
        (json!(json!([all()]).to_string()), "Form"),
        (json!(1), "Form"),
        (json!([1]), "Form"),
        (json!(["x"]), "Form"),
        (json!([null]), "Form"),
        (json!([[all()]]), "Form"),
        (json!([all(), 1]), "Form"),
        (json!([without(all(), "type")]), "Form"),
        (json!([with(all(), json!({ "type": 1 }))]), "Form"),
        (json!([with(all(), json!({ "type": null }))]), "Form"),
    ] {
        let token = token(details.clone());
        assert_eq!(verdict(&token_verifier, &token), expected, "{details}");
    }
}

#[test]
fn a_token_without_details_allows_nothing() {
    let bare = sign(
        &header(),
        &without(claims(), "authorization_details"),
        "p256",
    );
    let bare = token_verifier().verify_at(&bare, NOW as f64).unwrap();

    for access in [bare, access(json!([])), access(json!(null))] {
        assert!(!may_publish(&access, "a"));
        assert!(!access.may_read("a", &hub()));
        assert!(access.authorized().is_empty());
    }
}

#[test]
fn details_of_another_type_are_ignored() {
    for kind in [
        "payment_initiation",
        "mercure",
        "https://mercure.rocks/authorization-detail/",
        "http://mercure.rocks/authorization-detail",
        "HTTPS://mercure.rocks/authorization-detail",
        "https://mercure.rocks/Authorization-detail",
        "https://mercure.rocks/authorization-detail ",
        "",
    ] {
        let foreign = with(all(), json!({ "type": kind }));
        let garbage = json!({ "type": kind, "actions": 1, "topics": {}, "payload": [] });

        let alone = access(json!([foreign, garbage]));
        let beside = access(json!([garbage, all(), foreign]));

        assert!(!may_publish(&alone, "a"), "{kind}");
        assert!(!alone.may_read("a", &hub()), "{kind}");
        assert!(may_publish(&beside, "a"), "{kind}");
    }
}

#[test]
fn a_type_with_json_escapes_is_unescaped() {
    let payload = with(claims(), json!({ "authorization_details": [all()] })).to_string();
    let escaped = payload.replace("https://mercure", r"\u0068ttps:\/\/mercure");
    assert_ne!(payload, escaped);
    let token = sign_bytes(
        header().to_string().as_bytes(),
        escaped.as_bytes(),
        &signing_key("p256"),
    );

    let access = token_verifier().verify_at(&token, NOW as f64).unwrap();

    assert!(may_publish(&access, "a"));
}

#[test]
fn actions_are_a_list_of_texts() {
    for actions in [
        json!(null),
        json!([]),
        json!("publish"),
        json!({}),
        json!(1),
        json!(["publish", 1]),
        json!([null]),
        json!([["publish"]]),
    ] {
        assert_invalidates(&with(all(), json!({ "actions": actions })), "Actions");
    }
    assert_invalidates(&without(all(), "actions"), "Actions");
}

#[test]
fn unknown_actions_are_ignored() {
    for (actions, publish, subscribe) in [
        (&["publish"][..], true, false),
        (&["subscribe"], false, true),
        (&["subscribe", "publish"], true, true),
        (&["publish", "publish"], true, false),
        (&["fly", "publish"], true, false),
        (&["fly"], false, false),
        (&["*"], false, false),
        (&["Publish", "SUBSCRIBE"], false, false),
        (&[" publish", "subscribe "], false, false),
        (&[""], false, false),
    ] {
        let access = access(json!([detail(actions, json!([exactly("a")]))]));

        assert_eq!(may_publish(&access, "a"), publish, "{actions:?}");
        assert_eq!(access.may_read("a", &hub()), subscribe, "{actions:?}");
    }
}

#[test]
fn topics_are_a_list_of_matchers() {
    for (topics, expected) in [
        (json!(null), "Topics"),
        (json!([]), "Topics"),
        (json!({}), "Topics"),
        (json!("*"), "Topics"),
        (json!(["https://example.com/foo"]), "Topics"),
        (json!([1]), "Topics"),
        (json!([null]), "Topics"),
        (json!([[]]), "Topics"),
        (json!([{}]), "Topics"),
        (json!([{ "match_type": "exact" }]), "Topics"),
        (json!([{ "match": null }]), "Topics"),
        (json!([{ "match": 1 }]), "Topics"),
        (json!([{ "match": ["a"] }]), "Topics"),
        (json!([{ "match": {} }]), "Topics"),
        (json!([{ "Match": "a" }]), "Topics"),
        (json!([{ "match_urlpattern": "a" }]), "Topics"),
        (
            json!([{ "match": "a", "match_type": "Exact" }]),
            "MatchType",
        ),
        (
            json!([{ "match": "a", "match_type": "URLPattern" }]),
            "MatchType",
        ),
        (
            json!([{ "match": "a", "match_type": "URLPATTERN" }]),
            "MatchType",
        ),
        (
            json!([{ "match": "a", "match_type": "regex" }]),
            "MatchType",
        ),
        (
            json!([{ "match": "a", "match_type": "urltemplate" }]),
            "MatchType",
        ),
        (json!([{ "match": "a", "match_type": "" }]), "MatchType"),
        (
            json!([{ "match": "a", "match_type": " exact" }]),
            "MatchType",
        ),
        (json!([{ "match": "a", "match_type": null }]), "MatchType"),
        (json!([{ "match": "a", "match_type": 1 }]), "MatchType"),
        (
            json!([{ "match": "a", "match_type": ["exact"] }]),
            "MatchType",
        ),
        (json!([{ "match": "*", "match_type": "nope" }]), "MatchType"),
        (json!([{ "match": "*", "match_type": 1 }]), "MatchType"),
        (json!([{ "match": "" }]), "Matcher(Empty)"),
        (json!([{ "match": "a\nb" }]), "Matcher(Invisible)"),
        (json!([{ "match": "a\u{200b}b" }]), "Matcher(Invisible)"),
        (json!([pattern("")]), "Matcher(Empty)"),
        (
            json!([pattern("https://example.com/(")]),
            "Matcher(Pattern)",
        ),
        (json!([pattern("{a")]), "Matcher(Pattern)"),
        (json!([pattern("/:a/:a")]), "Matcher(Pattern)"),
        (
            json!([pattern("https://exa mple.com/")]),
            "Matcher(Pattern)",
        ),
        (json!([pattern("/([z-a])")]), "Matcher(Pattern)"),
        (json!([exactly("*"), pattern("{a")]), "Matcher(Pattern)"),
        (json!([pattern("{a"), exactly("*")]), "Matcher(Pattern)"),
    ] {
        for actions in [&["publish"][..], &["subscribe"], &["fly"]] {
            let wrong = detail(actions, topics.clone());
            assert_invalidates(&wrong, expected);
        }
    }
    assert_invalidates(&without(all(), "topics"), "Topics");
}

#[test]
fn a_payload_is_an_object() {
    for payload in [json!("x"), json!(1), json!([]), json!(null), json!(true)] {
        for actions in [&["publish"][..], &["subscribe"], &["fly"]] {
            let wrong = detail(actions, json!([exactly("a")]));
            assert_invalidates(&with(wrong, json!({ "payload": payload })), "Payload");
        }
    }
}

#[test]
fn unknown_members_are_ignored() {
    let topics = json!([{ "match": "a", "foo": 1, "matchType": "urlpattern" }]);
    let detail = with(
        detail(&["publish"], topics),
        json!({ "locations": ["x"], "datatypes": 1, "identifier": "x", "foo": null }),
    );

    let access = access(json!([detail]));

    assert!(may_publish(&access, "a"));
    assert!(!may_publish(&access, "b"));
}

#[test]
fn a_token_that_exceeds_a_limit_is_invalid() {
    let token_verifier = token_verifier();
    let foreign = json!({ "type": "foreign" });
    let matchers = |count| detail(&["subscribe"], json!(vec![exactly("a"); count]));
    let long = |length| detail(&["subscribe"], json!([exactly(&"x".repeat(length))]));
    let long_pattern =
        |length: usize| detail(&["subscribe"], json!([pattern(&"/".repeat(length))]));

    for (details, expected) in [
        (json!(vec![all(); RULES.details]), "good"),
        (json!(vec![all(); RULES.details + 1]), "TooMany"),
        (
            json!([vec![foreign; 20], vec![all(); RULES.details]].concat()),
            "good",
        ),
        (json!([matchers(RULES.topics)]), "good"),
        (json!([matchers(RULES.topics + 1)]), "TooManyTopics"),
        (json!([long(RULES.pattern)]), "good"),
        (json!([long(RULES.pattern + 1)]), "Matcher(TooLong(64))"),
        (json!([long_pattern(RULES.pattern)]), "good"),
        (
            json!([long_pattern(RULES.pattern + 1)]),
            "Matcher(TooLong(64))",
        ),
    ] {
        assert_eq!(verdict(&token_verifier, &token(details)), expected);
    }
}

#[test]
fn patterns_that_together_are_too_complex_make_the_token_invalid() {
    let rules = TokenRules {
        details: 20,
        topics: 100,
        ..RULES
    };
    let token_verifier = TokenVerifier::new(hub(), rules);
    token_verifier.trust(&[pem(ISSUER, "p256")]).unwrap();
    let detail = |count, pattern: &str| {
        let patterns = (0..count).map(|n| self::pattern(&format!("/{n}/{pattern}")));
        detail(&["subscribe"], patterns.collect())
    };

    for (details, expected) in [
        (json!([detail(50, ":id")]), "good"),
        (json!([detail(10, "([a-z]{300})")]), "good"),
        (json!([detail(50, "([a-z]{300})")]), "Matcher(TooMuch)"),
        (
            json!([detail(20, "([a-z]{300})"), detail(20, "([a-z]{300})")]),
            "Matcher(TooMuch)",
        ),
    ] {
        assert_eq!(verdict(&token_verifier, &token(details)), expected);
    }
}
