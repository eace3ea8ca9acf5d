//! The options `topics=1`, `since` and `poll=1` of a subscription.

use std::{collections::BTreeMap, thread::sleep, time::Duration};

use serde_json::json;
use sse_broadcaster::config::{Config, LogKindName};

use crate::support::{
    client::{Stream, connect_small},
    mercure::{MARKER, MercureHub, PATH, form, grant, query, token, until_marker},
    server::wait_until_closed,
};

#[test]
fn events_name_the_topics_for_which_a_subscriber_receives_them() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let reader = token(json!([grant("subscribe", &["/a"])]));
    let of_all = token(json!([grant("subscribe", &["*"])]));
    let exact = "match=/a&match=/b&topics=1";
    let pattern = "match_urlpattern=/:any&topics=1";

    let mut public = hub.subscribe(exact);
    let mut private_exact = hub.subscribe_with(exact, &reader);
    let mut private_pattern = hub.subscribe_with(pattern, &reader);
    let mut private_all = hub.subscribe_with("match=*&topics=1", &of_all);
    let mut without = hub.subscribe("match=/a&topics=0");
    let id = publisher.publish("topic=/b&topic=/a&topic=/c&data=x");
    publisher.publish("topic=/b&topic=/a&topic=/c&data=y&private=on");

    let text = format!("topic: /b\ntopic: /a\nid: {id}\ndata: x\n\n");
    assert!(public.block().unwrap().ends_with("data: {}\n\n"));
    assert_eq!(public.block().unwrap(), text);
    // An exact matcher names a topic even if the subscriber may not read it.
    assert_eq!(private_exact.event().unwrap().topics, ["/b", "/a"]);
    assert_eq!(private_exact.event().unwrap().topics, ["/b", "/a"]);
    assert_eq!(private_pattern.event().unwrap().topics, ["/b", "/a", "/c"]);
    assert_eq!(private_pattern.event().unwrap().topics, ["/a"]);
    assert_eq!(private_all.event().unwrap().topics.len(), 3);
    assert_eq!(private_all.event().unwrap().topics.len(), 3);
    assert!(without.event().unwrap().topics.is_empty());
    // From the history too.
    let mut replayed = hub.subscribe(&format!("{exact}&last_event_id=earliest"));
    assert_eq!(replayed.event().unwrap().topics, ["/b", "/a"]);
}

#[test]
fn the_topics_of_a_snapshot_are_those_of_the_live_stream() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let reader = token(json!([grant("subscribe", &["/b"])]));
    let [pattern, exact] = ["match=*&topics=1", "match=/a&match=/b&topics=1"];
    let open = |query: &str| hub.subscribe_with(query, &reader);
    let mut live = [open(pattern), open(exact)];
    publisher.publish("topic=/a&data=public");
    // The reader may read this event because of /b only, so a pattern learns nothing about /a from it.
    publisher.publish("topic=/a&topic=/b&data=private&private=on");
    publisher.publish("topic=/b&data=b&private=on");
    publisher.mark();
    let fold = |stream: &mut Stream| {
        let mut state = BTreeMap::new();
        loop {
            let event = stream.event().unwrap();
            if event.topics.iter().any(|topic| topic == MARKER) {
                return state;
            }
            for topic in event.topics {
                state.insert(topic, event.data.clone());
            }
        }
    };
    let expected = |of_a: &str| {
        BTreeMap::from([("/a", of_a), ("/b", "b")].map(|(a, b)| (a.to_owned(), b.to_owned())))
    };

    // An exact subscriber does not ask for the marker, so it learns about it by another topic.
    let [pattern_live, exact_live] = &mut live;
    assert_eq!(fold(pattern_live), expected("public"));
    let read =
        |stream: &mut Stream| -> Vec<_> { (0..3).map(|_| stream.event().unwrap()).collect() };
    let named: Vec<_> = read(exact_live)
        .into_iter()
        .map(|event| event.topics)
        .collect();
    assert_eq!(named, [vec!["/a"], vec!["/a", "/b"], vec!["/b"]]);
    let snapshot = |query: &str| fold(&mut open(&format!("{query}&match={MARKER}&snapshot=1")));
    assert_eq!(snapshot(pattern), expected("public"));
    assert_eq!(snapshot(exact), expected("private"));

    publisher.publish("topic=/a&topic=/b&data=&private=on");
    publisher.mark();
    let state = snapshot(pattern);
    assert_eq!(state.get("/a").map(String::as_str), Some("public"));
    assert_eq!(state.get("/b"), None);
}

#[test]
fn a_topic_that_an_event_names_twice_is_named_once() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe("match=*&topics=1");
    hub.publisher().publish("topic=/a&topic=/b&topic=/a&data=x");

    assert_eq!(stream.event().unwrap().topics, ["/a", "/b"]);
}

#[test]
fn a_poll_sends_what_there_is_and_ends() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let first = publisher.publish_on("/a");
    publisher.publish_on("/a");
    let last = publisher.publish_on("/other");
    let poll = |id: &str| {
        let stream = hub.subscribe(&format!("match=/a&poll=1&last_event_id={}", &id[1..]));
        assert_eq!(stream.header("connection"), Some("close"));
        stream
    };

    let mut stream = poll(&first);
    assert_eq!(stream.event().unwrap().data, "/a");
    assert_eq!(stream.checkpoint(), Some(last.clone()));
    stream.assert_ends();
    let mut empty = poll(&last);
    assert_eq!(empty.checkpoint(), Some(last.clone()));
    empty.assert_ends();
    let mut from_now = hub.subscribe("match=/a&poll=1");
    assert_eq!(from_now.checkpoint(), Some(last.clone()));
    assert_eq!(from_now.checkpoint(), Some(last.clone()));
    from_now.assert_ends();
    let metrics = crate::support::client::get(hub.addr(), "/metrics").body;
    assert!(metrics.contains("closes_total{reason=\"polled\"} 3"));
}

#[test]
fn a_poll_ends_even_if_events_are_published_faster_than_the_client_reads() {
    let hub = MercureHub::with(|config| config.stream.history_bytes = 64 << 20);
    let mut publisher = hub.publisher();
    let mut publish = |number: usize| {
        // Together, the events exceed the buffers of the two sockets.
        let data = "x".repeat(500_000);
        for _ in 0..number {
            publisher.publish(&form(&[("topic", "/a"), ("data", &data)]));
        }
    };
    publish(20);
    let target = format!("{PATH}?match=/a&poll=1&last_event_id=earliest");
    let mut stream = Stream::request_on(connect_small(hub.addr()), &target, b"");
    assert_eq!(stream.event().unwrap().data.len(), 500_000);

    publish(20);

    for _ in 1..20 {
        assert_eq!(stream.event().unwrap().data.len(), 500_000);
    }
    assert!(stream.checkpoint().is_some());
    stream.assert_ends();
}

#[test]
fn a_poll_of_a_snapshot_is_the_state() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    publisher.publish_on("/a");
    publisher.publish(&form(&[("topic", "/a"), ("data", "new")]));

    let mut stream = hub.subscribe("match=/a&snapshot=1&poll=1");

    assert_eq!(stream.event().unwrap().data, "new");
    stream.assert_ends();
}

#[test]
fn invalid_options_are_refused() {
    let hub = MercureHub::start();
    for (option, detail) in [
        ("snapshot=yes", "The parameter snapshot must be 1 or 0."),
        ("topics=", "The parameter topics must be 1 or 0."),
        ("poll=2", "The parameter poll must be 1 or 0."),
        ("since=yesterday", "The parameter since must be an age"),
        ("since=-1s", "The parameter since must be an age"),
        ("since=%ff", "The parameter since must be an age"),
    ] {
        let answer = hub.ask("GET", &format!("{PATH}?match=/a&{option}"), "", "");
        answer.assert_refuses(400, option);
        assert!(answer.body.contains(detail), "{option}: {}", answer.body);
    }
}

#[test]
fn options_are_also_read_from_the_body_of_a_query() {
    let hub = MercureHub::start();
    hub.publisher().publish_on("/a");
    let mut stream = query(&hub, PATH, "", "match=/a&snapshot=1&topics=1&poll=1");

    assert_eq!(stream.event().unwrap().topics, ["/a"]);
    stream.assert_ends();
}

/// Publishes an event, waits, and publishes two more. Returns the time in between, as clients write it.
fn publish_around_a_time(hub: &MercureHub) -> String {
    let mut publisher = hub.publisher();
    publisher.publish_on("/before");
    // The times differ by more than the resolution of the log.
    sleep(Duration::from_millis(20));
    let time = humantime::format_rfc3339_millis(std::time::SystemTime::now());
    sleep(Duration::from_millis(20));
    publisher.publish_on("/after");
    publisher.mark();
    time.to_string()
}

fn since(hub: &MercureHub, since: &str) -> Stream {
    let since = form(&[("match", "*"), ("since", since)]);
    hub.subscribe(&since)
}

/// Checks since on a server that has a log of its own.
fn check_since(change: impl Fn(&mut Config), loses_events_at_start: bool) {
    let hub = MercureHub::with(&change);
    let time = publish_around_a_time(&hub);

    let mut stream = since(&hub, &time);
    assert_eq!(stream.header("mercure-last-event-id"), None);
    assert_eq!(until_marker(&mut stream), ["/after"]);
    let mut stream = since(&hub, "1h");
    if loses_events_at_start {
        let gap = stream.event().unwrap().gap();
        assert_eq!(gap["reason"], "epoch");
        assert_eq!(gap["requested"], "1h");
    }
    assert_eq!(until_marker(&mut stream), ["/before", "/after"]);
    let mut stream = since(&hub, "2999-01-01T00:00:00Z");
    hub.publisher().publish_on("/later");
    assert_eq!(stream.event().unwrap().data, "/later");
    // Ids and snapshots win.
    let query = format!("match=*&since={time}");
    let mut stream = hub.subscribe(&format!("{query}&last_event_id=earliest"));
    assert_eq!(stream.event().unwrap().data, "/before");
    let stream = hub.subscribe(&format!("{query}&snapshot=1"));
    assert_eq!(stream.header("mercure-last-event-id"), Some("earliest"));
}

#[test]
fn a_stream_begins_at_a_time_in_memory() {
    check_since(|_| (), true);
}

#[test]
fn a_stream_begins_at_a_time_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.redb");
    let change = |config: &mut Config| {
        config.log.kind = LogKindName::File;
        config.log.path = path.clone();
    };
    check_since(change, false);
}

#[test]
fn a_gap_comes_first_only_if_events_since_the_time_were_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.redb");
    let start = |history| {
        MercureHub::with(|config| {
            config.stream.history = history;
            config.log.kind = LogKindName::File;
            config.log.path = path.clone();
        })
    };
    let hub = start(3);
    hub.publisher().publish_on("/oldest");
    let time = publish_around_a_time(&hub);
    hub.publisher().publish_on("/last");
    let check = |hub: &MercureHub, evicted: &[&str]| {
        assert_eq!(until_marker(&mut since(hub, &time)), ["/after"]);
        let mut stream = since(hub, "1h");
        assert_eq!(stream.event().unwrap().gap()["reason"], "evicted");
        assert_eq!(until_marker(&mut stream), evicted);
    };
    check(&hub, &["/after"]);
    hub.server.stop().unwrap();
    wait_until_closed(&path);

    // The file still has the event that was evicted last, and knows when the others were appended.
    let hub = start(100);
    check(&hub, &["/before", "/after"]);
}
