//! Who may publish what (Mercure, chapter Publishers), and the error for those who may not.

use serde_json::{Value, json};

use crate::support::mercure::{
    HUB, METADATA, MercureHub, PATH, bearer, detail, form, grant, now, signed_as, token,
    token_until, until_marker,
};

/// The challenge with this error code.
fn challenge(error: &str) -> String {
    format!("Bearer error=\"{error}\", {METADATA}")
}

#[test]
fn without_a_token_the_challenge_names_no_error() {
    let hub = MercureHub::start();

    for headers in [
        "",
        "Authorization: Basic dTpw\r\n",
        "Authorization: DPoP x\r\n",
    ] {
        let answer = hub.ask("POST", PATH, headers, "topic=a");

        answer.assert_refuses(401, headers);
        let expected = format!("Bearer {METADATA}");
        assert_eq!(answer.header("www-authenticate"), Some(&*expected));
    }
}

#[test]
fn a_token_in_the_url_or_the_form_is_ignored() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));

    for name in ["access_token", "authorization"] {
        let target = format!("{PATH}?{name}={token}");
        hub.ask("POST", &target, "", "topic=a")
            .assert_refuses(401, name);
        hub.ask("POST", PATH, "", &format!("topic=a&{name}={token}"))
            .assert_refuses(401, name);
    }
}

#[test]
fn every_token_without_a_valid_signature_gets_the_same_response() {
    let hub = MercureHub::start();
    let good = token(json!([grant("publish", &["*"])]));
    let (message, _) = good.rsplit_once('.').unwrap();
    let expired = token_until(now() as u64 - 1, json!([grant("publish", &["*"])]));
    let (expired, _) = expired.rsplit_once('.').unwrap();
    let stranger = signed_as("at+jwt", &json!({ "iss": "https://stranger.example" }));
    let long = "x".repeat(9000);

    let tokens = [
        "x",
        "a.b.c",
        &format!("{message}."),
        &format!("{expired}.{}", "A".repeat(43)),
        &stranger,
        &long,
    ];
    let answers = tokens.map(|token| hub.ask("POST", PATH, &bearer(token), "topic=a"));

    for (answer, token) in answers.iter().zip(tokens) {
        answer.assert_refuses(401, token);
        let header = answer.header("www-authenticate");
        assert_eq!(header, Some(&*challenge("invalid_token")));
        assert_eq!(answer.body, answers[0].body);
        assert!(!answer.body.contains("invalid_token"), "{answer:?}");
    }
}

#[test]
fn the_response_to_a_signed_token_names_the_failed_check() {
    let hub = MercureHub::start();
    let details = json!([grant("publish", &["*"])]);
    let claims = |members: Value| {
        let mut claims = json!({
            "iss": "https://example.com",
            "aud": HUB,
            "exp": now() as u64 + 60,
            "authorization_details": details,
        });
        let members = members.as_object().unwrap().clone();
        claims.as_object_mut().unwrap().extend(members);
        claims
    };
    let malformed = json!([grant("publish", &["*"]), grant("fly", &[])]);
    let elsewhere = json!({ "aud": "https://elsewhere.example" });
    for (typ, members, expected) in [
        ("JWT", json!({}), "the `typ` of its header is not at+jwt"),
        ("at+jwt", json!({ "exp": 1 }), "it has expired"),
        ("at+jwt", json!({ "nbf": now() + 60.0 }), "not valid yet"),
        ("at+jwt", json!({ "exp": null }), "no claim `exp`"),
        ("at+jwt", elsewhere, HUB),
        (
            "at+jwt",
            json!({ "authorization_details": malformed }),
            "a detail's topics",
        ),
    ] {
        let token = signed_as(typ, &claims(members));
        let answer = hub.ask("POST", PATH, &bearer(&token), "topic=a");

        answer.assert_refuses(401, expected);
        let header = answer.header("www-authenticate");
        assert_eq!(header, Some(&*challenge("invalid_token")), "{expected}");
        assert!(
            answer.body.contains(expected),
            "{expected}: {}",
            answer.body
        );
    }
    let without = json!({ "iss": "https://example.com", "aud": HUB, "exp": now() as u64 + 60 });
    let without = signed_as("at+jwt", &without);
    let answer = hub.ask("POST", PATH, &bearer(&without), "topic=a");
    answer.assert_refuses(403, "no details");
    assert!(
        answer.body.contains("authorization_details"),
        "{}",
        answer.body
    );
}

#[test]
fn a_malformed_authorization_is_a_bad_request() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));

    for headers in [
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Bearer {token} {token}\r\n"),
        format!("Authorization: Bearer {token},{token}\r\n"),
        "Authorization: Bearer a\"b\r\n".to_owned(),
        "Authorization: Bearer \u{e9}\r\n".to_owned(),
        bearer(&token).repeat(2),
        format!("{}Authorization: Basic dTpw\r\n", bearer(&token)),
    ] {
        let answer = hub.ask("POST", PATH, &headers, "topic=a");

        answer.assert_refuses(400, &headers);
        let header = answer.header("www-authenticate");
        assert_eq!(header, Some(&*challenge("invalid_request")), "{headers}");
    }
}

#[test]
fn the_authorization_scheme_is_case_insensitive() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));

    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "] {
        let header = format!("Authorization: {scheme} {token}\r\n");
        let answer = hub.ask("POST", PATH, &header, "topic=a");

        assert_eq!(answer.status(), 200, "{scheme}: {answer:?}");
    }
}

#[test]
fn a_token_must_allow_every_topic_of_the_update() {
    let hub = MercureHub::start();
    let pattern = json!([{ "match": "https://example.com/:x", "match_type": "urlpattern" }]);
    let all = token(json!([grant("subscribe", &["*"])]));
    let mut stream = hub.subscribe_with("match=*", &all);

    for (grants, allowed, refused) in [
        (
            json!([grant("publish", &["a"])]),
            &["a", "a a"][..],
            &["b", "a b", "b a", "A"][..],
        ),
        (
            json!([grant("publish", &["a", "b"])]),
            &["a", "b", "a b"],
            &["c", "a b c"],
        ),
        (
            json!([grant("publish", &["a"]), grant("publish", &["b"])]),
            &["a b"],
            &["c"],
        ),
        (
            json!([grant("publish", &["a"]), grant("subscribe", &["b"])]),
            &["a"],
            &["b", "a b"],
        ),
        (
            json!([grant("publish", &["*"])]),
            &["a", "a https://[bad urn:x"],
            &[],
        ),
        (
            json!([detail(&["publish"], pattern)]),
            &[
                "https://example.com/foo",
                "https://example.com/foo https://example.com/bar",
            ],
            &[
                "https://example.com/a/b",
                "https://example.com/foo https://example.com/a/b",
                "foo",
            ],
        ),
        (json!([grant("subscribe", &["*"])]), &[], &["a"]),
        (json!([]), &[], &["a"]),
    ] {
        let token = token(grants.clone());
        let post = |topics: &str| {
            let topics: Vec<_> = topics.split(' ').map(|topic| ("topic", topic)).collect();
            hub.ask("POST", PATH, &bearer(&token), &form(&topics))
        };
        for topics in allowed {
            assert_eq!(post(topics).status(), 200, "{grants}: {topics:?}");
            stream.event();
        }
        for topics in refused {
            let answer = post(topics);
            answer.assert_refuses(403, topics);
            let header = answer.header("www-authenticate");
            assert_eq!(header, Some(&*challenge("insufficient_scope")));
            assert!(!answer.body.contains("insufficient_scope"), "{answer:?}");
        }
    }
    hub.publisher().mark();

    assert_eq!(until_marker(&mut stream), [""; 0], "what was refused");
}

#[test]
fn an_invalid_update_is_a_bad_request_before_its_topics_are_authorized() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["a"])]));

    for form in [
        "topic=*",
        "topic=/.well-known/mercure/x",
        "topic=b&type=mercure",
        "data=x",
    ] {
        let answer = hub.ask("POST", PATH, &bearer(&token), form);

        answer.assert_refuses(400, form);
        assert_eq!(answer.header("www-authenticate"), None, "{form}");
    }
}

#[test]
fn a_missing_or_invalid_token_is_reported_before_an_invalid_update() {
    let hub = MercureHub::start();

    for form in ["topic=*", "topic=/.well-known/mercure/x", "data=x"] {
        hub.ask("POST", PATH, "", form).assert_refuses(401, form);
        hub.ask("POST", PATH, &bearer("x"), form)
            .assert_refuses(401, form);
    }
}

#[test]
fn only_a_post_to_the_hubs_path_publishes() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));

    for target in ["/events/sse", "/status"] {
        hub.ask("POST", target, &bearer(&token), "topic=a")
            .assert_refuses(405, target);
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let answer = hub.ask(method, PATH, &bearer(&token), "topic=a");
        answer.assert_refuses(405, method);
        assert_eq!(
            answer.header("allow"),
            Some("GET, HEAD, QUERY, POST, OPTIONS")
        );
    }
}
