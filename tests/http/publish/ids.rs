//! Ids that publishers give their events.

use crate::support::{
    client::Stream,
    mercure::{MercureHub, PATH, form},
};

#[test]
fn an_id_from_a_publisher_is_kept_and_subscribers_can_resume_after_it() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let mut live = hub.subscribe("match=*");

    for id in [
        "urn:uuid:e1ee88e2-532a-4d6f-ba70-f0f8bd584022",
        "https://example.com/a?b=c&d#e",
        "abc",
        "1",
        "a#b",
        "a b",
        "\"\\",
        "100%",
        "5-1a",
        &"x".repeat(255),
    ] {
        let given = publisher.publish(&form(&[("topic", "a"), ("id", id)]));
        let next = publisher.publish(&form(&[("topic", "a"), ("data", id)]));
        let live = [live.event().unwrap(), live.event().unwrap()];
        let header = format!("Last-Event-ID: {id}\r\n");
        let query = form(&[("match", "a"), ("last_event_id", id)]);

        assert_eq!(given, id);
        assert_eq!(live[0].id.as_deref(), Some(id));
        for mut stream in [hub.open("match=a", &header), hub.open(&query, "")] {
            let event = stream.event().unwrap();
            assert_eq!(event.id.as_ref(), Some(&next), "{id}");
            assert_eq!(event.data, id);
            assert_eq!(stream.header("mercure-last-event-id"), Some(id));
        }
    }
}

#[test]
fn only_the_exact_word_earliest_is_reserved() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    publisher.publish("topic=a&data=first");

    let id = publisher.publish("topic=a&id=Earliest");
    publisher.publish("topic=a&data=next");
    let mut stream = hub.subscribe("match=a&last_event_id=Earliest");

    assert_eq!(id, "Earliest");
    assert_eq!(stream.event().unwrap().data, "next");
    publisher
        .post("topic=a&id=earliest")
        .assert_refuses(400, "earliest");
}

#[test]
fn an_empty_id_is_ignored() {
    let hub = MercureHub::start();

    let id = hub.publisher().publish("topic=a&id=");

    assert!(id.starts_with('#'), "{id}");
}

#[test]
fn a_repeated_id_refers_to_its_oldest_update() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    for (id, data) in [("x", "0"), ("y", "1"), ("x", "2"), ("z", "3")] {
        publisher.publish(&form(&[("topic", "a"), ("id", id), ("data", data)]));
    }

    let mut stream = hub.subscribe("match=a&last_event_id=x");
    let got: Vec<_> = (0..3).map(|_| stream.event().unwrap()).collect();

    let got: Vec<_> = got.iter().map(|event| &*event.data).collect();
    assert_eq!(got, ["1", "2", "3"]);
}

#[test]
fn subscribers_can_resume_after_the_hubs_own_ids_but_publishers_cannot_use_them() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let own = publisher.publish("topic=a");
    let number = own.strip_prefix('#').unwrap();
    let next = publisher.publish("topic=a");

    for (id, header) in [
        (&*own, format!("Last-Event-ID: {own}\r\n")),
        (number, format!("Last-Event-ID: {number}\r\n")),
    ] {
        let query = form(&[("match", "a"), ("last_event_id", id)]);
        for mut stream in [hub.open("match=a", &header), hub.open(&query, "")] {
            assert_eq!(stream.header("mercure-last-event-id"), Some(id));
            assert_eq!(stream.event().unwrap().id.as_ref(), Some(&next));
        }
        let taken = form(&[("topic", "a"), ("id", id)]);
        publisher.post(&taken).assert_refuses(400, id);
    }
}

#[test]
fn no_id_from_a_publisher_hides_the_gap_after_an_older_epoch() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    publisher.publish("topic=a&id=urn:1");

    // Ids in the hub's own form. An earlier log may have assigned them, so subscribers may still send them.
    for id in ["#1600000000000-4", "1600000000000-4"] {
        let taken = form(&[("topic", "a"), ("id", id)]);
        publisher.post(&taken).assert_refuses(400, id);
        let query = form(&[("match", "a"), ("last_event_id", id)]);
        let gap = hub.subscribe(&query).event().unwrap().gap();
        assert_eq!(
            (&gap["reason"], &gap["requested"]),
            (&"epoch".into(), &id.into())
        );
    }
}

#[test]
fn the_last_event_id_header_has_priority_over_the_query() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    for id in ["one", "two", "three"] {
        publisher.publish(&form(&[("topic", "a"), ("id", id)]));
    }

    let mut stream = Stream::request(
        hub.addr(),
        &format!("{PATH}?match=a&last_event_id=one"),
        b"Last-Event-ID: two\r\n",
    );

    assert_eq!(stream.header("mercure-last-event-id"), Some("two"));
    assert_eq!(stream.event().unwrap().id.as_deref(), Some("three"));
}
