//! Tests the registered claims (RFC 7519), such as `exp` and `aud`.

use super::*;

fn signed(members: Value) -> String {
    sign(&header(), &with(claims(), members), "p256")
}

#[test]
fn a_token_is_valid_until_its_exp() {
    let token_verifier = token_verifier();

    for (exp, expected) in [
        (json!(NOW - 1), "Expired"),
        (json!(NOW), "Expired"),
        (json!(NOW + 1), "good"),
        (json!(NOW as f64 + 1.5), "good"),
        (json!(9_007_199_254_740_993_u64), "good"),
        (json!(u64::MAX), "good"),
        (json!(0), "Expired"),
        (json!(-1), "Missing"),
        (json!(1e20), "Missing"),
        (json!("9999999999"), "Json"),
        (json!(null), "Missing"),
        (json!(true), "Json"),
        (json!({}), "Json"),
        (json!([]), "Json"),
    ] {
        let token = signed(json!({ "exp": exp }));
        assert_eq!(verdict(&token_verifier, &token), expected, "{exp}");
    }
    let token = sign(&header(), &without(claims(), "exp"), "p256");
    assert_eq!(verdict(&token_verifier, &token), "Missing");
}

#[test]
fn a_cached_token_still_expires() {
    let token_verifier = token_verifier();
    let token = signed(json!({ "exp": NOW + 300, "nbf": NOW }));
    let end = (NOW + 300) as f64;

    for (now, expected) in [
        (NOW as f64, "good"),
        (end - 0.001, "good"),
        (end, "Expired"),
        (end + 1.0, "Expired"),
        (NOW as f64 - 5.0, "good"),
        (NOW as f64 - 5.5, "NotYet"),
    ] {
        assert_eq!(verdict_at(&token_verifier, &token, now), expected, "{now}");
    }
}

#[test]
fn access_contains_when_the_token_expires() {
    let token = signed(json!({ "exp": NOW as f64 + 10.5 }));

    let access = token_verifier().verify_at(&token, NOW as f64).unwrap();

    assert_eq!(access.expires_at, Some(NOW + 10));
}

#[test]
fn a_token_is_refused_before_its_nbf() {
    let token_verifier = token_verifier();

    for (nbf, expected) in [
        (json!(0), "good"),
        (json!(-1), "good"),
        (json!(NOW), "good"),
        (json!(NOW + 5), "good"),
        (json!(NOW + 6), "NotYet"),
        (json!(NOW + 600), "NotYet"),
        (json!(1e300), "NotYet"),
        (json!("1"), "Json"),
        (json!({}), "Json"),
        (json!([1]), "Json"),
        (json!(null), "Json"),
    ] {
        let token = signed(json!({ "nbf": nbf }));
        assert_eq!(verdict(&token_verifier, &token), expected, "{nbf}");
    }
}

#[test]
fn a_token_is_for_this_hub() {
    let token_verifier = token_verifier();

    for (aud, expected) in [
        (json!(HUB), "good"),
        (json!([HUB]), "good"),
        (json!(["x", HUB]), "good"),
        (json!("x"), "Audience"),
        (json!(["x"]), "Audience"),
        (json!([]), "Audience"),
        (json!(""), "Audience"),
        (json!(format!("{HUB}/")), "Audience"),
        (
            json!("HTTPS://hub.example.com/.well-known/mercure"),
            "Audience",
        ),
        (
            json!("https://hub.example.com:443/.well-known/mercure"),
            "Audience",
        ),
        (
            json!("http://hub.example.com/.well-known/mercure"),
            "Audience",
        ),
        (
            json!("https://hub.example.com/.well-known/%6Dercure"),
            "Audience",
        ),
        (json!("https://hub.example.com"), "Audience"),
        (json!([format!(" {HUB}")]), "Audience"),
        (json!(null), "Missing"),
        (json!(1), "Missing"),
        (json!({ HUB: 1 }), "Missing"),
        (json!([HUB, 1]), "Missing"),
        (json!([[HUB]]), "Missing"),
    ] {
        let token = signed(json!({ "aud": aud }));
        assert_eq!(verdict(&token_verifier, &token), expected, "{aud}");
    }
    let token = sign(&header(), &without(claims(), "aud"), "p256");
    assert_eq!(verdict(&token_verifier, &token), "Missing");
}

#[test]
fn each_issuer_signs_with_its_own_keys() {
    let token_verifier = token_verifier();

    for (iss, key, expected) in [
        (json!(ISSUER), "p256", "good"),
        (json!(OTHER_ISSUER), "p256-other", "good"),
        (json!(OTHER_ISSUER), "p256", "Signature"),
        (json!(ISSUER), "p256-other", "Signature"),
        (json!("https://evil.example"), "p256", "Issuer"),
        (json!("https://example.com/"), "p256", "Issuer"),
        (json!("https://EXAMPLE.com"), "p256", "Issuer"),
        (json!("http://example.com"), "p256", "Issuer"),
        (json!(""), "p256", "Issuer"),
        (json!([ISSUER]), "p256", "Claims"),
        (json!([OTHER_ISSUER, ISSUER]), "p256", "Claims"),
        (json!(null), "p256", "Issuer"),
        (json!(1), "p256", "Claims"),
    ] {
        let token = sign(&header(), &with(claims(), json!({ "iss": iss })), key);
        assert_eq!(verdict(&token_verifier, &token), expected, "{iss} {key}");
    }
    let token = sign(&header(), &without(claims(), "iss"), "p256");
    assert_eq!(verdict(&token_verifier, &token), "Issuer");
}

#[test]
fn claims_that_the_verifier_does_not_use_are_ignored() {
    let token_verifier = token_verifier();

    for member in ["sub", "client_id", "iat", "jti"] {
        let token = sign(&header(), &without(claims(), member), "p256");
        assert_eq!(verdict(&token_verifier, &token), "good", "{member}");
    }
    for members in [
        json!({ "iat": NOW + 3600 }),
        json!({ "sub": 1 }),
        json!({ "scope": "x", "mercure": { "publish": 1 } }),
    ] {
        let token = signed(members.clone());
        assert_eq!(verdict(&token_verifier, &token), "good", "{members}");
    }
}

#[test]
fn json_that_is_malformed_or_ambiguous_is_refused() {
    let token_verifier = token_verifier();
    let key = signing_key("p256");
    let head = header().to_string();
    let payload = claims().to_string();
    let deep = format!("{{\"iss\":\"{ISSUER}\",\"x\":{}", "[".repeat(3000));

    for (head, payload, expected) in [
        ("", &*payload, "Header"),
        ("[]", &payload, "Header"),
        ("\u{feff}{}", &payload, "Header"),
        (
            r#"{"alg":"ES256","alg":"ES256","typ":"at+jwt"}"#,
            &payload,
            "Header",
        ),
        (&head, "", "Claims"),
        (&head, "[]", "Claims"),
        (&head, "\"x\"", "Claims"),
        (&head, &payload[1..], "Claims"),
        (&head, &deep, "Claims"),
        (&head, &payload.replacen('{', r#"{"iss":"x","#, 1), "Claims"),
        (&head, &payload.replacen('{', r#"{"exp":1,"#, 1), "Json"),
        (&head, &payload.replacen('{', r#"{"nbf":1e400,"#, 1), "Json"),
        (&head, &format!(r#"["{ISSUER}"]"#), "Claims"),
    ] {
        let token = sign_bytes(head.as_bytes(), payload.as_bytes(), &key);
        assert_eq!(
            verdict(&token_verifier, &token),
            expected,
            "{head} {payload}"
        );
    }
    let token = sign_bytes(b"\xff\xff", payload.as_bytes(), &key);
    assert_eq!(verdict(&token_verifier, &token), "Header");
}
