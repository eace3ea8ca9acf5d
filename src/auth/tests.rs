//! Tests which tokens are accepted. Each row of a table changes one thing in a valid token.

mod claims;
mod details;
mod keys;
mod legacy;
mod payloads;
mod scopes;

use std::{path::PathBuf, time::Duration};

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::issuer::KeySource;
use super::*;
use crate::{auth::invalid_token::InvalidToken, matching::HubUrl};

const HUB: &str = "https://hub.example.com/.well-known/mercure";
const NOW: u64 = 1_800_000_000;
/// This issuer has a P-256, an RSA and an Ed25519 key.
const ISSUER: &str = "https://example.com";
/// This issuer has the key `p256-other`.
const OTHER_ISSUER: &str = "https://other.example";
const RULES: TokenRules = TokenRules {
    legacy: false,
    bytes: 8192,
    details: 3,
    topics: 3,
    pattern: 64,
    revocation_ttl: Duration::from_secs(3600),
};

fn hub() -> HubUrl {
    HubUrl::parse(HUB).unwrap()
}

fn key_file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys")).join(name)
}

fn issuer(name: &str, key: KeySource) -> IssuerConfig {
    IssuerConfig::new(name.to_owned(), key)
}

fn pem(issuer_name: &str, key: &str) -> IssuerConfig {
    let path = key_file(&format!("{key}.pub.pem"));
    issuer(issuer_name, KeySource::PemFile(path))
}

fn trusting(issuers: &[IssuerConfig]) -> TokenVerifier {
    let token_verifier = TokenVerifier::new(hub(), RULES);
    token_verifier.trust(issuers).unwrap();
    token_verifier
}

fn token_verifier() -> TokenVerifier {
    trusting(&[
        pem(ISSUER, "p256"),
        pem(OTHER_ISSUER, "p256-other"),
        pem(ISSUER, "rsa2048"),
        pem(ISSUER, "ed25519"),
    ])
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": HUB,
        "sub": "urn:uuid:bb3de268-05b0-4c65-b44e-8f9acefc29d6",
        "client_id": ISSUER,
        "iat": NOW,
        "exp": NOW + 300,
        "jti": "urn:uuid:5ad8cee0-2a0d-4c3e-8a5e-6c4dfb1d5d6c",
        "authorization_details": [{
            "type": DETAIL_TYPE,
            "actions": ["publish", "subscribe"],
            "topics": [{ "match": "*" }],
        }],
    })
}

/// The object with these members added or replaced.
fn with(mut object: Value, members: Value) -> Value {
    let members = members.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(members);
    object
}

fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().unwrap().remove(member).unwrap();
    object
}

/// Encodes bytes as base64url without padding (RFC 7515, section 2).
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(chunk.get(at).copied().unwrap_or(0))
        });
        let digits = (0..=chunk.len()).map(|at| ALPHABET[bits >> (18 - 6 * at) & 63]);
        text.extend(digits.map(char::from));
    }
    text
}

/// Loads a private key and its algorithm.
fn signing_key(name: &str) -> (Algorithm, EncodingKey) {
    let file = std::fs::read(key_file(&format!("{name}.pem"))).unwrap();
    match name {
        "ed25519" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&file).unwrap()),
        "rsa2048" => (Algorithm::RS256, EncodingKey::from_rsa_pem(&file).unwrap()),
        "p384" => (Algorithm::ES384, EncodingKey::from_ec_pem(&file).unwrap()),
        _ => (Algorithm::ES256, EncodingKey::from_ec_pem(&file).unwrap()),
    }
}

fn sign_bytes(header: &[u8], claims: &[u8], (algorithm, key): &(Algorithm, EncodingKey)) -> String {
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let signature = crypto::sign(message.as_bytes(), key, *algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A token that is signed with this key, even if its header names another algorithm.
fn sign(header: &Value, claims: &Value, key: &str) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    sign_bytes(header.as_bytes(), claims.as_bytes(), &signing_key(key))
}

fn mac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    let key = (Algorithm::HS256, EncodingKey::from_secret(secret));
    sign_bytes(header.as_bytes(), claims.as_bytes(), &key)
}

/// Returns `good`, or the name of the error.
fn verdict_at(token_verifier: &TokenVerifier, token: &str, now: f64) -> String {
    let reason = match token_verifier.verify_at(token, now) {
        Ok(_) => return "good".to_owned(),
        Err(InvalidToken::Details(reason)) => return format!("{reason:?}"),
        Err(InvalidToken::Invalid(err)) => format!("{:?}", err.kind()),
        Err(reason) => format!("{reason:?}"),
    };
    reason.split('(').next().unwrap().to_owned()
}

fn verdict(token_verifier: &TokenVerifier, token: &str) -> String {
    verdict_at(token_verifier, token, NOW as f64)
}

#[test]
fn each_kind_of_key_verifies_its_own_algorithm() {
    let token_verifier = token_verifier();

    for (algorithm, key, expected) in [
        ("ES256", "p256", "good"),
        ("RS256", "rsa2048", "good"),
        ("EdDSA", "ed25519", "good"),
        ("ES256", "p256-other", "Signature"),
        ("RS256", "p256", "Signature"),
        ("ES256", "rsa2048", "Signature"),
        ("EdDSA", "p256", "Signature"),
        ("HS256", "p256", "NoKey"),
        ("ES384", "p256", "NoKey"),
        ("PS256", "rsa2048", "Signature"),
        ("RS512", "rsa2048", "Signature"),
    ] {
        let token = sign(
            &json!({ "alg": algorithm, "typ": "at+jwt" }),
            &claims(),
            key,
        );
        assert_eq!(
            verdict(&token_verifier, &token),
            expected,
            "{algorithm} {key}"
        );
    }
}

#[test]
fn the_type_is_at_jwt_in_any_spelling() {
    let token_verifier = token_verifier();

    for (typ, expected) in [
        (json!("at+jwt"), "good"),
        (json!("AT+JWT"), "good"),
        (json!("At+Jwt"), "good"),
        (json!("application/at+jwt"), "good"),
        (json!("APPLICATION/AT+JWT"), "good"),
        (json!("JWT"), "Type"),
        (json!("jwt"), "Type"),
        (json!("at+jwt;x"), "Type"),
        (json!(" at+jwt"), "Type"),
        (json!("application/"), "Type"),
        (json!("application/application/at+jwt"), "Type"),
        (json!("text/at+jwt"), "Type"),
        (json!("logout+jwt"), "Type"),
        (json!("applicatio\u{fc}/at+jwt"), "Type"),
        (json!(""), "Type"),
        (json!(null), "Type"),
        (json!(1), "Header"),
        (json!(["at+jwt"]), "Header"),
    ] {
        let token = sign(&with(header(), json!({ "typ": typ })), &claims(), "p256");
        assert_eq!(verdict(&token_verifier, &token), expected, "{typ}");
    }
    let token = sign(&without(header(), "typ"), &claims(), "p256");
    assert_eq!(verdict(&token_verifier, &token), "Type");
}

#[test]
fn a_token_without_a_known_algorithm_is_refused() {
    let token_verifier = token_verifier();

    for algorithm in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("es256"),
        json!("A128GCM"),
        json!(""),
        json!(null),
        json!(1),
        json!(["ES256"]),
    ] {
        let header = with(header(), json!({ "alg": algorithm }));
        let signed = sign(&header, &claims(), "p256");
        let (message, _) = signed.rsplit_once('.').unwrap();
        assert_eq!(verdict(&token_verifier, &signed), "Header", "{algorithm}");
        let unsigned = verdict(&token_verifier, &format!("{message}."));
        assert_eq!(unsigned, "Header", "{algorithm}");
    }
    let token = sign(&without(header(), "alg"), &claims(), "p256");
    assert_eq!(verdict(&token_verifier, &token), "Header");
}

#[test]
fn a_public_key_is_never_used_as_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret of more than thirty-two bytes").unwrap();
    let mixed = trusting(&[
        pem(ISSUER, "p256"),
        pem(ISSUER, "rsa2048"),
        issuer(ISSUER, KeySource::SecretFile(secret)),
    ]);
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });

    for name in ["p256.pub.pem", "rsa2048.pub.pem", "ed25519.pub.pem"] {
        let public = std::fs::read(key_file(name)).unwrap();
        for secret in [&*public, public.trim_ascii_end()] {
            let token = mac(&header, &claims(), secret);
            assert_eq!(verdict(&token_verifier(), &token), "NoKey", "{name}");
            assert_eq!(verdict(&mixed, &token), "Signature", "{name}");
        }
    }
    let token = mac(
        &header,
        &claims(),
        b"a secret of more than thirty-two bytes",
    );
    assert_eq!(verdict(&mixed, &token), "good");
}

#[test]
fn crit_is_refused_and_unknown_header_members_are_ignored() {
    let token_verifier = token_verifier();
    let (_, other) = signing_key("p256-other");
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&other, Algorithm::ES256).unwrap();

    for (members, key, expected) in [
        (json!({ "crit": ["x"] }), "p256", "Critical"),
        (json!({ "crit": ["exp"] }), "p256", "Critical"),
        (json!({ "crit": [] }), "p256", "Critical"),
        (json!({ "crit": ["b64"], "b64": false }), "p256", "Critical"),
        (json!({ "crit": "x" }), "p256", "Header"),
        (json!({ "jwk": jwk }), "p256", "good"),
        (json!({ "jwk": jwk }), "p256-other", "Signature"),
        (
            json!({ "jku": "http://x.example" }),
            "p256-other",
            "Signature",
        ),
        (
            json!({ "x5u": "http://x.example" }),
            "p256-other",
            "Signature",
        ),
        (json!({ "kid": "../../etc/passwd" }), "p256", "good"),
        (json!({ "kid": 1 }), "p256", "Header"),
        (json!({ "foo": "1" }), "p256", "good"),
        (json!({ "foo": 1 }), "p256", "good"),
    ] {
        let token = sign(&with(header(), members.clone()), &claims(), key);
        assert_eq!(
            verdict(&token_verifier, &token),
            expected,
            "{members} {key}"
        );
    }
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let token_verifier = token_verifier();
    let token = sign(&header(), &claims(), "p256");
    let parts: Vec<_> = token.split('.').collect();
    let [head, payload, signature] = parts[..] else {
        unreachable!()
    };
    let wider = base64url(with(claims(), json!({ "sub": "x" })).to_string().as_bytes());
    let head_with_kid = base64url(with(header(), json!({ "kid": "x" })).to_string().as_bytes());
    let zeros = base64url(&[0; 64]);

    for (changed, expected) in [
        (token.clone(), "good"),
        (format!("{head}.{wider}.{signature}"), "Signature"),
        (
            format!("{head_with_kid}.{payload}.{signature}"),
            "Signature",
        ),
        (format!("{head}.{payload}.{zeros}"), "Signature"),
        (format!("{head}.{payload}."), "Signature"),
        (format!("{head}.{payload}.{}", &signature[4..]), "Signature"),
        (format!("{head}.{payload}.{signature}AAAA"), "Signature"),
        (format!("{head}.{payload}.{signature}="), "Signature"),
        (
            format!("{head}.{payload}.+{}", &signature[1..]),
            "Signature",
        ),
        (format!("{head}.{payload}"), "Header"),
        (head.to_owned(), "Header"),
        (format!("{token}.x"), "Header"),
        (format!(" {token}"), "Header"),
        (format!("{head}..{signature}"), "Claims"),
        (format!(".{payload}.{signature}"), "Header"),
        (String::new(), "Header"),
        ("..".to_owned(), "Header"),
        ("a.b.c".to_owned(), "Header"),
    ] {
        assert_eq!(verdict(&token_verifier, &changed), expected, "{changed}");
    }
}

#[test]
fn a_token_that_is_too_long_is_refused() {
    let token = sign(&header(), &claims(), "p256");

    for (bytes, expected) in [(token.len(), "good"), (token.len() - 1, "TooLong")] {
        let token_verifier = TokenVerifier::new(hub(), TokenRules { bytes, ..RULES });
        token_verifier.trust(&[pem(ISSUER, "p256")]).unwrap();
        assert_eq!(verdict(&token_verifier, &token), expected);
    }
}
