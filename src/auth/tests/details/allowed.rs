//! Tests what authorization details allow.

use super::*;

#[test]
fn a_matcher_allows_the_topics_that_it_matches() {
    const FOO: &str = "https://example.com/foo";

    for (matcher, meant, others) in [
        (
            exactly(FOO),
            &[FOO][..],
            &["https://example.com/Foo", "https://example.com/foo?x=1"][..],
        ),
        (
            json!({ "match": FOO, "match_type": "exact" }),
            &[FOO],
            &["https://example.com/foo/"],
        ),
        (
            pattern("https://example.com/:x"),
            &[
                FOO,
                "https://EXAMPLE.com/foo",
                "https://example.com/foo?x=1#y",
            ],
            &["https://example.com/foo/bar", "https://[bad", "/foo"],
        ),
        (
            exactly("https://example.com/:x"),
            &["https://example.com/:x"],
            &[FOO],
        ),
        (exactly("*"), &[FOO, "https://[bad", "urn:x"], &[]),
        (
            json!({ "match": "*", "match_type": "exact" }),
            &[FOO, "https://[bad"],
            &[],
        ),
        (pattern("*"), &[FOO, "https://[bad"], &[]),
        (exactly("**"), &["**"], &[FOO]),
        (exactly(" *"), &[" *"], &[FOO]),
        (
            pattern("/foo"),
            &["/foo", "https://hub.example.com/foo"],
            &[FOO],
        ),
        (exactly("/foo"), &["/foo"], &["https://hub.example.com/foo"]),
        (
            pattern("/books/:id"),
            &["/books/1"],
            &["/%62ooks/1", "/Books/1"],
        ),
        (
            exactly("https://example.com/("),
            &["https://example.com/("],
            &[FOO],
        ),
        (
            pattern("/((?:a+)+)b"),
            &["/aab"],
            &["/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
        ),
    ] {
        let access = access(json!([detail(&["publish", "subscribe"], json!([matcher]))]));

        for topic in meant {
            assert!(may_publish(&access, topic), "{matcher} {topic}");
            assert!(access.may_read(topic, &hub()), "{matcher} {topic}");
        }
        for topic in others {
            assert!(!may_publish(&access, topic), "{matcher} {topic}");
            assert!(!access.may_read(topic, &hub()), "{matcher} {topic}");
        }
    }
}

#[test]
fn actions_and_topics_of_different_details_are_not_mixed() {
    let access = access(json!([
        detail(&["publish"], json!([exactly("a")])),
        detail(&["subscribe"], json!([exactly("b")])),
        detail(&["publish"], json!([exactly("c"), exactly("d")])),
    ]));

    let published = ["a", "b", "c", "d"].map(|topic| may_publish(&access, topic));
    let read = ["a", "b", "c", "d"].map(|topic| access.may_read(topic, &hub()));

    assert_eq!(published, [true, false, true, true]);
    assert_eq!(read, [false, true, false, false]);
}
