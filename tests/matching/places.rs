//! Where a stream begins: which part of a request decides it, and what the response says about it.

use crate::support::mercure::{MercureHub, PATH, form, query};

#[test]
fn the_last_event_id_comes_from_the_header_then_the_url_then_the_body() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    for id in ["one", "two", "three", "four"] {
        publisher.publish(&form(&[("topic", "a"), ("id", id)]));
    }
    let header = "Last-Event-ID: three\r\n";
    let in_address = format!("{PATH}?last_event_id=two");

    for (target, headers, body, after, next) in [
        (PATH, "", "match=a&last_event_id=one", "one", "two"),
        (
            &*in_address,
            "",
            "match=a&last_event_id=one",
            "two",
            "three",
        ),
        (
            &in_address,
            header,
            "match=a&last_event_id=one",
            "three",
            "four",
        ),
        (PATH, header, "match=a&last_event_id=one", "three", "four"),
        (&in_address, "", "match=a", "two", "three"),
    ] {
        let mut stream = query(&hub, target, headers, body);

        assert_eq!(stream.header("mercure-last-event-id"), Some(after));
        assert_eq!(stream.event().unwrap().id.as_deref(), Some(next));
    }
}

#[test]
fn a_response_names_the_position_where_the_stream_begins_if_the_request_has_an_id() {
    let hub = MercureHub::start();
    let place = |query: &str, headers: &str| {
        let stream = hub.open(&format!("match=a{query}"), headers);
        stream.header("mercure-last-event-id").map(str::to_owned)
    };
    let empty = ["earliest", "x", "1-1"].map(|id| place(&format!("&last_event_id={id}"), ""));
    assert_eq!(empty, [(); 3].map(|()| Some("earliest".to_owned())));
    let mut publisher = hub.publisher();
    let one = publisher.publish("topic=other&id=one");
    let two = publisher.publish("topic=a");
    let encoded = form(&[("", &*two), ("last_event_id", &two)]);

    for (query, headers, expected) in [
        ("", "", None),
        ("&last_event_id=", "", None),
        ("", "Last-Event-ID: \r\n", None),
        ("&last_event_id=one", "Last-Event-ID: \r\n", Some(&*one)),
        ("&lastEventID=one", "", None),
        ("&last_event_id=one", "", Some(&*one)),
        ("&lastEventId=one", "", Some(&one)),
        ("", "Last-Event-ID: one\r\n", Some(&one)),
        ("", "last-event-id: one\r\n", Some(&one)),
        (&encoded, "", Some(&two)),
        ("&last_event_id=earliest", "", Some("earliest")),
        ("&last_event_id=unknown", "", Some("earliest")),
        (
            "&last_event_id=one",
            "Last-Event-ID: unknown\r\n",
            Some("earliest"),
        ),
        ("", "Last-Event-ID: \u{fe0f}\u{200b}\r\n", Some("earliest")),
    ] {
        assert_eq!(
            place(query, headers).as_deref(),
            expected,
            "{query} {headers}"
        );
    }
}
