//! Which topics a subscriber receives for its matchers (Mercure, chapters Subscription and Matcher Types), in
//! the URL or in a request body.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod places;
mod requests;

use support::mercure::{MARKER, MercureHub, form, until_marker};

const FOO: &str = "https://example.com/foo";

/// The topics of the events that are published for the tables below, in this order.
const TOPICS: &[&str] = &[
    FOO,
    "https://example.com/Foo",
    "HTTPS://example.com/foo",
    "https://example.com:443/foo",
    "https://example.com/foo/",
    "https://example.com/%66oo",
    "https://example.com/books/1",
    "https://EXAMPLE.com/books/1",
    "https://example.com:443/books/1",
    "https://u:p@example.com/books/1",
    "https://example.com/books/1?x=1#y",
    "https://example.com/books/:id",
    "https://example.com/books/",
    "https://example.com/books/1/2",
    "https://example.com/Books/1",
    "https://example.com/%62ooks/1",
    "http://example.com/books/1",
    "/books/1",
    "https://hub.example.com/books/1",
    "https://example.com/users/42/books/1",
    "https://example.com/users/42/",
    "https://example.com/users/42",
    "https://example.com/users/420/x",
    "bar",
    "Bar",
    "a b",
    "a+b",
    "a;match=b",
    "100%",
    "%zz",
    "caf\u{e9}",
    "cafe\u{301}",
    "urn:x",
    "https://[bad",
    "**",
    " *",
    "\\*",
];

/// The topics that a pattern for books matches: the host in any case, the default port written or not, and
/// anything in the parts that the pattern does not mention.
const BOOKS: &[&str] = &[
    "https://example.com/books/1",
    "https://EXAMPLE.com/books/1",
    "https://example.com:443/books/1",
    "https://u:p@example.com/books/1",
    "https://example.com/books/1?x=1#y",
];

/// Asserts that a subscriber with each query receives exactly these topics, live and from the history.
fn assert_matches(cases: &[(&str, &[&str])]) {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let open = |query: &str| hub.subscribe(&format!("{query}&match={MARKER}"));
    let mut live: Vec<_> = cases.iter().map(|(query, _)| open(query)).collect();

    for topic in TOPICS {
        publisher.publish_on(topic);
    }
    publisher.mark();

    for (stream, (query, expected)) in live.iter_mut().zip(cases) {
        assert_eq!(until_marker(stream), *expected, "live: {query}");
        let mut replayed = open(&format!("{query}&last_event_id=earliest"));
        assert_eq!(until_marker(&mut replayed), *expected, "replayed: {query}");
    }
}

#[test]
fn an_exact_matcher_matches_only_the_same_text() {
    assert_matches(&[
        ("match=https%3A%2F%2Fexample.com%2Ffoo", &[FOO]),
        ("match=https://example.com/foo", &[FOO]),
        ("match_exact=https://example.com/foo", &[FOO]),
        (
            "match=https://example.com/books/:id",
            &["https://example.com/books/:id"],
        ),
        ("match=/books/1", &["/books/1"]),
        ("match=bar", &["bar"]),
        ("match=caf%C3%A9", &["caf\u{e9}"]),
        ("match=cafe%CC%81", &["cafe\u{301}"]),
        ("match=https://[bad", &["https://[bad"]),
        ("match=**", &["**"]),
        ("match=+*", &[" *"]),
        ("match=%5C*", &["\\*"]),
        ("match=nothing", &[]),
    ]);
}

#[test]
fn a_pattern_matches_as_the_url_pattern_standard_says() {
    let and_id = [BOOKS, &["https://example.com/books/:id"]].concat();
    assert_matches(&[
        ("match_urlpattern=https://example.com/books/:id", &and_id),
        ("match_urlpattern=HTTPS://EXAMPLE.com/books/:id", &and_id),
        (
            "match_urlpattern=https%3A%2F%2Fexample.com%2Fbooks%2F%3Aid%28%5Cd%2B%29",
            BOOKS,
        ),
        (
            "match_urlpattern=/books/:id",
            &["/books/1", "https://hub.example.com/books/1"],
        ),
        (
            "match_urlpattern=https://example.com/users/42/*",
            &[
                "https://example.com/users/42/books/1",
                "https://example.com/users/42/",
            ],
        ),
        ("match_urlpattern=bar", &["bar"]),
        ("match_urlpattern=/.well-known/bar", &["bar"]),
        ("match_urlpattern=/BOOKS/1", &[]),
        // A colon begins the name of a group. A pattern without a slash is relative to the hub's URL, as in
        // browsers with a base URL.
        ("match_urlpattern=urn:x", &[]),
        ("match_urlpattern=urn%5C:x", &[]),
    ]);
}

#[test]
fn the_wildcard_matches_every_topic_with_either_matcher_type() {
    assert_matches(&[
        ("match=*", TOPICS),
        ("match=%2A", TOPICS),
        ("match_exact=*", TOPICS),
        ("match_urlpattern=*", TOPICS),
        ("match=*&match=bar&match_urlpattern=/books/1", TOPICS),
    ]);
}

#[test]
fn a_topic_that_is_not_a_url_matches_no_pattern() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let patterns = form(&[
        ("match_urlpattern", ":protocol://*/*"),
        ("match_urlpattern", "*://*:*/*"),
        ("match_urlpattern", "https://*/*"),
        ("match", MARKER),
    ]);
    let mut stream = hub.subscribe(&patterns);

    for topic in ["https://[bad", "https://exa mple.com/", "http://", FOO] {
        publisher.publish_on(topic);
    }
    publisher.mark();

    assert_eq!(until_marker(&mut stream), [FOO]);
}

#[test]
fn several_matchers_match_every_topic_that_one_of_them_matches() {
    let books_and_bar = [&[FOO], BOOKS, &["https://example.com/books/:id", "bar"]].concat();
    assert_matches(&[
        (
            "match=https%3A%2F%2Fexample.com%2Ffoo&match=bar\
             &match_urlpattern=https%3A%2F%2Fexample.com%2Fbooks%2F%3Aid",
            &books_and_bar,
        ),
        (
            "match=bar&match=bar&match_exact=bar&match_urlpattern=bar",
            &["bar"],
        ),
        ("match=bar&match=Bar", &["bar", "Bar"]),
    ]);
}

#[test]
fn a_query_is_decoded_as_browsers_encode_it() {
    assert_matches(&[
        ("match=a+b", &["a b"]),
        ("match=a%20b", &["a b"]),
        ("match=a%2Bb", &["a+b"]),
        ("match=a;match=b", &["a;match=b"]),
        ("match=100%", &["100%"]),
        ("match=%zz", &["%zz"]),
        ("m%61tch=bar", &["bar"]),
        (
            "match%5Furlpattern=%2Fbooks%2F1",
            &["/books/1", "https://hub.example.com/books/1"],
        ),
        ("&&match=bar&&=&", &["bar"]),
        (
            "foo=1&mat=Bar&topic=Bar&lastEventID=x&access_token=x&match=bar&_match=Bar&atch",
            &["bar"],
        ),
    ]);
}

#[test]
fn a_pattern_that_takes_exponential_time_in_other_engines_is_fast() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let patterns = form(&[
        ("match_urlpattern", "/((?:a+)+)b"),
        ("match_urlpattern", "/((?:a|a)*)!x"),
        ("match", MARKER),
    ]);
    let mut stream = hub.subscribe(&patterns);

    publisher.publish_on(&format!("/{}!", "a".repeat(4000)));
    publisher.publish_on("/aab");
    publisher.mark();

    assert_eq!(until_marker(&mut stream), ["/aab"]);
}
