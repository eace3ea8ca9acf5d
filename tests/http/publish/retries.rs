//! Repeating a publish request: an update that is in the log already is not published again.

use serde_json::json;

use crate::support::{
    client::get,
    mercure::{
        Answer, Client, MercureHub, PATH, Publisher, bearer, detail, now, signed_as, token,
        until_marker,
    },
};

fn with_key(publisher: &mut Publisher, key: &str, form: &str) -> Answer {
    publisher.post_with(&format!("Idempotency-Key: {key}\r\n"), form)
}

#[track_caller]
fn assert_replays(answer: &Answer, first: &Answer) {
    assert_eq!(
        (answer.status(), &answer.body),
        (200, &first.body),
        "{answer:?}"
    );
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.header("idempotent-replayed"), None);
}

#[test]
fn an_id_with_the_same_content_is_published_once() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut stream = hub.subscribe("match=a&match=b&match=urn:marker");

    let first = publisher.post("topic=a&topic=b&data=x&type=t&id=1");
    let again = publisher.post("topic=b&topic=a&data=x&type=t&id=1");
    let other = publisher.post("topic=a&topic=b&data=y&type=t&id=1");
    publisher.mark();

    assert_replays(&again, &first);
    assert_eq!(
        (other.status(), other.header("idempotent-replayed")),
        (200, None)
    );
    assert_eq!(until_marker(&mut stream), ["x", "y"]);
    let metrics = get(hub.addr(), "/metrics").body;
    assert!(metrics.contains("broadcaster_publish_replays_total 1\n"));
}

#[test]
fn with_unique_ids_another_update_with_an_id_is_a_conflict() {
    let hub = MercureHub::with(|config| config.hub.unique_ids = true);
    let mut publisher = hub.publisher();

    let first = publisher.post("topic=a&data=x&id=1");
    let again = publisher.post("topic=a&data=x&id=1");
    let other = publisher.post("topic=a&data=y&id=1");

    assert_replays(&again, &first);
    other.assert_refuses(409, "another update");
    assert_eq!(other.header("retry-after"), None);
}

#[test]
fn a_key_with_the_same_update_is_published_once() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut stream = hub.subscribe("match=a&match=urn:marker");

    let first = with_key(&mut publisher, "k", "topic=a&data=x");
    let again = with_key(&mut publisher, "\"k\"", "topic=a&data=x");
    let other_update = with_key(&mut publisher, "k", "topic=a&data=y");
    let other_key = with_key(&mut publisher, "l", "topic=a&data=x");
    publisher.mark();

    assert_replays(&again, &first);
    assert!(first.body.starts_with('#'), "the hub's own id: {first:?}");
    other_update.assert_refuses(422, "another update");
    assert_eq!(other_key.status(), 200);
    assert_ne!(other_key.body, first.body);
    assert_eq!(until_marker(&mut stream), ["x", "x"]);
}

#[test]
fn a_key_belongs_to_the_issuer_and_subject_of_the_token() {
    let hub = MercureHub::start();
    let publish = |subject: Option<&str>| {
        let mut claims = json!({
            "iss": "https://example.com",
            "aud": crate::support::mercure::HUB,
            "exp": now() as u64 + 60,
            "authorization_details": [detail(&["publish"], json!([{ "match": "*" }]))],
        });
        if let Some(subject) = subject {
            claims["sub"] = subject.into();
        }
        let headers = format!(
            "{}Idempotency-Key: k\r\n",
            bearer(&signed_as("at+jwt", &claims))
        );
        let answer = Client::connect(hub.addr()).post(&headers, "topic=a&data=x");
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.header("idempotent-replayed").is_some()
    };

    let subjects = [None, Some("a"), Some("b"), Some("a"), None];
    assert_eq!(subjects.map(publish), [false, false, false, true, true]);
}

#[test]
fn a_malformed_key_is_refused() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let longest = "x".repeat(255);

    for key in ["", "\"\"", "\"a", "a\u{e9}", "a\tb", &format!("{longest}x")] {
        with_key(&mut publisher, key, "topic=a").assert_refuses(400, key);
    }
    publisher
        .post_with("Idempotency-Key: a\r\nIdempotency-Key: a\r\n", "topic=a")
        .assert_refuses(400, "two keys");
    for key in [&*longest, "a b!~"] {
        assert_eq!(
            with_key(&mut publisher, key, "topic=a").status(),
            200,
            "{key}"
        );
    }
}

#[test]
fn an_update_that_is_refused_leaves_its_key_unused() {
    let hub = MercureHub::start();
    let only_a = token(json!([detail(&["publish"], json!([{ "match": "a" }]))]));
    let headers = format!("{}Idempotency-Key: k\r\n", bearer(&only_a));
    let mut client = Client::connect(hub.addr());

    client
        .post(&headers, "topic=b&data=x")
        .assert_refuses(403, "another topic");
    let allowed = client.post(&headers, "topic=a&data=y");

    assert_eq!(
        (allowed.status(), allowed.header("idempotent-replayed")),
        (200, None)
    );
}

#[test]
fn pages_of_other_origins_can_send_a_key_and_read_the_answer() {
    let hub = MercureHub::start();
    let headers = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\
                   Access-Control-Request-Headers: idempotency-key,authorization,content-type\r\n";
    let preflight = hub.ask("OPTIONS", PATH, headers, "");
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("idempotency-key"), "{preflight:?}");

    let mut publisher = hub.publisher();
    let answer = publisher.post_with("Origin: https://app.example\r\n", "topic=a&id=1");
    let exposed = answer
        .header("access-control-expose-headers")
        .unwrap()
        .to_ascii_lowercase();
    for name in ["idempotent-replayed", "retry-after"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}
