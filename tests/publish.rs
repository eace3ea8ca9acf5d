//! Publishing, as the Mercure protocol says (chapter Publication): what is taken, as what it arrives,
//! and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};

use support::{
    client::{Response, Stream, connect, get, post, request},
    server::{TestServer, quiet},
};

const HUB: &str = "/.well-known/mercure";

fn publish(server: &TestServer, form: &str) -> Response {
    post(server.addr, HUB, server.first_token.as_deref(), form)
}

/// The id of what was published.
fn taken(server: &TestServer, form: &str) -> String {
    let response = publish(server, form);
    assert_eq!(response.status(), 200, "{form}: {}", response.body);
    response.body
}

fn subscribe(server: &TestServer, query: &str) -> Stream {
    let mut stream = Stream::request(server.addr, &format!("{HUB}?{query}"), b"");
    assert_eq!(stream.status(), 200, "{}", stream.head);
    stream.block();
    stream
}

#[test]
fn what_is_published_arrives_with_its_very_fields() {
    let server = TestServer::quiet();
    let mut stream = subscribe(&server, "match=a");
    for (form, expected) in [
        ("topic=a&data=the%20content", "data: the content\n\n"),
        ("topic=a", "data: \n\n"),
        ("data=x&topic=b&topic=a", "data: x\n\n"),
        (
            "topic=a&data=1%0A2%0D3%0D%0A4%0A&type=price&retry=0010",
            "event: price\nretry: 10\ndata: 1\ndata: 2\ndata: 3\ndata: 4\ndata: \n\n",
        ),
        (
            "topic=a&id=&type=&retry=&data=%0Aid: 1",
            "data: \ndata: id: 1\n\n",
        ),
        ("topic=a&unknown=x&data=y", "data: y\n\n"),
    ] {
        let id = taken(&server, form);

        let block = stream.block().unwrap();

        assert!(
            id.starts_with('#'),
            "{id}: no publisher could give this one"
        );
        assert_eq!(block, format!("id: {id}\n{expected}"), "{form}");
    }
}

#[test]
fn the_answer_is_the_id_as_plain_text() {
    let server = TestServer::quiet();

    let response = publish(&server, "topic=a&id=urn:uuid:1");

    assert_eq!(response.status(), 200);
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(response.body, "urn:uuid:1");
}

#[test]
fn a_publishers_own_id_can_be_resumed_from() {
    let server = TestServer::quiet();
    taken(&server, "topic=a&data=0");
    taken(&server, "topic=a&data=1&id=caf%C3%A9 1");
    let hubs = taken(&server, "topic=a&data=2");
    taken(&server, "topic=a&data=3&id=caf%C3%A9 1");

    let by_query = |id: &str| subscribe(&server, &format!("match=a&last_event_id={id}"));
    let datas = |mut stream: Stream, count| -> Vec<_> {
        (0..count).map(|_| stream.event().unwrap().data).collect()
    };

    assert_eq!(datas(by_query("caf%C3%A9%201"), 2), ["2", "3"]);
    assert_eq!(datas(by_query(&hubs.replace('#', "%23")), 1), ["3"]);
    assert_eq!(datas(by_query(hubs.trim_start_matches('#')), 1), ["3"]);
    let header = "Last-Event-ID: caf\u{e9} 1\r\n".as_bytes();
    let target = format!("{HUB}?match=a&last_event_id=earliest");
    let mut stream = Stream::request(server.addr, &target, header);
    assert_eq!(stream.header("mercure-last-event-id"), Some("caf\u{e9} 1"));
    stream.block();
    assert_eq!(datas(stream, 2), ["2", "3"]);
}

#[test]
fn what_is_no_update_is_refused_and_nothing_of_it_is_published() {
    let server = TestServer::quiet();
    let mut stream = subscribe(&server, "match=*");
    for form in [
        "",
        "data=x",
        "topic=",
        "topic=a&topic=*",
        "topic=*",
        "topic=a%0Ab",
        "topic=a%C2%85",
        "topic=a%E2%80%8Bb",
        "topic=%FF",
        "topic=/.well-known/mercure",
        "topic=a&topic=https://any.example/.well-known/%256Dercure/x&topic=/.well-known/%6Dercure/x",
        "topic=https://any.example/.well-known/%2e/mercure/subscriptions/x",
        "topic=mercure",
        "topic=a&id=%23x",
        "topic=a&id=earliest",
        "topic=a&id=a%0Ab",
        "topic=a&id=a%00",
        "topic=a&type=mercure",
        "topic=a&type=gap",
        "topic=a&type=expiring",
        "topic=a&type=a%0Adata:b",
        "topic=a&retry=1s",
        "topic=a&retry=-1",
        "topic=a&retry=%D9%A1",
        "topic=a&data=%FF",
        "topic=a&unknown=%FF",
        "topic=a&data=x&data=y",
    ] {
        let response = publish(&server, form);

        assert_eq!(response.status(), 400, "{form}: {}", response.body);
        let kind = response.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{form}");
        assert_eq!(response.header("www-authenticate"), None, "{form}");
    }
    let hubs = taken(&server, "topic=a&data=marker").replace('#', "");
    let forged = publish(&server, &format!("topic=a&id={hubs}"));

    assert_eq!(
        forged.status(),
        400,
        "an id that the hub gave: {}",
        forged.body
    );
    assert_eq!(stream.event().unwrap().data, "marker");
}

#[test]
fn what_is_too_much_is_refused_with_413() {
    let mut config = quiet();
    config.limits.body = 2000;
    config.limits.field = 300;
    config.limits.topics = 2;
    let server = TestServer::start(config);

    for (form, status) in [
        ("topic=a&topic=b".to_owned(), 200),
        ("topic=a&topic=b&topic=c".to_owned(), 413),
        (format!("topic=a&data={}", "x".repeat(300)), 200),
        (format!("topic=a&data={}", "x".repeat(301)), 413),
        (format!("topic=a&other={}", "x".repeat(2000)), 413),
        (format!("topic=a&id={}", "x".repeat(255)), 200),
        (format!("topic=a&id={}", "x".repeat(256)), 413),
        (format!("topic=a&type={}", "x".repeat(257)), 413),
    ] {
        assert_eq!(publish(&server, &form).status(), status, "{form}");
    }
}

#[test]
fn only_whoever_has_a_token_may_publish_and_only_a_form() {
    let server = TestServer::quiet();
    let metadata = format!(
        "http://{}/.well-known/oauth-protected-resource/.well-known/mercure",
        server.addr
    );
    let challenge = |code: &str| format!("bearer {code}resource_metadata=\"{metadata}\"");

    let none = post(server.addr, HUB, None, "topic=a");
    let bad = post(server.addr, HUB, Some("a.b.c"), "topic=a");
    let malformed = post(server.addr, HUB, Some("a b"), "topic=a");
    let in_query = request(
        server.addr,
        "POST",
        &format!(
            "{HUB}?access_token={}",
            server.first_token.as_ref().unwrap()
        ),
        "Content-Length: 0\r\n",
    );
    let json = request(
        server.addr,
        "POST",
        HUB,
        &format!(
            "Authorization: BEARER {}\r\nContent-Type: application/json\r\nContent-Length: 0\r\n",
            server.first_token.as_ref().unwrap()
        ),
    );

    for (response, status, code) in [
        (none, 401, Some("")),
        (in_query, 401, Some("")),
        (bad, 401, Some("error=\"invalid_token\", ")),
        (malformed, 400, Some("error=\"invalid_request\", ")),
        (json, 400, None),
    ] {
        assert_eq!(response.status(), status, "{}", response.body);
        let expected = code.map(challenge);
        assert_eq!(response.header("www-authenticate"), expected.as_deref());
    }
}

#[test]
fn a_cookie_alone_counts_only_from_a_page_that_is_trusted() {
    let mut config = quiet();
    config.auth.cookie = Some("token".into());
    config.cors.allowed_origins = vec!["https://good.example".into()];
    let server = TestServer::start(config);
    let token = server.first_token.clone().unwrap();
    let here = format!("http://{}", server.addr);
    for (headers, status) in [
        (String::new(), 403),
        ("Origin: https://bad.example\r\n".into(), 403),
        ("Origin: null\r\n".into(), 403),
        ("Origin: https://good.example\r\n".into(), 200),
        (format!("Origin: {here}\r\n"), 200),
        (format!("Referer: {here}/page?x\r\n"), 200),
        ("Referer: https://bad.example/\r\n".into(), 403),
    ] {
        let response = request(
            server.addr,
            "POST",
            HUB,
            &format!(
                "Cookie: a=b; token={token}\r\n{headers}Content-Length: 7\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\r\ntopic=a"
            ),
        );

        assert_eq!(response.status(), status, "{headers}");
        assert_eq!(response.header("www-authenticate"), None, "{headers}");
    }
}

#[test]
fn many_are_published_on_one_connection_ahead_of_their_answers_and_in_chunks() {
    let server = TestServer::quiet();
    let token = server.first_token.clone().unwrap();
    let head = format!(
        "POST {HUB} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n"
    );
    let mut stream = subscribe(&server, "match=a");
    let mut socket = connect(server.addr);

    for first in (0..40).step_by(8) {
        let requests: String = (first..first + 8)
            .map(|n| {
                let form = format!("topic=a&data={n:02}");
                if n % 2 == 0 {
                    return format!("{head}Content-Length: {}\r\n\r\n{form}", form.len());
                }
                let (start, end) = form.split_at(5);
                format!("{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{start}\r\nA\r\n{end}\r\n0\r\n\r\n")
            })
            .collect();
        socket.write_all(requests.as_bytes()).unwrap();
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 200 OK").count() < 8 || !answers.ends_with(char::is_numeric)
        {
            let mut bytes = [0; 4096];
            let read = socket.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "{answers}");
            answers.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        for n in first..first + 8 {
            assert_eq!(stream.event().unwrap().data, format!("{n:02}"));
        }
    }
}

#[test]
fn other_methods_get_405_and_the_metadata_says_how_to_get_a_token() {
    let server = TestServer::quiet();

    let put = request(server.addr, "PUT", HUB, "");
    let metadata = get(
        server.addr,
        "/.well-known/oauth-protected-resource/.well-known/mercure",
    );

    assert_eq!(put.status(), 405);
    assert_eq!(put.header("allow"), Some("get, head, query, post, options"));
    let metadata: serde_json::Value = serde_json::from_str(&metadata.body).unwrap();
    assert_eq!(
        metadata,
        serde_json::json!({
            "resource": format!("http://{}{HUB}", server.addr),
            "authorization_details_types_supported": ["https://mercure.rocks/authorization-detail"],
            "bearer_methods_supported": ["header"],
            "mercure_cookie": "__Secure-mercure_access_token",
            "mercure_matcher_types_supported": ["exact", "urlpattern"],
        })
    );
}
