//! Subscribing to topics according to the Mercure protocol (chapters Subscription, Matcher Types, Subscribers
//! and Reconnection): who receives what, and what is refused.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::support::{
    client::{Stream, connect_small, get, post, request},
    eventually,
    server::{TestServer, quiet},
};
use jsonwebtoken::dangerous::insecure_decode_claims;
use serde_json::Value;
use sse_broadcaster::{
    config::{Config, IssuerConfig, KeySource, SubscribePolicy},
    token::{TokenRequest, mint},
};

const HUB: &str = "/.well-known/mercure";

/// A config with a hub URL, and with an issuer whose secret is in this folder.
fn with_issuer(folder: &Path) -> Config {
    let secret = folder.join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let mut config = quiet();
    let keys = KeySource::SecretFile(secret);
    config.auth.issuers = vec![IssuerConfig::new("https://issuer.example".to_owned(), keys)];
    config.hub.url = Some("https://hub.example/.well-known/mercure".parse().unwrap());
    config
}

/// A token that allows reading these topics and patterns, and publishing everything.
fn token(config: &Config, topics: &[&str], patterns: &[&str], seconds: u64) -> String {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let request = TokenRequest {
        publish: vec!["*".to_owned()],
        subscribe: owned(topics),
        subscribe_patterns: owned(patterns),
        lifetime: Duration::from_secs(seconds),
        ..TokenRequest::default()
    };
    mint(config, &request).unwrap()
}

fn subscribe(server: &TestServer, query: &str, token: Option<&str>) -> Stream {
    let header = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let target = format!("{HUB}?{query}");
    let stream = Stream::request(server.addr, &target, header.unwrap_or_default().as_bytes());
    assert_eq!(stream.status(), 200, "{query}: {}", stream.head);
    stream
}

fn publish(server: &TestServer, token: &str, form: &str) -> String {
    let response = post(server.addr, HUB, Some(token), form);
    assert_eq!(response.status(), 200, "{form}: {}", response.body);
    response.body
}

/// The data of the events before the event `end`. It is published last, to prove that no other event arrives.
fn until_end(stream: &mut Stream) -> Vec<String> {
    let datas = std::iter::from_fn(|| Some(stream.event()?.data));
    datas.take_while(|data| data != "end").collect()
}

#[test]
fn each_subscriber_gets_its_requested_topics_live_and_from_history() {
    let server = TestServer::quiet();
    let token = server.first_token.clone().unwrap();
    let base = format!("http://{}", server.addr);
    let topics = [
        "https://example.com/foo",
        "https://example.com/Foo",
        "https://example.com/books/1",
        "https://example.com/books/1/2",
        "bar",
        "/books/1",
        "caf\u{e9}",
        "cafe\u{301}",
    ];
    let cases: &[(&str, &[usize])] = &[
        ("match=https://example.com/foo", &[0]),
        ("match_exact=https://example.com/foo&match=bar", &[0, 4]),
        ("match_urlpattern=https://example.com/books/:id", &[2]),
        ("match_urlpattern=https://EXAMPLE.com/books/:id", &[2]),
        (
            "match_urlpattern=https://example.com/books/:id&match=https://example.com/books/1",
            &[2],
        ),
        ("match_urlpattern=/books/:id", &[5]),
        ("match_urlpattern=https://example.com/books/*", &[2, 3]),
        ("match=*", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ("match_urlpattern=*", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ("match=caf%C3%A9", &[6]),
        ("match=https://example.com/books/:id", &[]),
        ("other=x&topic=bar&match=bar", &[4]),
    ];
    let open = |query: &str| subscribe(&server, &format!("{query}&match=end"), None);
    let mut live: Vec<_> = cases.iter().map(|(query, _)| open(query)).collect();

    for (n, topic) in topics.iter().enumerate() {
        publish(&server, &token, &format!("topic={topic}&data={n}"));
    }
    publish(&server, &token, "topic=end&data=end");

    for (stream, (query, expected)) in live.iter_mut().zip(cases) {
        let mut replayed = open(&format!("{query}&last_event_id=earliest"));
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(until_end(stream), expected, "live, {query}, {base}");
        assert_eq!(until_end(&mut replayed), expected, "from history, {query}");
    }
}

#[test]
fn the_numbered_stream_has_its_own_topic_unless_others_are_requested() {
    let server = TestServer::quiet();
    let token = server.first_token.clone().unwrap();
    let mut own = Stream::open(server.addr);
    let mut other = Stream::request(server.addr, "/events/sse?match=a&match=end", b"");
    let mut both = subscribe(&server, "match=/ticker&match=a&match=end", None);
    server.wait_for_live(3);

    server.publish("0");
    publish(&server, &token, "topic=a&data=1");
    publish(&server, &token, "topic=end&topic=/ticker&data=end");

    assert_eq!(until_end(&mut own), ["0"]);
    assert_eq!(until_end(&mut other), ["1"]);
    assert_eq!(until_end(&mut both), ["0", "1"]);
}

#[test]
fn an_invalid_subscription_request_is_refused_with_400() {
    let mut config = quiet();
    config.limits.matchers = 3;
    config.limits.pattern = 20;
    let server = TestServer::start(config);
    for query in [
        "",
        "topic=a",
        "match",
        "match=",
        "matches=a",
        "Match=a",
        "MATCH_URLPATTERN=a",
        "match_nothing=a",
        "match_nothing=*",
        "matchmaker=a&match=a",
        "match=a%00b",
        "match=a%E2%80%8Bb",
        "match=%FF",
        "match_urlpattern=/(",
        "match_urlpattern=https://]",
        "match=a&match=b&match=c&match_exact=d",
        "match=123456789012345678901",
    ] {
        let response = get(server.addr, &format!("{HUB}?{query}"));

        assert_eq!(response.status(), 400, "{query}");
        let kind = response.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{query}");
    }
    assert_eq!(server.live(), 0);
}

#[test]
fn a_query_request_combines_the_matchers_of_its_body_and_its_url() {
    let server = TestServer::quiet();
    let token = server.first_token.clone().unwrap();
    publish(&server, &token, "topic=a&data=0&id=zero");
    publish(&server, &token, "topic=b&data=1&id=one");
    publish(&server, &token, "topic=a&data=2");
    let form = "match=a&last_event_id=one&match=end";
    let query = |target: &str| {
        let request = format!(
            "QUERY {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        let stream = Stream::sent(server.addr, request.as_bytes());
        assert_eq!(stream.status(), 200, "{}", stream.head);
        stream
    };

    let mut by_body = query(HUB);
    let mut by_both = query(&format!("{HUB}?match_exact=b&last_event_id=zero"));
    publish(&server, &token, "topic=end&data=end");

    assert_eq!(by_body.header("mercure-last-event-id"), Some("one"));
    assert_eq!(until_end(&mut by_body), ["2"]);
    assert_eq!(until_end(&mut by_both), ["1", "2"]);
}

#[test]
fn a_private_event_reaches_subscribers_whose_token_grants_one_of_its_topics() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_issuer(folder.path());
    let token = |topics: &[&str], patterns: &[&str]| token(&config, topics, patterns, 60);
    let server = TestServer::start(config.clone());
    let books = "https://example.com/books";
    let users = "https://example.com/users/42/*";
    let cases = [
        (None, vec!["public"]),
        (Some(token(&["nothing"], &[])), vec!["public"]),
        (
            Some(token(&[&format!("{books}/1")], &[])),
            vec!["one", "public"],
        ),
        (Some(token(&[], &[users])), vec!["two", "public"]),
        (Some(token(&["*"], &[])), vec!["one", "two", "public"]),
    ];
    let query = format!("match_urlpattern={books}/:id&match=end");
    let open = |query: &str, token: &Option<String>| subscribe(&server, query, token.as_deref());
    let mut live: Vec<_> = cases.iter().map(|(token, _)| open(&query, token)).collect();
    let publisher = token(&["*"], &[]);

    for form in [
        format!("topic={books}/1&private&data=one"),
        format!("topic={books}/2&topic=https://example.com/users/42/books/2&private=off&data=two"),
        format!("topic={books}/3&data=public"),
        "topic=end&data=end".to_owned(),
    ] {
        publish(&server, &publisher, &form);
    }

    for (stream, (token, expected)) in live.iter_mut().zip(&cases) {
        let mut replayed = open(&format!("{query}&last_event_id=earliest"), token);
        assert_eq!(until_end(stream), *expected, "live");
        assert_eq!(until_end(&mut replayed), *expected, "from history");
    }
}

#[test]
fn an_invalid_token_is_always_refused_and_a_missing_one_if_a_token_is_required() {
    let mut config = quiet();
    let anonymous = TestServer::start(config.clone());
    config.auth.subscribe = SubscribePolicy::Token;
    let with_token = TestServer::start(config);
    let target = format!("{HUB}?match=a");

    let bad = request(
        anonymous.addr,
        "GET",
        &target,
        "Authorization: Bearer x\r\n",
    );
    let none = get(with_token.addr, &target);
    let numbered = get(with_token.addr, "/events/sse");
    let good = subscribe(&with_token, "match=a", with_token.first_token.as_deref());

    assert_eq!(bad.status(), 401);
    let challenge = bad.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("bearer error=\"invalid_token\", resource_metadata=\"http://"));
    for response in [none, numbered] {
        assert_eq!(response.status(), 401);
        let challenge = response.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("bearer resource_metadata=\"http://"));
    }
    assert_eq!(good.status(), 200);
}

#[test]
fn a_stream_announces_the_expiry_of_its_token_and_ends_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = with_issuer(folder.path());
    config.auth.expiring = Duration::from_secs(1);
    let server = TestServer::start(config.clone());
    let token = token(&config, &["*"], &[], 3);

    let mut stream = subscribe(&server, "match=a", Some(&token));
    publish(&server, &token, "topic=a&private=on&data=0");
    let first = stream.event().unwrap();
    let expiring = stream.event().unwrap();
    stream.assert_ends();
    let ended = SystemTime::now();

    assert_eq!(first.data, "0");
    assert_eq!(expiring.name.as_deref(), Some("expiring"));
    assert_eq!(expiring.id, None, "it is no event of the log");
    let data: Value = serde_json::from_str(&expiring.data).unwrap();
    assert_eq!(data["in_seconds"], 0);
    let expires_at = Duration::from_secs(data["expires_at"].as_u64().unwrap());
    assert!(ended <= UNIX_EPOCH + expires_at);
    eventually("the end of the token", || {
        let refused = post(server.addr, HUB, Some(&token), "topic=a");
        (refused.status() == 401).then_some(())
    });
}

#[test]
fn a_stalled_stream_does_not_outlast_its_token() {
    const BACKLOG: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let mut config = with_issuer(folder.path());
    config.auth.expiring = Duration::ZERO;
    // The write timeout is longer than the test, so it cannot close the stream.
    config.server.write_timeout = Duration::from_secs(60);
    let server = TestServer::start(config.clone());
    let publisher = token(&config, &[], &[], 60);
    let data = "x".repeat(10_000);
    for _ in 0..BACKLOG {
        publish(&server, &publisher, &format!("topic=a&data={data}"));
    }

    let reader = token(&config, &["a"], &[], 3);
    let claims: Value = insecure_decode_claims(&reader).unwrap();
    let expires_at = UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64().unwrap());
    let mut stalled = Stream::request_on(
        connect_small(server.addr),
        &format!("{HUB}?match=a&last_event_id=earliest"),
        format!("Authorization: Bearer {reader}\r\n").as_bytes(),
    );
    assert_eq!(stalled.status(), 200, "{}", stalled.head);
    stalled.block();
    eventually("the end of the stalled stream", || {
        (server.status()["subscribers"]["catching_up"] == 0).then_some(())
    });

    // The server may need a moment to notice that the token has expired.
    assert!(SystemTime::now() < expires_at + Duration::from_secs(1));
    let metrics = get(server.addr, "/metrics").body;
    let expired = "broadcaster_closes_total{reason=\"expired\"} 1";
    assert!(metrics.lines().any(|line| line == expired), "{metrics}");
    // The connection was closed before most of the data was sent.
    let rest = io::copy(&mut stalled.socket(), &mut io::sink()).unwrap();
    assert!(rest < (BACKLOG * data.len() / 2) as u64, "{rest} bytes");
}

#[test]
fn subscribers_with_one_token_are_limited() {
    let mut config = quiet();
    config.limits.subscriptions = 1;
    let server = TestServer::start(config);
    let token = server.first_token.clone().unwrap();
    let target = format!("{HUB}?match=a");
    let authorization = format!("Authorization: Bearer {token}\r\n");

    let first = subscribe(&server, "match=a", Some(&token));
    let second = request(server.addr, "GET", &target, &authorization);
    let head = request(server.addr, "HEAD", &target, &authorization);
    let without = subscribe(&server, "match=a", None);
    drop(first);

    assert_eq!(second.status(), 200);
    assert!(second.body.starts_with("retry: "), "{}", second.body);
    assert_eq!((head.status(), without.status()), (200, 200));
    let metrics = get(server.addr, "/metrics").body;
    assert!(metrics.contains("broadcaster_rejections_total{reason=\"token\"} 1\n"));
    eventually("room for another", || {
        let mut stream = Stream::request(server.addr, &target, authorization.as_bytes());
        (stream.checkpoint().is_some()).then_some(())
    });
}

#[test]
fn the_newest_streams_of_a_token_can_replace_the_oldest() {
    let mut config = quiet();
    config.limits.subscriptions = 2;
    config.limits.subscriptions_policy = sse_broadcaster::AtTokenLimit::KeepNewest;
    let server = TestServer::start(config);
    let token = server.first_token.clone().unwrap();
    let open = || subscribe(&server, "match=a", Some(&token));

    let mut oldest = open();
    let mut second = open();
    let mut newest = open();
    let rest = std::iter::from_fn(|| oldest.try_event().ok().flatten());
    assert_eq!(rest.count(), 0, "the oldest stream ends");
    publish(&server, &token, "topic=a&data=x");

    for stream in [&mut second, &mut newest] {
        assert_eq!(stream.event().unwrap().data, "x");
    }
    let metrics = get(server.addr, "/metrics").body;
    assert!(metrics.contains("broadcaster_closes_total{reason=\"replaced\"} 1\n"));
    assert!(metrics.contains("broadcaster_rejections_total{reason=\"token\"} 0\n"));
}

#[test]
fn a_new_subscriber_receives_an_id_before_its_first_event() {
    let server = TestServer::quiet();
    let token = server.first_token.clone().unwrap();
    publish(&server, &token, "topic=other&data=0");

    let target = format!("{HUB}?match=a");
    let mut cut_off = Stream::request(server.addr, &target, b"");
    let id = cut_off.checkpoint().unwrap();
    drop(cut_off);
    publish(&server, &token, "topic=a&data=missed by nobody");
    let id = id.replace('#', "%23");
    let mut resumed = subscribe(&server, &format!("match=a&last_event_id={id}"), None);

    assert_eq!(resumed.event().unwrap().data, "missed by nobody");
}

#[test]
fn an_unknown_id_is_reported_in_the_stream_and_in_the_response_header() {
    let server = TestServer::quiet();
    let token = server.first_token.clone().unwrap();
    publish(&server, &token, "topic=a&data=0");
    for (id, reason) in [("unknown", "unknown"), ("%231-1", "epoch")] {
        let target = format!("{HUB}?match=a&last_event_id={id}");
        let mut stream = Stream::request(server.addr, &target, b"");

        assert_eq!(stream.header("mercure-last-event-id"), Some("earliest"));
        assert_eq!(stream.event().unwrap().gap()["reason"], reason);
        assert_eq!(stream.event().unwrap().data, "0");
    }
}
