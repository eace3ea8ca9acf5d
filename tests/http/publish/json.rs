//! Publishing an update as a JSON object.

use serde_json::{Value, json};

use crate::support::mercure::{Answer, MercureHub, Publisher, until_marker};

fn post(publisher: &mut Publisher, body: &str) -> Answer {
    publisher.post_with("Content-Type: application/json\r\n", body)
}

#[test]
fn a_json_update_becomes_the_event_of_its_members() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut live = hub.subscribe("match=*");
    live.block();

    for (members, event) in [
        (r#""data":"the content""#, "data: the content\n"),
        (r#""data":"a\nb""#, "data: a\ndata: b\n"),
        (r#""data":"\ud83e\udd80 \u0041""#, "data: \u{1f980} A\n"),
        (r#""data":"""#, "data: \n"),
        (r#""type":"t""#, "event: t\ndata: \n"),
        (
            r#""type":null,"id":null,"retry":null,"private":null"#,
            "data: \n",
        ),
        (r#""retry":3000"#, "retry: 3000\ndata: \n"),
        (r#""data":null"#, "data: null\n"),
        (r#""data":true"#, "data: true\n"),
        (r#""data":1.50e+3"#, "data: 1.50e+3\n"),
        (
            r#""data":123456789012345678901234567890"#,
            "data: 123456789012345678901234567890\n",
        ),
        (r#""data":[ 1,	2 ]"#, "data: [1,2]\n"),
        (
            r#""data": { "b" : "x  \" y\\" , "a" : [ {} , null ] } "#,
            "data: {\"b\":\"x  \\\" y\\\\\",\"a\":[{},null]}\n",
        ),
    ] {
        let body = format!(r#"{{"topic":"a",{members}}}"#);
        let answer = post(&mut publisher, &body);
        assert_eq!(answer.status(), 200, "{body}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let id: Value = serde_json::from_str(&answer.body).unwrap();
        let block = format!("id: {}\n{event}\n", id["id"].as_str().unwrap());
        assert_eq!(live.block(), Some(block), "{body}");
    }
}

#[test]
fn an_update_can_have_one_topic_or_several() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut stream = hub.subscribe("match=b&match=urn:marker");

    for (topics, data) in [("\"b\"", "1"), ("[\"a\",\"b\"]", "2"), ("[\"a\"]", "3")] {
        let body = format!(r#"{{"topic":{topics},"data":"{data}"}}"#);
        assert_eq!(post(&mut publisher, &body).status(), 200);
    }
    publisher.mark();

    assert_eq!(until_marker(&mut stream), ["1", "2"]);
}

#[test]
fn an_id_and_a_key_work_as_with_a_form() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();

    let first = post(
        &mut publisher,
        r#"{"topic":"a","data":"x","id":"urn:\"1\""}"#,
    );
    let id: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(id, json!({ "id": "urn:\"1\"" }));
    let form = publisher.post("topic=a&data=x&id=urn:%221%22");
    assert_eq!(form.header("idempotent-replayed"), Some("true"));

    let first = post(
        &mut publisher,
        r#"{"topic":"a","data":"x","idempotency_key":"k"}"#,
    );
    let again = post(
        &mut publisher,
        r#"{"idempotency_key":"k","topic":["a"],"data":"x"}"#,
    );
    let other = post(
        &mut publisher,
        r#"{"topic":"a","data":"y","idempotency_key":"k"}"#,
    );
    assert_eq!((again.status(), &again.body), (200, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    other.assert_refuses(422, "another update");
    let headers = "Content-Type: application/json\r\nIdempotency-Key: k\r\n";
    let in_both = publisher.post_with(headers, r#"{"topic":"a","data":"x","idempotency_key":"k"}"#);
    assert_eq!(in_both.status(), 200);
    publisher
        .post_with(headers, r#"{"topic":"a","data":"x","idempotency_key":"l"}"#)
        .assert_refuses(400, "two different keys");
}

#[test]
fn an_invalid_update_is_refused_and_the_detail_names_the_member() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();

    for (body, named) in [
        (r#"{"topic":"a","dat":"x"}"#, "dat"),
        (r#"{"topic":"a","topic":"b"}"#, "topic"),
        (r#"{"data":"x"}"#, "topic"),
        (r#"{"topic":[]}"#, "topic"),
        (r#"{"topic":5}"#, "topic"),
        (r#"{"topic":["a",5]}"#, "topic"),
        (r#"{"topic":"*"}"#, "topic"),
        (r#"{"topic":"a","id":5}"#, ""),
        (r##"{"topic":"a","id":"#1"}"##, "id"),
        (r#"{"topic":"a","type":"mercure"}"#, "type"),
        (r#"{"topic":"a","retry":-1}"#, ""),
        (r#"{"topic":"a","retry":"1"}"#, ""),
        (r#"{"topic":"a","private":"yes"}"#, ""),
        (r#"{"topic":"a","idempotency_key":""}"#, "idempotency key"),
        (r#"{"topic":"a","idempotency_key":"é"}"#, "idempotency key"),
        (r#"{"topic":"a","data":}"#, ""),
        (r#"{"topic":"a"} x"#, ""),
        (r#"["a"]"#, ""),
        ("topic=a", ""),
        ("", ""),
    ] {
        let answer = post(&mut publisher, body);
        answer.assert_refuses(400, body);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(
            problem["detail"].as_str().unwrap().contains(named),
            "{answer:?}"
        );
    }
}

#[test]
fn the_limits_of_a_form_apply() {
    let hub = MercureHub::with(|config| {
        config.limits.body = 2048;
        config.limits.field = 256;
        config.limits.topics = 2;
    });
    let mut publisher = hub.publisher();

    let data = "x".repeat(257);
    for body in [
        format!(r#"{{"topic":"a","data":"{data}"}}"#),
        format!(r#"{{"topic":"a","data":["{data}"]}}"#),
        r#"{"topic":["a","b","c"]}"#.to_owned(),
        format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(2048)),
    ] {
        post(&mut publisher, &body).assert_refuses(413, &body);
    }
    let fits = format!(r#"{{"topic":["a","b"],"data":"{}"}}"#, "x".repeat(256));
    assert_eq!(post(&mut publisher, &fits).status(), 200);
}

#[test]
fn a_private_update_is_private() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut stream = hub.subscribe("match=a&match=urn:marker");

    for (private, data) in [("true", "secret"), ("false", "public")] {
        let body = format!(r#"{{"topic":"a","private":{private},"data":"{data}"}}"#);
        assert_eq!(post(&mut publisher, &body).status(), 200);
    }
    publisher.mark();

    assert_eq!(until_marker(&mut stream), ["public"]);
}
