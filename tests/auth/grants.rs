//! Which private events a subscriber receives with which token.

use serde_json::{Value, json};

use crate::{
    narrow,
    support::mercure::{MARKER, MercureHub, detail, form, grant, token, until_marker},
    wide,
};

const BOOKS: &str = "match_urlpattern=https://example.com/books/:id";

fn pattern(pattern: &str) -> Value {
    let topics = json!([{ "match": pattern, "match_type": "urlpattern" }]);
    detail(&["subscribe"], topics)
}

#[test]
fn a_private_event_requires_a_matcher_and_a_grant_for_any_of_its_topics() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let book = |n: u8| format!("https://example.com/books/{n}");
    let (one, seven) = (book(1), book(7));
    let exact = grant("subscribe", &[&one, &seven]);
    let users = pattern("https://example.com/users/42/*");
    let all = grant("subscribe", &["*"]);
    let cases: &[(&str, Value, &[&str])] = &[
        (BOOKS, json!([]), &["public 2"]),
        (BOOKS, json!([grant("publish", &["*"])]), &["public 2"]),
        (BOOKS, json!([exact]), &["1", "7", "public 2", "42's 1"]),
        (BOOKS, json!([users]), &["public 2", "42's 1", "42's 3"]),
        (
            BOOKS,
            json!([users, exact]),
            &["1", "7", "public 2", "42's 1", "42's 3"],
        ),
        ("match=*", json!([]), &["public 2", "public other"]),
        (
            "match=*",
            json!([grant("subscribe", &["other"])]),
            &["public 2", "other", "public other"],
        ),
        ("match=nothing", json!([all]), &[]),
        (
            "match=https://example.com/users/42/books/1",
            json!([exact]),
            &["42's 1"],
        ),
        (
            "match=*",
            json!([all]),
            &[
                "1",
                "2",
                "7",
                "public 2",
                "42's 1",
                "42's 3",
                "other",
                "public other",
            ],
        ),
    ];
    let open = |query: &str, details: &Value| {
        let query = format!("{query}&match={MARKER}");
        hub.subscribe_with(&query, &token(details.clone()))
    };
    let mut live: Vec<_> = cases
        .iter()
        .map(|(query, details, _)| open(query, details))
        .collect();

    for (topics, private, data) in [
        (&[&*book(1)][..], true, "1"),
        (&[&book(2)], true, "2"),
        (&[&book(7)], true, "7"),
        (&[&book(2)], false, "public 2"),
        (
            &[&book(1), "https://example.com/users/42/books/1"],
            true,
            "42's 1",
        ),
        (
            &[&book(3), "https://example.com/users/42/books/3"],
            true,
            "42's 3",
        ),
        (&["other"], true, "other"),
        (&["other"], false, "public other"),
    ] {
        let mut fields = vec![("data", data)];
        fields.extend(topics.iter().map(|topic| ("topic", *topic)));
        fields.extend(private.then_some(("private", "on")));
        publisher.publish(&form(&fields));
    }
    publisher.mark();

    for (stream, (query, details, expected)) in live.iter_mut().zip(cases) {
        let mut replayed = open(&format!("{query}&last_event_id=earliest"), details);
        assert_eq!(until_marker(stream), *expected, "live: {query} {details}");
        assert_eq!(
            until_marker(&mut replayed),
            *expected,
            "replayed: {query} {details}"
        );
    }
}

#[test]
fn a_replay_uses_the_token_of_the_request() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let query = format!("match=a&match={MARKER}");
    let mut first = hub.subscribe_with(&query, &wide());
    publisher.publish("topic=a&data=0&id=zero");
    publisher.publish("topic=a&data=1&private=on");
    publisher.publish("topic=a&data=2");
    publisher.mark();
    assert_eq!(until_marker(&mut first), ["0", "1", "2"]);

    let again = format!("{query}&last_event_id=zero");
    let mut narrower = hub.subscribe_with(&again, &narrow());
    let mut wider = hub.subscribe_with(&again, &wide());

    assert_eq!(narrower.header("mercure-last-event-id"), Some("zero"));
    assert_eq!(until_marker(&mut narrower), ["2"]);
    assert_eq!(until_marker(&mut wider), ["1", "2"]);
}
