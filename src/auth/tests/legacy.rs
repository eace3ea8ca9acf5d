//! Tests tokens of older protocol versions.

use serde::Deserialize as _;

use super::*;
use crate::{auth::legacy::MercureClaim, matching::Compiler};

/// The verdict of a verifier that accepts legacy tokens and trusts these issuers.
fn verdict_of(issuers: &[IssuerConfig], header: &Value, claims: &Value) -> String {
    let rules = TokenRules {
        legacy: true,
        ..RULES
    };
    let token_verifier = TokenVerifier::new(hub(), rules);
    token_verifier.trust(issuers).unwrap();
    verdict(&token_verifier, &sign(header, claims, "p256"))
}

fn one_issuer() -> Vec<IssuerConfig> {
    vec![pem(ISSUER, "p256")]
}

fn legacy_header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT" })
}

fn legacy_claims() -> Value {
    json!({ "mercure": { "publish": ["*"], "subscribe": ["/books/{id}"] } })
}

#[test]
fn legacy_tokens_are_valid_only_if_the_rules_accept_them() {
    let issuers = one_issuer();

    assert_eq!(
        verdict_of(&issuers, &legacy_header(), &legacy_claims()),
        "good"
    );
    let strict = trusting(&issuers);
    let token = sign(&legacy_header(), &legacy_claims(), "p256");
    assert_eq!(verdict(&strict, &token), "LegacyDisabled");
}

#[test]
fn claims_that_are_present_must_be_valid() {
    for (members, expected) in [
        (json!({}), "good"),
        (json!({ "iss": ISSUER }), "good"),
        (json!({ "iss": "https://other.example" }), "Issuer"),
        (json!({ "iss": 1 }), "Claims"),
        (json!({ "aud": HUB }), "good"),
        (json!({ "aud": "https://other.example" }), "Audience"),
        (json!({ "aud": 5 }), "Missing"),
        (json!({ "aud": [5, HUB] }), "Missing"),
        (json!({ "aud": null }), "good"),
        (json!({ "exp": NOW + 1 }), "good"),
        (json!({ "exp": NOW }), "Expired"),
        (json!({ "exp": "never" }), "Json"),
        (json!({ "nbf": NOW + 60 }), "NotYet"),
        (json!({ "mercure": {} }), "good"),
        (
            json!({ "mercure": { "publish": [] , "payload": { "a": 1 } } }),
            "good",
        ),
        (json!({ "mercure": null }), "NoClaim"),
        (json!({ "mercure": "all" }), "LegacyClaim"),
        (json!({ "mercure": [["*"], ["*"], null] }), "LegacyClaim"),
        (json!({ "mercure": { "publish": "*" } }), "LegacyClaim"),
        (json!({ "mercure": { "publish": [1] } }), "LegacyClaim"),
        (json!({ "mercure": { "publish": [{}] } }), "LegacyClaim"),
        (
            json!({ "mercure": { "publish": [{ "match": "a", "match_type": "regex" }] } }),
            "MatchType",
        ),
        (
            json!({ "mercure": 1, "https://mercure.rocks/": {} }),
            "good",
        ),
        (json!({ "https://mercure.rocks/": 1 }), "LegacyClaim"),
        (json!({ "https://mercure.rocks/": null }), "good"),
        (json!({ "mercure": { "publish": [""] } }), "Matcher(Empty)"),
        (
            json!({ "mercure": { "publish": ["/{x:9999}"] } }),
            "Matcher(Template)",
        ),
        (
            json!({ "mercure": { "subscribe": ["a", "b", "c"] } }),
            "good",
        ),
        (
            json!({ "mercure": { "subscribe": ["a", "b", "c", "d"] } }),
            "TooManyTopics",
        ),
    ] {
        let claims = with(legacy_claims(), members.clone());
        assert_eq!(
            verdict_of(&one_issuer(), &legacy_header(), &claims),
            expected,
            "{members}"
        );
    }
    let nothing = json!({});
    assert_eq!(
        verdict_of(&one_issuer(), &legacy_header(), &nothing),
        "NoClaim"
    );
}

#[test]
fn a_token_without_an_issuer_requires_a_single_trusted_issuer() {
    let two = [pem(ISSUER, "p256"), pem(OTHER_ISSUER, "p256-other")];

    assert_eq!(
        verdict_of(&two, &legacy_header(), &legacy_claims()),
        "Issuer"
    );
    let named = with(legacy_claims(), json!({ "iss": ISSUER }));
    assert_eq!(verdict_of(&two, &legacy_header(), &named), "good");
}

#[test]
fn authorization_details_take_precedence_and_require_the_type() {
    let with_both = with(claims(), json!({ "mercure": { "publish": 1 } }));
    for (header, claims, expected) in [
        (header(), legacy_claims(), "good"),
        (header(), claims(), "good"),
        (header(), with_both, "good"),
        (legacy_header(), claims(), "Type"),
        (json!({ "alg": "ES256" }), legacy_claims(), "good"),
        (
            legacy_header(),
            with(legacy_claims(), json!({ "authorization_details": [] })),
            "good",
        ),
        (
            json!({ "alg": "ES256", "crit": ["x"], "x": 1 }),
            legacy_claims(),
            "Critical",
        ),
        (json!({ "alg": "HS256" }), legacy_claims(), "NoKey"),
    ] {
        assert_eq!(
            verdict_of(&one_issuer(), &header, &claims),
            expected,
            "{header} {claims}"
        );
    }
}

#[test]
fn an_entry_may_be_a_matcher_with_its_own_payload() {
    let claim = json!({
        "publish": ["/a/{id}", { "match": "/b/:id", "match_type": "urlpattern" }],
        "subscribe": [
            { "match": "/c/{id}", "payload": { "of": "c" } },
            { "match": "/d/:id", "match_type": "urlpattern" },
        ],
        "payload": { "of": "all" },
    });
    let claim = MercureClaim::deserialize(claim).unwrap();
    let access = claim
        .access(&mut Compiler::new(hub()).begin(), &RULES)
        .unwrap();

    for (topic, publish, read, payload) in [
        ("/a/1", true, false, "all"),
        ("/b/1", true, false, "all"),
        ("/c/{id}", false, true, "c"),
        ("/c/1", false, false, "all"),
        ("/d/1", false, true, "all"),
    ] {
        let parsed = crate::event::Topic::parse(topic).unwrap();
        assert_eq!(access.may_publish(&parsed, &hub()), publish, "{topic}");
        assert_eq!(access.may_read(topic, &hub()), read, "{topic}");
        let expected = json!({ "of": payload });
        assert_eq!(
            access.payload(topic, &hub()),
            Some(&*expected.to_string()),
            "{topic}"
        );
    }
}

#[test]
fn a_selector_is_a_topic_or_a_template() {
    let claim = json!({
        "publish": ["/a", "/b/{id}"],
        "subscribe": ["/{x}", "/c{"],
        "payload": { "user": 1 },
    });
    let claim = MercureClaim::deserialize(claim).unwrap();
    let access = claim
        .access(&mut Compiler::new(hub()).begin(), &RULES)
        .unwrap();

    for (topic, publish, read) in [
        ("/a", true, true),
        ("/b/1", true, false),
        ("/b/{id}", true, false),
        ("/b/1/2", false, false),
        ("/c{", false, true),
        ("/c/d", false, false),
    ] {
        let parsed = crate::event::Topic::parse(topic).unwrap();
        assert_eq!(access.may_publish(&parsed, &hub()), publish, "{topic}");
        assert_eq!(access.may_read(topic, &hub()), read, "{topic}");
    }
    let payload = access.payload("/anything", &hub());
    assert_eq!(payload, Some(&*json!({ "user": 1 }).to_string()));
}
