//! `snapshot=1`: a subscriber first receives the current value of each topic, then what follows.

use serde_json::json;
use sse_broadcaster::config::LogKindName;

use crate::support::{
    client::{SseEvent, Stream, connect_small},
    mercure::{MARKER, MercureHub, PATH, Publisher, bearer, form, grant, token, until_marker},
    server::{block_on, wait_until_closed},
};

/// A hub that retains only the two newest events, but the values of ten topics.
fn hub() -> MercureHub {
    MercureHub::with(|config| {
        config.stream.history = 2;
        config.stream.queue = 1;
        config.stream.retained_topics = 10;
    })
}

fn publish(publisher: &mut Publisher, topic: &str, data: &str) -> String {
    publisher.publish(&form(&[("topic", topic), ("data", data)]))
}

fn publish_private(publisher: &mut Publisher, topic: &str, data: &str) -> String {
    publisher.publish(&form(&[
        ("topic", topic),
        ("data", data),
        ("private", "on"),
    ]))
}

/// The data of the values, and what the checkpoint says after them.
fn snapshot(stream: &mut Stream) -> (Vec<String>, String) {
    let mut values = Vec::new();
    loop {
        let SseEvent { name, data, .. } = stream.event_or_checkpoint();
        match name.as_deref() {
            None => values.push(data),
            Some("checkpoint") => return (values, data),
            name => panic!("{name:?}"),
        }
    }
}

fn complete(values: &[&str]) -> (Vec<String>, String) {
    let values = values.iter().map(ToString::to_string).collect();
    (values, r#"{"snapshot":"complete"}"#.to_owned())
}

fn partial(values: &[&str]) -> (Vec<String>, String) {
    (complete(values).0, r#"{"snapshot":"partial"}"#.to_owned())
}

#[test]
fn the_values_come_in_log_order_then_a_checkpoint_then_what_follows() {
    let hub = hub();
    let mut publisher = hub.publisher();
    publish(&mut publisher, "/a", "old");
    let b = publish(&mut publisher, "/b", "b");
    let a = publish(&mut publisher, "/a", "a");
    publish(&mut publisher, "/other", "other");
    let last = publish(&mut publisher, "/other", "other");

    let mut stream = hub.subscribe("match=/a&match=/b&match=/none&snapshot=1");

    assert_eq!(stream.header("mercure-last-event-id"), Some("earliest"));
    let greeting = stream.block().unwrap();
    let (greeting, first) = greeting.split_once(": connected\n").unwrap();
    assert!(greeting.starts_with("retry: "), "{greeting}");
    assert_eq!(first, format!("id: {b}\ndata: b\n\n"));
    assert_eq!(stream.block().unwrap(), format!("id: {a}\ndata: a\n\n"));
    let end = format!("event: checkpoint\nid: {last}\ndata: {{\"snapshot\":\"complete\"}}\n\n");
    assert_eq!(stream.block().unwrap(), end);
    publish(&mut publisher, "/b", "new");
    assert_eq!(stream.event().unwrap().data, "new");
}

#[test]
fn patterns_and_the_wildcard_select_values_and_ticks_are_none() {
    let hub = hub();
    let mut publisher = hub.publisher();
    for topic in ["https://a.example/1", "/x", "https://a.example/2"] {
        publisher.publish_on(topic);
    }
    // An event without a topic, as the ticker publishes them, is no value.
    hub.server.publish("tick");

    let mut of_pattern = hub.subscribe("match_urlpattern=https://a.example/:n&snapshot=1");
    let mut of_all = hub.subscribe("match=*&snapshot=1");
    let mut of_ticker = Stream::request(hub.addr(), "/events/sse?snapshot=1", b"");

    let of_site = ["https://a.example/1", "https://a.example/2"];
    assert_eq!(snapshot(&mut of_pattern), complete(&of_site));
    let all = ["https://a.example/1", "/x", "https://a.example/2"];
    assert_eq!(snapshot(&mut of_all), complete(&all));
    assert_eq!(snapshot(&mut of_ticker), complete(&[]));
}

#[test]
fn empty_data_clears_a_value_for_those_who_receive_it() {
    let hub = hub();
    let mut publisher = hub.publisher();
    for topic in ["/a", "/b", "/c"] {
        publisher.publish_on(topic);
    }
    publish(&mut publisher, "/a", "");
    publish_private(&mut publisher, "/b", "");
    publish_private(&mut publisher, "/c", "secret");
    let reader = token(json!([grant("subscribe", &["*"])]));

    let query = "match=/a&match=/b&match=/c&snapshot=1";
    let mut public = hub.subscribe(query);
    let mut private = hub.subscribe_with(query, &reader);

    assert_eq!(snapshot(&mut public), complete(&["/b", "/c"]));
    assert_eq!(snapshot(&mut private), complete(&["secret"]));
    publish(&mut publisher, "/b", "again");
    let mut later = hub.subscribe_with(query, &reader);
    assert_eq!(snapshot(&mut later), complete(&["secret", "again"]));
}

#[test]
fn an_event_on_several_topics_is_a_value_as_long_as_it_is_the_newest_on_one() {
    let hub = hub();
    let mut publisher = hub.publisher();
    publisher.publish("topic=/a&topic=/b&data=both");
    publish(&mut publisher, "/a", "a");

    let mut of_a = hub.subscribe("match=/a&snapshot=1");
    let mut of_b = hub.subscribe("match=/b&snapshot=1");
    let mut named = hub.subscribe("match=*&snapshot=1&topics=1");

    assert_eq!(snapshot(&mut of_a), complete(&["a"]));
    assert_eq!(snapshot(&mut of_b), complete(&["both"]));
    assert_eq!(named.event().unwrap().topics, ["/b"]);
    assert_eq!(named.event().unwrap().topics, ["/a"]);
}

#[test]
fn the_value_that_was_updated_least_recently_is_dropped_at_a_limit() {
    let hub = hub();
    let mut publisher = hub.publisher();
    for n in 0..10 {
        publisher.publish_on(&format!("/{n}"));
    }
    publish(&mut publisher, "/0", "updated");
    publisher.publish_on("/new");

    let mut of_all = hub.subscribe("match=*&snapshot=1");
    let mut kept = hub.subscribe("match=/0&match=/new&snapshot=1");
    let mut dropped = hub.subscribe("match=/1&snapshot=1");

    let rest = [
        "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9", "updated", "/new",
    ];
    assert_eq!(snapshot(&mut of_all), partial(&rest));
    assert_eq!(snapshot(&mut kept), complete(&["updated", "/new"]));
    assert_eq!(snapshot(&mut dropped), partial(&[]));
}

#[test]
fn values_are_bounded_in_bytes_and_can_be_switched_off() {
    let hub = MercureHub::with(|config| config.stream.retained_bytes = 4096);
    let mut publisher = hub.publisher();
    for n in 0..50 {
        publish(&mut publisher, &format!("/{n}"), &"x".repeat(1000));
    }
    let mut stream = hub.subscribe("match=*&snapshot=1");
    let (values, end) = snapshot(&mut stream);
    assert!((1..=4).contains(&values.len()), "{}", values.len());
    assert_eq!(end, partial(&[]).1);
    // An event that exceeds the limit alone does not push out the others.
    publish(&mut publisher, "/large", &"x".repeat(5000));
    let mut stream = hub.subscribe("match=*&snapshot=1");
    assert_eq!(snapshot(&mut stream).0, values);

    let hub = MercureHub::with(|config| config.stream.retained_topics = 0);
    hub.publisher().publish_on("/a");
    let mut stream = hub.subscribe("match=/a&snapshot=1");
    assert_eq!(snapshot(&mut stream), partial(&[]));
}

#[test]
fn a_last_event_id_wins_over_a_snapshot_and_a_lost_id_leads_to_a_gap_and_a_snapshot() {
    let hub = hub();
    let mut publisher = hub.publisher();
    let lost = publisher.publish_on("/a");
    let known = publisher.publish_on("/b");
    publisher.publish_on("/c");
    publisher.publish_on("/d");

    let query = "match=*&snapshot=1";
    let mut resumed = hub.open(query, &format!("Last-Event-ID: {known}\r\n"));
    assert_eq!(resumed.event().unwrap().data, "/c");
    let mut from_query = hub.subscribe(&format!("{query}&last_event_id=earliest"));
    assert_eq!(from_query.event().unwrap().data, "/c");

    let mut restarted = hub.open(query, &format!("Last-Event-ID: {lost}\r\n"));
    assert_eq!(restarted.header("mercure-last-event-id"), Some("earliest"));
    let gap = restarted.event().unwrap();
    assert_eq!(gap.gap()["requested"], lost);
    // With an id, a client that is disconnected now would resume after the values.
    assert_eq!(gap.id, None);
    assert!(gap.gap()["resumed_after"].is_null());
    let all = ["/a", "/b", "/c", "/d"];
    assert_eq!(snapshot(&mut restarted), complete(&all));
    publisher.publish_on("/e");
    assert_eq!(restarted.event().unwrap().data, "/e");
}

#[test]
fn a_reader_that_falls_too_far_behind_receives_a_gap_and_the_values() {
    let hub = hub();
    let mut publisher = hub.publisher();
    let target = format!("{PATH}?match=*&snapshot=1");
    let socket = connect_small(hub.addr());
    let mut stream = Stream::request_on(socket, &target, b"");
    assert_eq!(snapshot(&mut stream), complete(&[]));

    // Larger than the buffers of the two sockets.
    for n in 0..20 {
        publish(&mut publisher, &format!("/{}", n % 3), &"x".repeat(500_000));
    }
    publish(&mut publisher, "/last", "last");

    let mut values = Vec::new();
    loop {
        let event = stream.event_or_checkpoint();
        match event.name.as_deref() {
            Some("gap") => values.clear(),
            Some("checkpoint") => break,
            _ => values.push(event.data.len()),
        }
    }
    assert_eq!(values, [500_000, 500_000, 500_000, 4]);
}

#[test]
fn a_stream_that_is_cut_within_a_snapshot_resumes_without_a_loss() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    for topic in ["/a", "/b", "/c"] {
        publisher.publish_on(topic);
    }
    let mut stream = hub.subscribe("match=*&snapshot=1");
    let first = stream.event().unwrap();
    assert_eq!(first.data, "/a");
    drop(stream);
    publish(&mut publisher, "/b", "new");
    publisher.mark();

    let header = format!("Last-Event-ID: {}\r\n", first.id.unwrap());
    let mut stream = hub.open("match=*&snapshot=1", &header);

    assert_eq!(until_marker(&mut stream), ["/b", "/c", "new"]);
}

/// A hub with 20 large values, and a stream of them, of which the server can send only some before they are read.
fn within_a_snapshot() -> (MercureHub, Publisher, Stream) {
    let hub = MercureHub::with(|config| config.stream.retained_bytes = 256 << 20);
    let mut publisher = hub.publisher();
    for n in 0..20 {
        publish(&mut publisher, &format!("/{n}"), &"x".repeat(500_000));
    }
    let socket = connect_small(hub.addr());
    let stream = Stream::request_on(socket, &format!("{PATH}?match=*&snapshot=1"), b"");
    (hub, publisher, stream)
}

#[test]
fn a_drain_within_a_snapshot_leaves_the_id_of_the_last_value() {
    let (hub, _, mut stream) = within_a_snapshot();
    let first = stream.event().unwrap().id;
    block_on(hub.server.hub.drain()).unwrap();

    let (mut last, mut count) = (first, 1);
    loop {
        let event = stream.event_or_checkpoint();
        if event.name.is_some() {
            assert_eq!(event.id, None, "after {count} values, {last:?}");
            assert_eq!(event.data, "{}");
            break;
        }
        last = event.id;
        count += 1;
    }
    assert!(count < 20);
}

#[test]
fn presence_events_are_no_values() {
    let hub = MercureHub::with(|config| config.hub.subscriptions = true);
    let mut publisher = hub.publisher();
    publisher.publish_on("/a");
    let reader = token(json!([grant("subscribe", &["*"])]));
    let _other = hub.subscribe("match=/b");

    let mut stream = hub.subscribe_with("match=*&snapshot=1", &reader);

    assert_eq!(snapshot(&mut stream), complete(&["/a"]));
    // The event about this stream's own subscription follows.
    assert_eq!(stream.event().unwrap().name.as_deref(), Some("mercure"));
}

#[test]
fn events_that_arrive_during_a_snapshot_are_received_once_and_after_it() {
    let (_hub, mut publisher, mut stream) = within_a_snapshot();
    assert_eq!(stream.event().unwrap().data.len(), 500_000);
    publish(&mut publisher, "/19", "new");
    publisher.mark();

    let mut count = 1;
    while stream.event_or_checkpoint().name.is_none() {
        count += 1;
    }
    assert_eq!(count, 19, "the value of /19 is replaced");
    assert_eq!(stream.event().unwrap().data, "new");
    assert_eq!(stream.event().unwrap().data, MARKER);
}

#[test]
fn values_survive_a_restart_of_a_file_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.redb");
    let start = || {
        MercureHub::with(|config| {
            config.stream.history = 2;
            config.stream.retained_topics = 10;
            config.log.kind = LogKindName::File;
            config.log.path = path.clone();
        })
    };
    let hub = start();
    let mut publisher = hub.publisher();
    publisher.publish("topic=/both&topic=/cleared&data=both");
    publisher.publish_on("/a");
    publish_private(&mut publisher, "/a", "secret");
    publish(&mut publisher, "/cleared", "");
    publisher.publish_on("/b");
    publisher.publish_on("/b");
    publisher.publish_on("/b");
    drop(publisher);
    hub.server.stop().unwrap();
    wait_until_closed(&path);

    let hub = start();
    let reader = token(json!([grant("subscribe", &["*"])]));
    let mut public = hub.subscribe("match=*&snapshot=1");
    let mut cleared = hub.subscribe("match=/cleared&snapshot=1");
    let mut private = hub.subscribe_with("match=*&snapshot=1", &reader);

    assert_eq!(snapshot(&mut public), complete(&["both", "/a", "/b"]));
    assert_eq!(snapshot(&mut cleared), complete(&[]));
    assert_eq!(snapshot(&mut private), complete(&["both", "secret", "/b"]));
}

#[test]
fn a_gap_of_presence_events_is_followed_by_a_snapshot_too() {
    let hub = MercureHub::with(|config| {
        config.hub.subscriptions = true;
        config.stream.presence_history = 1;
        config.stream.queue = 1;
    });
    let reader = token(json!([grant("subscribe", &["*"])]));
    let id = hub.publisher().publish_on("/a");
    for _ in 0..3 {
        hub.subscribe("match=/other");
    }
    hub.server.wait_for_live(0);

    let headers = format!("{}Last-Event-ID: {id}\r\n", bearer(&reader));
    let mut stream = hub.open("match=*&snapshot=1", &headers);

    let gap = stream.event().unwrap();
    assert_eq!((gap.name.as_deref(), gap.id), (Some("gap"), None));
    assert_eq!(snapshot(&mut stream), complete(&["/a"]));
}

#[test]
fn a_client_that_is_cut_after_a_value_with_a_reused_id_loses_nothing() {
    let hub = hub();
    let mut publisher = hub.publisher();
    publisher.publish("topic=/a&data=a&id=urn:again");
    for topic in ["/b", "/c", "/d"] {
        publisher.publish_on(topic);
    }
    let mut stream = hub.subscribe("match=*&snapshot=1");
    // The hub's own id of the event, after which the client can resume for certain.
    let first = stream.event().unwrap();
    let id = first.id.unwrap();
    assert_eq!((first.data.as_str(), &id[..1]), ("a", "#"));
    drop(stream);
    publisher.publish("topic=/e&data=e&id=urn:again");

    let header = format!("Last-Event-ID: {id}\r\n");
    let mut stream = hub.open("match=*&snapshot=1", &header);

    assert_eq!(stream.event().unwrap().gap()["reason"], "evicted");
    for value in ["a", "/b", "/c", "/d", "e"] {
        assert_eq!(stream.event().unwrap().data, value);
    }
}
