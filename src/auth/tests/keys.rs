//! Tests which key files are accepted, and which keys are tried for a token.

mod changes;

use jsonwebtoken::jwk::Jwk;
use tempfile::TempDir;

use super::*;

/// A text in the refused key files. An error must not contain it, because it could be part of a secret.
const CANARY: &str = "c4n4ry";

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A temporary file. It exists until the returned folder is dropped.
fn file(contents: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, contents).unwrap();
    (folder, path)
}

/// The reason in the error for a refused key file. Asserts that the error does not contain `CANARY`.
fn refusal(contents: &[u8], source: fn(PathBuf) -> KeySource) -> String {
    let (_folder, path) = file(contents);
    let token_verifier = TokenVerifier::new(hub(), RULES);
    let shown = path.display().to_string();

    let refused = token_verifier.trust(&[issuer(ISSUER, source(path))]);

    let reason = refused.unwrap_err().to_string();
    assert!(!reason.contains(CANARY), "{reason}");
    let start = format!("auth.issuers, table 1 ({ISSUER}): ");
    let rest = reason.strip_prefix(&start).unwrap();
    let (key, rest) = rest.split_once(" = ").unwrap();
    assert!(["secret_file", "pem_file", "jwks_file"].contains(&key));
    let rest = rest.strip_prefix(&format!("\"{shown}\": ")).unwrap();
    rest.to_owned()
}

/// A public key as a JSON Web Key, with these additional members.
fn jwk(key: &str, members: Value) -> Value {
    let (algorithm, key) = signing_key(key);
    let jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
    let jwk = serde_json::to_value(jwk).unwrap();
    with(without(jwk, "alg"), members)
}

fn secret_jwk(secret: &str, members: Value) -> Value {
    let jwk = json!({ "kty": "oct", "k": base64url(secret.as_bytes()) });
    with(jwk, members)
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

/// A verifier that trusts the keys of a JSON Web Key Set.
fn trusting_set(keys: &[Value]) -> TokenVerifier {
    let (_folder, path) = file(&set(keys));
    trusting(&[issuer(ISSUER, KeySource::JwksFile(path))])
}

fn signed(members: Value, key: &str) -> String {
    sign(&with(header(), members), &claims(), key)
}

#[test]
fn a_secret_needs_32_bytes_without_trailing_whitespace() {
    let short = format!("{CANARY}{}", "x".repeat(31 - CANARY.len()));
    for contents in [
        short.clone(),
        format!("{short}\n"),
        format!("{short}   \r\n"),
    ] {
        let reason = refusal(contents.as_bytes(), KeySource::SecretFile);
        assert!(
            reason.starts_with("a secret must have at least 32 bytes, this has 31; "),
            "{reason}"
        );
    }
    assert!(refusal(b"", KeySource::SecretFile).contains("this has 0"));

    for contents in [SECRET.to_owned(), format!("{SECRET}\n")] {
        let (_folder, path) = file(contents.as_bytes());
        let token_verifier = trusting(&[issuer(ISSUER, KeySource::SecretFile(path))]);
        let header = json!({ "alg": "HS256", "typ": "at+jwt" });

        let token = mac(&header, &claims(), SECRET.as_bytes());
        assert_eq!(verdict(&token_verifier, &token), "good");
        let other = mac(&header, &claims(), &SECRET.as_bytes()[1..]);
        assert_eq!(verdict(&token_verifier, &other), "Signature");
    }
}

#[test]
fn a_public_key_is_refused_as_a_secret() {
    let pem = std::fs::read(key_file("p256.pub.pem")).unwrap();
    let behind_text = [b"Bag Attributes: <No Attributes>\n", &*pem].concat();
    let jwks = set(&[jwk("p256", json!({}))]);

    for contents in [pem, behind_text, jwks] {
        let reason = refusal(&contents, KeySource::SecretFile);

        assert!(reason.ends_with("and no secret"), "{reason}");
    }
}

#[test]
fn a_private_key_is_refused() {
    for name in ["p256", "rsa2048", "ed25519"] {
        let mut contents = std::fs::read(key_file(&format!("{name}.pem"))).unwrap();
        contents.extend(format!("{CANARY}\n").bytes());

        let reason = refusal(&contents, KeySource::PemFile);

        assert!(reason.starts_with("this is a private key; "), "{reason}");
        assert!(reason.contains("openssl pkey"), "{reason}");
    }
}

#[test]
fn a_file_without_a_public_key_is_refused() {
    let public = std::fs::read_to_string(key_file("p256.pub.pem")).unwrap();
    let half = &public[..public.len() / 2];
    let p521 = std::fs::read(key_file("p521.pub.pem")).unwrap();

    for contents in ["", CANARY, half, &set_text()] {
        let reason = refusal(contents.as_bytes(), KeySource::PemFile);
        assert_eq!(
            reason,
            "no public key in PEM form, of RSA, P-256, P-384 or Ed25519"
        );
    }
    let reason = refusal(&p521, KeySource::PemFile);
    assert!(reason.contains("P-256"), "{reason}");
}

fn set_text() -> String {
    String::from_utf8(set(&[jwk("p256", json!({ "kid": CANARY }))])).unwrap()
}

#[test]
fn a_file_without_a_key_set_is_refused() {
    let public = std::fs::read(key_file("p256.pub.pem")).unwrap();

    for contents in [
        &public[..],
        CANARY.as_bytes(),
        b"",
        b"[]",
        br#"{"keys":"c4n4ry"}"#,
        br#"{"keys":["c4n4ry"]}"#,
        jwk("p256", json!({ "kid": CANARY })).to_string().as_bytes(),
    ] {
        let reason = refusal(contents, KeySource::JwksFile);
        assert_eq!(reason, "no JSON Web Key Set (RFC 7517)");
    }
}

#[test]
fn a_key_set_without_a_supported_key_is_refused() {
    let rsa = |members| jwk("rsa2048", members);
    let p521 = json!({ "kty": "EC", "crv": "P-521", "x": "A".repeat(88), "y": "A".repeat(88) });

    for keys in [
        vec![],
        vec![jwk("p256", json!({ "use": "enc", "kid": CANARY }))],
        vec![jwk("p256", json!({ "alg": "ES384" }))],
        vec![rsa(json!({ "alg": "RSA-OAEP-256" }))],
        vec![rsa(json!({ "alg": "of the future" }))],
        vec![p521],
        vec![secret_jwk(SECRET, json!({ "alg": "RS256" }))],
        vec![json!({ "kty": "of the future", "kid": CANARY })],
        vec![json!({ "kid": CANARY })],
    ] {
        let reason = refusal(&set(&keys), KeySource::JwksFile);
        assert!(
            reason.starts_with("no key in it is for one of EdDSA, ES256, "),
            "{keys:?}: {reason}"
        );
    }
}

#[test]
fn the_error_for_an_unusable_key_has_its_index_and_id() {
    let rsa = |members| with(jwk("rsa2048", json!({})), members);
    let p256 = |members| with(jwk("p256", json!({})), members);
    let ed25519 = |members| with(jwk("ed25519", json!({})), members);
    let zeros = |bytes: usize| base64url(&vec![0; bytes]);
    let modulus = |bytes: usize, last: u8| {
        let mut modulus = vec![0xcd; bytes];
        modulus[bytes - 1] = last;
        base64url(&modulus)
    };
    let no_rsa = "it is not a valid RSA public key of 2048 to 8192 bits";
    let no_point = "it is not a point on the curve P-256 or P-384";
    let no_ed25519 = "it is not an Ed25519 public key, which has 32 bytes";
    let no_base64 = "it has a value that is not valid base64url";

    for (key, expected) in [
        (rsa(json!({ "n": modulus(128, 1) })), no_rsa),
        (rsa(json!({ "n": modulus(1032, 1) })), no_rsa),
        (rsa(json!({ "n": "" })), no_rsa),
        (rsa(json!({ "n": zeros(256) })), no_rsa),
        (rsa(json!({ "n": modulus(256, 2) })), no_rsa),
        (rsa(json!({ "e": "" })), no_rsa),
        (rsa(json!({ "e": base64url(&[1]) })), no_rsa),
        (rsa(json!({ "e": base64url(&[2]) })), no_rsa),
        (rsa(json!({ "n": "not base64" })), no_base64),
        (p256(json!({ "x": zeros(32) })), no_point),
        (p256(json!({ "x": zeros(31) })), no_point),
        (p256(json!({ "x": zeros(32), "y": zeros(32) })), no_point),
        (p256(json!({ "x": "" })), no_point),
        (p256(json!({ "y": "not base64" })), no_base64),
        (ed25519(json!({ "x": zeros(5) })), no_ed25519),
        (ed25519(json!({ "x": "" })), no_ed25519),
        (ed25519(json!({ "x": "not base64" })), no_base64),
        (
            secret_jwk(&SECRET[1..], json!({})),
            "a secret must have at least 32 bytes, this has 31; ",
        ),
    ] {
        let named = with(key.clone(), json!({ "kid": "the bad one" }));
        let keys = set(&[jwk("p256", json!({})), named]);
        let reason = refusal(&keys, KeySource::JwksFile);

        let start = "key 2 of the set (kid \"the bad one\") cannot be used: ";
        let reason = reason.strip_prefix(start).unwrap();
        assert!(reason.starts_with(expected), "{key}: {reason}");
        let nameless = refusal(&set(&[key]), KeySource::JwksFile);
        assert!(
            nameless.starts_with("key 1 of the set cannot be used: "),
            "{nameless}"
        );
    }
}

#[test]
fn the_error_for_a_malformed_secret_quotes_nothing_of_it() {
    let malformed = json!({ "kty": "oct", "k": format!("{CANARY}!") });

    let reason = refusal(&set(&[malformed]), KeySource::JwksFile);

    assert_eq!(
        reason,
        "key 1 of the set cannot be used: it has a value that is not valid base64url"
    );
}

#[test]
fn an_rsa_key_in_pem_form_needs_at_least_2048_bits() {
    let small = std::fs::read(key_file("rsa1024.pub.pem")).unwrap();

    let reason = refusal(&small, KeySource::PemFile);

    assert_eq!(
        reason,
        "it is not a valid RSA public key of 2048 to 8192 bits"
    );
}

#[test]
fn unsupported_keys_in_a_set_are_ignored() {
    let token_verifier = trusting_set(&[
        json!({ "kty": "of the future", "kid": "a", "x": 1 }),
        json!({ "kty": "EC", "crv": "P-521", "x": "A".repeat(88), "y": "A".repeat(88) }),
        jwk("p256-other", json!({ "use": "enc" })),
        jwk("rsa2048", json!({ "alg": "PS256" })),
        jwk("p256", json!({ "use": "sig", "alg": "ES256", "x5t": "a" })),
    ]);

    for (algorithm, key, expected) in [
        ("ES256", "p256", "good"),
        ("ES256", "p256-other", "Signature"),
        ("RS256", "rsa2048", "NoKey"),
    ] {
        let token = signed(json!({ "alg": algorithm }), key);
        assert_eq!(verdict(&token_verifier, &token), expected, "{key}");
    }
}

#[test]
fn a_set_may_contain_each_kind_of_key() {
    let token_verifier = trusting_set(&[
        jwk("p256", json!({})),
        jwk("rsa2048", json!({})),
        jwk("ed25519", json!({})),
        secret_jwk(SECRET, json!({})),
    ]);

    for (algorithm, key) in [
        ("ES256", "p256"),
        ("RS256", "rsa2048"),
        ("EdDSA", "ed25519"),
    ] {
        let token = signed(json!({ "alg": algorithm }), key);
        assert_eq!(verdict(&token_verifier, &token), "good", "{key}");
    }
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });
    let token = mac(&header, &claims(), SECRET.as_bytes());
    assert_eq!(verdict(&token_verifier, &token), "good");
}

#[test]
fn a_key_id_selects_which_keys_are_tried() {
    let token_verifier = trusting_set(&[
        jwk("p256", json!({ "kid": "one" })),
        jwk("p256-other", json!({ "kid": "two" })),
        jwk("rsa2048", json!({ "kid": "rsa" })),
        jwk("ed25519", json!({})),
    ]);

    for (members, key, expected) in [
        (json!({ "kid": "one" }), "p256", "good"),
        (json!({ "kid": "two" }), "p256-other", "good"),
        (json!({}), "p256", "good"),
        (json!({}), "p256-other", "good"),
        (json!({ "kid": null }), "p256-other", "good"),
        (json!({ "kid": "two" }), "p256", "Signature"),
        (json!({ "kid": "rsa" }), "p256", "NoKey"),
        (json!({ "kid": "three" }), "p256", "NoKey"),
        (json!({ "kid": "ONE" }), "p256", "NoKey"),
        (json!({ "kid": "' OR 1=1" }), "p256", "NoKey"),
        (json!({ "kid": "three", "alg": "EdDSA" }), "ed25519", "good"),
    ] {
        let token = signed(members.clone(), key);
        assert_eq!(
            verdict(&token_verifier, &token),
            expected,
            "{members} {key}"
        );
    }
}

#[test]
fn a_file_that_is_missing_or_too_long_is_refused() {
    let token_verifier = TokenVerifier::new(hub(), RULES);
    let nowhere = issuer(ISSUER, KeySource::PemFile("/nowhere/key.pem".into()));

    let missing = token_verifier.trust(&[nowhere]).unwrap_err().to_string();
    let long = refusal(CANARY.repeat(1 << 18).as_bytes(), KeySource::SecretFile);

    assert!(
        missing.starts_with(&format!(
            "auth.issuers, table 1 ({ISSUER}): pem_file = \"/nowhere/key.pem\": "
        )),
        "{missing}"
    );
    assert_eq!(long, "the file is longer than 1048576 bytes");
}

#[test]
fn equal_tokens_have_equal_hashes_and_others_do_not() {
    let token_verifier = token_verifier();
    let token = |sub: &str| {
        let claims = with(claims(), json!({ "sub": sub }));
        let token = sign(&header(), &claims, "p256");
        token_verifier.verify_at(&token, NOW as f64).unwrap().token
    };
    let known = signed(json!({ "alg": "EdDSA" }), "ed25519");
    let again = || token_verifier.verify_at(&known, NOW as f64).unwrap().token;

    assert_ne!(token("a"), token("b"));
    assert_eq!(again(), again());
}
