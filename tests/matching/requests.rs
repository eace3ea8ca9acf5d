//! Invalid subscription requests, and what a request body may contain.

use crate::support::{
    client::Stream,
    eventually,
    mercure::{Client, MARKER, MercureHub, PATH, query, until_marker},
};

/// Parameters that are refused, one in each request.
const WRONG: &[&str] = &[
    "Match=a",
    "MATCH=a",
    "mAtch=a",
    "m%41tch=a",
    "match_EXACT=a",
    "match_URLPattern=a",
    "match_=a",
    "match_regex=a",
    "match_regex=*",
    "match_urltemplate=a",
    "match-urlpattern=a",
    "match_urlpattern_=a",
    "match+=a",
    "matcher=a",
    "matching",
    "match[]=a",
    "matchmaking=1",
    "match",
    "match=",
    "match_urlpattern=",
    "match=a%00b",
    "match=a%0Ab",
    "match=%7F",
    "match=%C2%85",
    "match=%C2%AD",
    "match=%E2%80%8B",
    "match=a%EF%BB%BF",
    "match=%F3%A0%80%81",
    "match=%FF",
    "match=%C3",
    "match=%C0%80",
    "match=%ED%A0%80",
    "match_urlpattern=/a%0Ab",
    "match_urlpattern=https%3A%2F%2Fexample.com%2F(",
    "match_urlpattern=https%3A%2F%2Fexample.com%2F%7Ba",
    "match_urlpattern=%2F%3Aa%2F%3Aa",
    "match_urlpattern=https%3A%2F%2Fexa+mple.com%2F",
    "match_urlpattern=%2F(%3F%3Da)",
    // Inside a group: a look-ahead, a back reference, flags, a Unicode class.
    "match_urlpattern=%2F(a(%3F%3Db))",
    "match_urlpattern=%2F((a)%5C1)",
    "match_urlpattern=%2F((%3Fi:a))",
    "match_urlpattern=%2F(%5Cp%7BL%7D)",
];

#[test]
fn one_invalid_matcher_anywhere_refuses_the_whole_request() {
    let hub = MercureHub::start();

    for wrong in WRONG {
        for target in [
            format!("{PATH}?{wrong}"),
            format!("{PATH}?{wrong}&match=good"),
            format!("{PATH}?match=good&{wrong}"),
            format!("/events/sse?match=good&{wrong}"),
        ] {
            hub.ask("GET", &target, "", "").assert_refuses(400, &target);
        }
        let body = format!("match=good&{wrong}");
        hub.ask("QUERY", PATH, "", &body).assert_refuses(400, wrong);
        hub.ask("QUERY", &format!("{PATH}?match=good"), "", wrong)
            .assert_refuses(400, wrong);
    }
    assert_eq!(hub.server.live(), 0);
}

#[test]
fn a_subscription_without_a_matcher_is_refused() {
    let hub = MercureHub::start();

    for query in [
        "",
        "?",
        "?foo=bar",
        "?topic=x",
        "?last_event_id=earliest",
        "?_match=a",
    ] {
        let target = format!("{PATH}{query}");
        hub.ask("GET", &target, "", "").assert_refuses(400, query);
        hub.ask("QUERY", &target, "", "").assert_refuses(400, query);
    }
}

#[test]
fn unknown_parameters_can_contain_anything() {
    let hub = MercureHub::start();

    for query in [
        "x=%FF&match=a",
        "%FF=x&match=a",
        "match=a&utm=%C3",
        "match=a&topic=%ED%A0%80",
    ] {
        hub.subscribe(query);
    }
}

#[test]
fn too_many_or_too_long_matchers_are_refused() {
    let hub = MercureHub::with(|config| {
        config.limits.matchers = 3;
        config.limits.pattern = 16;
        config.limits.body = 1024;
    });
    let refused = |method: &str, query: &str, body: &str, status| {
        let target = format!("{PATH}?{query}");
        hub.ask(method, &target, "", body)
            .assert_refuses(status, &target);
    };

    hub.subscribe("match=a&match_exact=b&match_urlpattern=c");
    refused(
        "GET",
        "match=a&match_exact=b&match_urlpattern=c&match=d",
        "",
        400,
    );
    refused("GET", "match=a&match=a&match=a&match=a", "", 400);
    refused("QUERY", "match=a&match=b", "match=c&match=d", 400);
    hub.subscribe("match=1234567890123456&match_urlpattern=/234567890123456");
    refused("GET", "match=12345678901234567", "", 400);
    refused("GET", "match=123456789012345%C3%A9", "", 400);
    refused("GET", "match_urlpattern=/2345678901234567", "", 400);
    refused("QUERY", "match=a", &"x".repeat(1025), 400);
}

#[test]
fn a_body_longer_than_all_allowed_matchers_is_refused_with_their_limit() {
    let hub = MercureHub::with(|config| {
        config.limits.matchers = 3;
        config.limits.pattern = 16;
    });

    for body in [
        "match=a&".repeat(1000),
        format!("match={}", "a".repeat(10_000)),
    ] {
        let answer = hub.ask("QUERY", PATH, "", &body);

        answer.assert_refuses(400, &body[..16]);
        assert!(answer.body.contains("limits.matchers"), "{}", answer.body);
    }
}

#[test]
fn the_memory_for_slow_request_bodies_is_bounded() {
    let hub = MercureHub::start();
    let head = format!(
        "QUERY {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\nmatch=a&x={}",
        "x".repeat(299_000)
    );
    let slow = || {
        let mut client = Client::connect(hub.addr());
        client.send(head.as_bytes());
        client
    };

    // These requests send more than 64 MiB.
    let mut clients: Vec<_> = (0..260).map(|_| slow()).collect();
    let refused = eventually("a refusal", || {
        let refused = clients.iter().position(Client::has_answer)?;
        Some(clients.remove(refused).answer())
    });
    assert_eq!(refused.status(), 503, "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    hub.subscribe("match=a");

    drop(clients);
    // When memory is free again, the body is read, and the request is refused because its matcher is empty.
    let large = format!("match=&x={}", "x".repeat(300_000));
    eventually("free memory", || {
        (hub.ask("QUERY", PATH, "", &large).status() == 400).then_some(())
    });
}

#[test]
fn patterns_whose_total_complexity_is_too_high_are_refused() {
    let hub = MercureHub::start();
    let patterns = |pattern: &str| {
        let patterns = (0..100).map(|n| format!("match_urlpattern=/{n}/{pattern}"));
        patterns.collect::<Vec<_>>().join("&")
    };

    query(&hub, PATH, "", &patterns("books/:id/*?*#*"));
    let each_is_taken = patterns("([a-z]{300})");
    query(&hub, PATH, "", each_is_taken.split('&').next().unwrap());
    hub.ask("QUERY", PATH, "", &each_is_taken)
        .assert_refuses(400, "a hundred patterns of some 100 KB each");
}

#[test]
fn matchers_of_the_body_and_of_the_url_are_combined() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let marked = |body: &str| format!("{body}&match={MARKER}");
    let with_query = |pairs: &str| format!("{PATH}?{pairs}");
    let mut streams = [
        (query(&hub, PATH, "", &marked("match=a")), &["a"][..]),
        (
            query(&hub, &with_query("match=a"), "", &marked("match=b")),
            &["a", "b"],
        ),
        (
            query(&hub, &with_query("match=a"), "", &marked("match=a")),
            &["a"],
        ),
        (query(&hub, &with_query(&marked("match=a")), "", ""), &["a"]),
        (query(&hub, "/events/sse", "", &marked("match=c")), &["c"]),
        (
            query(
                &hub,
                PATH,
                "Content-Type: Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n",
                &marked("m%61tch_urlpattern=%2F.well-known%2F:x"),
            ),
            &["a", "b", "c"],
        ),
    ];

    for topic in ["a", "b", "c"] {
        publisher.publish_on(topic);
    }
    publisher.mark();

    for (stream, expected) in &mut streams {
        assert_eq!(until_marker(stream), *expected, "{}", stream.head);
    }
}

#[test]
fn a_body_that_is_not_a_form_is_refused() {
    let hub = MercureHub::start();
    let target = format!("{PATH}?match=a");

    for content_type in ["application/json", "text/plain", ""] {
        let headers = format!("Content-Type: {content_type}\r\n");
        hub.ask("QUERY", &target, &headers, "match=b")
            .assert_refuses(400, content_type);
    }
}

#[test]
fn a_chunked_body_is_accepted() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let long = "x".repeat(1000);
    let filler = format!("&{long}").repeat(5);
    let request = format!(
        "QUERY {PATH} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n\
         7\r\nmatch=a\r\n{:x}\r\n{filler}\r\n0\r\n\r\n",
        filler.len()
    );

    let mut stream = Stream::sent(hub.addr(), request.as_bytes());
    publisher.publish_on("a");

    assert_eq!(stream.event().unwrap().data, "a");
}

#[test]
fn a_head_request_opens_no_stream() {
    let hub = MercureHub::start();
    let mut client = Client::connect(hub.addr());

    let head = format!("HEAD {PATH}?match=a HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(head.as_bytes());
    let answer = client.answer();

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(hub.server.live(), 0);
    client.assert_closed();
}
