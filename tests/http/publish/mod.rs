//! Publishing over HTTP (Mercure, chapter Publication): the resulting event, refused requests, and
//! connections.

mod bulk;
mod connections;
mod ids;
mod json;
mod permission;
mod refusals;
mod retries;
mod topics;

use crate::support::mercure::{MARKER, MercureHub, form, grant, token, until_marker};
use serde_json::json;

/// Asserts that each of these forms is refused although the token allows everything, and that no subscriber
/// receives an event.
fn assert_refused<'a>(
    hub: &MercureHub,
    status: u16,
    forms: impl IntoIterator<Item = impl AsRef<str> + 'a>,
) {
    let mut publisher = hub.publisher();
    let all = token(json!([grant("subscribe", &["*"])]));
    let mut stream = hub.subscribe_with("match=*", &all);

    for form in forms {
        let form = form.as_ref();
        publisher.post(form).assert_refuses(status, form);
    }
    publisher.mark();

    assert_eq!(until_marker(&mut stream), [""; 0]);
}

#[test]
fn an_update_becomes_the_event_of_its_fields_live_and_replayed() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut live = hub.subscribe("match=*");
    live.block();

    let mut expected = Vec::new();
    for (form, event) in [
        ("topic=a&data=the%20content", "data: the content\n"),
        ("topic=a", "data: \n"),
        ("topic=a&data", "data: \n"),
        ("data=before&topic=a", "data: before\n"),
        ("topic=a&data=x+y%2Bz", "data: x y+z\n"),
        ("topic=a&data=a%0Ab", "data: a\ndata: b\n"),
        ("topic=a&data=a%0Db", "data: a\ndata: b\n"),
        ("topic=a&data=a%0D%0Ab", "data: a\ndata: b\n"),
        ("topic=a&data=a%0D%0D%0Ab", "data: a\ndata: \ndata: b\n"),
        ("topic=a&data=a%0A", "data: a\ndata: \n"),
        ("topic=a&data=%0A", "data: \ndata: \n"),
        ("topic=a&data=x%0Aevent:+y", "data: x\ndata: event: y\n"),
        ("topic=a&data=x%0Did:+z", "data: x\ndata: id: z\n"),
        (
            "topic=a&data=x%0A%0Adata:+z",
            "data: x\ndata: \ndata: data: z\n",
        ),
        ("topic=a&data=+x", "data:  x\n"),
        ("topic=a&data=:x", "data: :x\n"),
        ("topic=a&data=%EF%BB%BFx", "data: \u{feff}x\n"),
        ("topic=a&data=a%00b", "data: a\0b\n"),
        ("topic=a&data=%E2%80%A8%C2%85", "data: \u{2028}\u{85}\n"),
        ("topic=a&data=%F0%9F%A6%80", "data: \u{1f980}\n"),
        ("topic=a&type=foo", "event: foo\ndata: \n"),
        ("topic=a&type=", "data: \n"),
        ("topic=a&type=Mercure", "event: Mercure\ndata: \n"),
        ("topic=a&type=mercure2", "event: mercure2\ndata: \n"),
        ("topic=a&type=+mercury", "event:  mercury\ndata: \n"),
        ("topic=a&type=gaps", "event: gaps\ndata: \n"),
        ("topic=a&retry=3000", "retry: 3000\ndata: \n"),
        ("topic=a&retry=0", "retry: 0\ndata: \n"),
        ("topic=a&retry=007", "retry: 7\ndata: \n"),
        ("topic=a&retry=", "data: \n"),
        (
            "topic=a&retry=99999999999999999999999",
            "retry: 18446744073709551615\ndata: \n",
        ),
        (
            "topic=a&type=t&retry=1&data=x%0Ay",
            "event: t\nretry: 1\ndata: x\ndata: y\n",
        ),
        ("topic=a&future=1&future=2&matchx=3&Data=4", "data: \n"),
        ("&topic=a&&data=x&=y&", "data: x\n"),
        ("%74opic=a&dat%61=x", "data: x\n"),
    ] {
        let id = publisher.publish(form);
        let block = format!("id: {id}\n{event}\n");
        assert_eq!(live.block(), Some(block.clone()), "{form}");
        expected.push(block);
    }
    let mut replayed = hub.subscribe("match=a&last_event_id=earliest");
    replayed.block();

    for block in expected {
        assert_eq!(replayed.block(), Some(block));
    }
}

#[test]
fn an_update_is_acknowledged_with_its_id_as_plain_text() {
    let hub = MercureHub::start();

    let answer = hub.publisher().post("topic=a");

    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let id: sse_broadcaster::EventId = answer.body.parse().unwrap();
    assert_eq!(id.to_string(), answer.body);
}

#[test]
fn an_acknowledged_event_is_available_to_later_subscribers() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();

    for number in 0..50 {
        let data = number.to_string();
        let id = publisher.publish(&form(&[("topic", &data), ("data", &data)]));
        let query = format!("match={data}&last_event_id=earliest");
        let event = hub.subscribe(&query).event().unwrap();

        assert_eq!((event.id, event.data), (Some(id), data));
    }
}

#[test]
fn an_update_with_several_topics_reaches_each_matching_subscriber_once() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let marked = |query: &str| hub.subscribe(&format!("{query}&match={MARKER}"));
    let mut streams = [
        "match=a",
        "match=b",
        "match=c",
        "match=a&match=b",
        "match=*",
    ]
    .map(marked);
    let mut other = marked("match=d");

    publisher.publish("topic=a&topic=b&topic=c&topic=a&data=x");
    publisher.mark();

    for stream in &mut streams {
        assert_eq!(until_marker(stream), ["x"]);
    }
    assert_eq!(until_marker(&mut other), [""; 0]);
}

#[test]
fn an_update_is_private_if_the_field_private_is_present_with_any_value() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut anybody = hub.subscribe("match=*");
    let entitled = token(json!([grant("subscribe", &["a"])]));
    let mut entitled = hub.subscribe_with("match=*", &entitled);

    let private = [
        "private",
        "private=",
        "private=on",
        "private=off",
        "private=false",
        "private=0",
        "private=on&private=off",
        "%70rivate=x",
    ];
    for field in private {
        publisher.publish(&format!("topic=a&{field}&data={field}"));
    }
    for field in ["Private=on", "privat=on", "private[]=on"] {
        publisher.publish(&format!("topic=a&{field}&data=public"));
    }
    publisher.mark();

    assert_eq!(until_marker(&mut anybody), ["public"; 3]);
    let got = until_marker(&mut entitled);
    assert_eq!(got.len(), private.len() + 3, "{got:?}");
}
