//! Tests which algorithms a key verifies, and that tokens grant only what the config lets their issuer grant.

use tempfile::TempDir;

use super::*;
use crate::{
    auth::ALGORITHMS,
    event::Topic,
    matching::{MatcherText, MatcherType},
};

/// A verifier that trusts this issuer, which the folder of its key belongs to.
struct Trusting {
    token_verifier: TokenVerifier,
    _folder: TempDir,
}

fn trusting_file(
    contents: &[u8],
    source: fn(PathBuf) -> KeySource,
    change: impl FnOnce(&mut IssuerConfig),
) -> Result<Trusting, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, contents).unwrap();
    let mut config = issuer(ISSUER, source(path));
    change(&mut config);
    let token_verifier = TokenVerifier::new(hub(), RULES);
    let trusted = token_verifier.trust(&[config]);
    trusted.map_err(|err| err.to_string())?;
    Ok(Trusting {
        token_verifier,
        _folder: folder,
    })
}

fn public(key: &str) -> Vec<u8> {
    std::fs::read(key_file(&format!("{key}.pub.pem"))).unwrap()
}

/// A valid token with this algorithm.
fn token(algorithm: Algorithm, key: &EncodingKey) -> String {
    let header = json!({ "alg": format!("{algorithm:?}"), "typ": "at+jwt" });
    let claims = claims().to_string();
    let key = (algorithm, key.clone());
    sign_bytes(header.to_string().as_bytes(), claims.as_bytes(), &key)
}

/// The algorithms with which tokens of this key are accepted.
fn accepted(trusting: &Trusting, key: &EncodingKey) -> Vec<Algorithm> {
    let is_accepted = |algorithm: &Algorithm| {
        let is_possible = crypto::sign(b"x", key, *algorithm).is_ok();
        is_possible && verdict(&trusting.token_verifier, &token(*algorithm, key)) == "good"
    };
    ALGORITHMS.into_iter().filter(is_accepted).collect()
}

use Algorithm::{
    ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512,
};

const RSA: [Algorithm; 6] = [RS256, RS384, RS512, PS256, PS384, PS512];

#[test]
fn a_key_verifies_each_algorithm_that_it_allows_and_no_other() {
    for (key, expected) in [
        ("ed25519", &[EdDSA][..]),
        ("p256", &[ES256]),
        ("p384", &[ES384]),
        ("rsa2048", &RSA),
    ] {
        let trusting = trusting_file(&public(key), KeySource::PemFile, |_| ()).unwrap();
        assert_eq!(accepted(&trusting, &signing_key(key).1), expected, "{key}");
    }
    for (bytes, expected) in [
        (32, &[HS256][..]),
        (47, &[HS256]),
        (48, &[HS256, HS384]),
        (63, &[HS256, HS384]),
        (64, &[HS256, HS384, HS512]),
    ] {
        let secret = "s".repeat(bytes);
        let trusting = trusting_file(secret.as_bytes(), KeySource::SecretFile, |_| ()).unwrap();
        let key = EncodingKey::from_secret(secret.as_bytes());
        assert_eq!(accepted(&trusting, &key), expected, "{bytes} bytes");
    }
}

#[test]
fn the_algorithms_of_the_issuer_limit_those_of_the_key() {
    let with = |algorithms: &[Algorithm]| {
        let algorithms = Some(algorithms.to_vec());
        trusting_file(&public("rsa2048"), KeySource::PemFile, |config| {
            config.algorithms = algorithms;
        })
    };
    let (_, key) = signing_key("rsa2048");

    let limited = with(&[PS256, RS512, ES256]).unwrap();
    assert_eq!(accepted(&limited, &key), [RS512, PS256]);

    let refusal = with(&[ES256, HS256]).err().unwrap();
    assert!(
        refusal.ends_with(
            "no key in it allows one of the algorithms of this issuer (algorithms); allowed are RS256, \
             RS384, RS512, PS256, PS384, PS512"
        ),
        "{refusal}"
    );
    let short = trusting_file(&[b's'; 40], KeySource::SecretFile, |config| {
        config.algorithms = Some(vec![HS512]);
    });
    assert!(short.err().unwrap().ends_with("allowed are HS256"));
}

#[test]
fn a_key_of_a_set_verifies_only_the_algorithm_that_it_names() {
    let jwk = |key: &str, algorithm: &str| {
        let (of_key, key) = signing_key(key);
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, of_key).unwrap();
        with(
            serde_json::to_value(jwk).unwrap(),
            json!({ "alg": algorithm }),
        )
    };
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string().into_bytes();
    let trusting = |set: &[u8]| trusting_file(set, KeySource::JwksFile, |_| ());
    let (_, rsa) = signing_key("rsa2048");

    let named = trusting(&set(&[jwk("rsa2048", "PS384"), jwk("p384", "ES384")])).unwrap();
    assert_eq!(accepted(&named, &rsa), [PS384]);
    assert_eq!(accepted(&named, &signing_key("p384").1), [ES384]);
    let unnamed = without(jwk("rsa2048", "RS256"), "alg");
    assert_eq!(accepted(&trusting(&set(&[unnamed])).unwrap(), &rsa), RSA);
    let secret = json!({ "kty": "oct", "k": base64url(&[7; 40]), "alg": "HS512" });
    let refusal = trusting(&set(&[secret])).err().unwrap();
    assert!(
        refusal.ends_with("cannot be used: the secret is too short for HS512"),
        "{refusal}"
    );
}

/// What a token that grants `*` allows if the config of its issuer is changed like this: to publish on the
/// topics `/books/1` and `/other`, and to read private events on them.
fn allowed(change: impl FnOnce(&mut IssuerConfig)) -> [[bool; 2]; 2] {
    let trusting = trusting_file(&public("p256"), KeySource::PemFile, change).unwrap();
    let token = sign(&header(), &claims(), "p256");
    let access = trusting
        .token_verifier
        .verify_at(&token, NOW as f64)
        .unwrap();
    ["/books/1", "/other"].map(|topic| {
        let parsed = Topic::parse(topic).unwrap();
        [
            access.may_publish(&parsed, &hub()),
            access.may_read(topic, &hub()),
        ]
    })
}

fn matcher(kind: MatcherType, text: &str) -> MatcherText {
    MatcherText::parse(kind, text, 100).unwrap()
}

#[test]
fn a_token_grants_only_what_its_issuer_can_grant() {
    let books = || matcher(MatcherType::UrlPattern, "/books/:id");
    let both = [true, true];
    let neither = [false, false];

    assert_eq!(allowed(|_| ()), [both, both]);
    let only = |actions: &[Action]| {
        let actions = actions.to_vec();
        allowed(|config| config.actions = actions)
    };
    assert_eq!(only(&[Action::Publish]), [[true, false]; 2]);
    assert_eq!(only(&[Action::Subscribe]), [[false, true]; 2]);
    let on = |topics: Vec<MatcherText>| allowed(|config| config.topics = Some(topics));
    assert_eq!(on(vec![books()]), [both, neither]);
    assert_eq!(
        on(vec![matcher(MatcherType::Exact, "/other")]),
        [neither, both]
    );
    assert_eq!(
        on(vec![
            matcher(MatcherType::Exact, "/a"),
            MatcherText::wildcard()
        ]),
        [both, both]
    );
    let narrow = allowed(|config| {
        config.topics = Some(vec![books()]);
        config.actions = vec![Action::Publish];
    });
    assert_eq!(narrow, [[true, false], neither]);
}

#[test]
fn a_topic_is_granted_only_if_the_token_and_the_issuer_match_it() {
    let trusting = trusting_file(&public("p256"), KeySource::PemFile, |config| {
        config.topics = Some(vec![matcher(MatcherType::UrlPattern, "/books/*")]);
    });
    let token_verifier = trusting.as_ref().map(|it| &it.token_verifier).unwrap();
    let claims = with(
        claims(),
        json!({ "authorization_details": [{
            "type": DETAIL_TYPE,
            "actions": ["subscribe"],
            "topics": [{ "match": "/:any/1", "match_type": "urlpattern" }],
        }] }),
    );
    let access = token_verifier.verify_at(&sign(&header(), &claims, "p256"), NOW as f64);
    let access = access.unwrap();

    for (topic, expected) in [
        ("/books/1", true),
        ("https://hub.example.com/books/1", true),
        ("/books/2", false),
        ("/other/1", false),
    ] {
        assert_eq!(access.may_read(topic, &hub()), expected, "{topic}");
    }
}

#[test]
fn the_payload_of_a_token_is_shown_only_where_its_issuer_can_grant() {
    let shown = |change: fn(&mut IssuerConfig), subscribed: &str| {
        let trusting = trusting_file(&public("p256"), KeySource::PemFile, change).unwrap();
        let claims = with(
            claims(),
            json!({ "authorization_details": [{
                "type": DETAIL_TYPE,
                "actions": ["subscribe"],
                "topics": [{ "match": "/a" }, { "match": "/b" }],
                "payload": { "name": "admin" },
            }] }),
        );
        let token = sign(&header(), &claims, "p256");
        let access = trusting
            .token_verifier
            .verify_at(&token, NOW as f64)
            .unwrap();
        access.payload(subscribed, &hub()).is_some()
    };

    assert!(shown(|_| (), "/b"));
    assert!(!shown(
        |config| config.actions = vec![Action::Publish],
        "/b"
    ));
    let only_a: fn(&mut IssuerConfig) = |config| {
        config.topics = Some(vec![matcher(MatcherType::Exact, "/a")]);
    };
    assert!(shown(only_a, "/a") && !shown(only_a, "/b"));
}
