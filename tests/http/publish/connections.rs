//! How one connection publishes: several requests, bodies of any framing, and the end of the connection.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use serde_json::json;

use crate::support::{
    client::{connect, connect_small},
    eventually,
    mercure::{
        Client, MARKER, MercureHub, PATH, bearer, form, grant, request, token, until_marker,
    },
};

fn publish_token() -> String {
    token(json!([grant("publish", &["*"])]))
}

/// A `POST` whose body is sent in these chunks.
fn chunked(token: &str, chunks: &[&str]) -> Vec<u8> {
    let mut request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: test\r\n{}Transfer-Encoding: chunked\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n",
        bearer(token)
    );
    for chunk in chunks {
        request.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    request.push_str("0\r\n\r\n");
    request.into_bytes()
}

#[test]
fn pipelined_updates_are_accepted_and_answered_in_order() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe("match=a");
    let mut client = Client::connect(hub.addr());
    let token = publish_token();
    let post = |n: usize| {
        let body = form(&[
            ("topic", "a"),
            ("id", &format!("id {n}")),
            ("data", &n.to_string()),
        ]);
        match n % 2 {
            0 => request("POST", PATH, &bearer(&token), &body),
            _ => chunked(&token, &[&body[..5], &body[5..]]),
        }
    };

    for start in [0, 8] {
        let requests: Vec<u8> = (start..start + 8).flat_map(post).collect();
        client.send(&requests);
        for n in start..start + 8 {
            let answer = client.answer();
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.body, format!("id {n}"));
        }
    }

    let got: Vec<_> = (0..16).map(|_| stream.event().unwrap().data).collect();
    let sent: Vec<_> = (0..16).map(|n| n.to_string()).collect();
    assert_eq!(got, sent);
}

#[test]
fn a_client_that_expects_100_continue_receives_it() {
    let hub = MercureHub::start();
    let mut client = Client::connect(hub.addr());
    let headers = format!("{}Expect: 100-continue\r\n", bearer(&publish_token()));

    let request = request("POST", PATH, &headers, "topic=a&id=x");
    let (head, body) = request.split_at(request.len() - "topic=a&id=x".len());
    client.send(head);
    let go_on = client.answer();
    client.send(body);
    let answer = client.answer();

    assert_eq!(go_on.status(), 100);
    assert_eq!((answer.status(), &*answer.body), (200, "x"));
}

#[test]
fn a_chunked_body_is_accepted() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe("match=a");
    let mut client = Client::connect(hub.addr());
    let token = publish_token();
    let long = "x".repeat(100_000);

    for chunks in [
        &["topic=a&data=1"][..],
        &["top", "ic=a&da", "ta", "=2"],
        &["topic=a&data=", &long, &long],
    ] {
        client.send(&chunked(&token, chunks));
        assert_eq!(client.answer().status(), 200);
    }
    let after = client.post(&bearer(&token), "topic=a&data=after");

    assert_eq!(after.status(), 200);
    let got: Vec<_> = (0..4).map(|_| stream.event().unwrap().data).collect();
    assert_eq!(got, ["1", "2", &long.repeat(2), "after"]);
}

#[test]
fn a_chunked_body_has_the_same_size_limit() {
    let hub = MercureHub::with(|config| config.limits.body = 1024);
    let mut client = Client::connect(hub.addr());

    client.send(&chunked(
        &publish_token(),
        &["topic=a&data=", &"x".repeat(1024)],
    ));

    client.answer().assert_refuses(413, "a body in chunks");
}

#[test]
fn a_request_that_arrives_byte_by_byte_is_accepted() {
    let hub = MercureHub::start();
    let mut client = Client::connect(hub.addr());

    for byte in request("POST", PATH, &bearer(&publish_token()), "topic=a&id=x") {
        client.send(&[byte]);
    }

    let answer = client.answer();
    assert_eq!((answer.status(), &*answer.body), (200, "x"));
}

#[test]
fn an_incomplete_update_is_not_published() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe(&format!("match=a&match={MARKER}"));
    let whole = request("POST", PATH, &bearer(&publish_token()), "topic=a&data=x");
    let chunked = chunked(&publish_token(), &["topic=a&data=x"]);

    for sent in [&whole[..whole.len() - 1], &chunked[..chunked.len() - 5]] {
        let mut socket = connect(hub.addr());
        socket.write_all(sent).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(!said.contains("200 OK"), "{said}");
    }
    hub.publisher().mark();

    assert_eq!(until_marker(&mut stream), [""; 0]);
}

#[test]
fn after_a_refusal_the_connection_accepts_the_next_update_or_announces_its_end() {
    let hub = MercureHub::start();
    let token = publish_token();
    let as_text = format!("{}Content-Type: text/plain\r\n", bearer(&token));

    for refused in [
        request("POST", PATH, "", "topic=a&data=unheard"),
        request("POST", PATH, &bearer(&token), "data=x"),
        request("POST", PATH, &as_text, "topic=a"),
        request("POST", "/nowhere", &bearer(&token), "topic=a"),
    ] {
        let mut client = Client::connect(hub.addr());
        client.send(&refused);
        let answer = client.answer();

        assert!((400..500).contains(&answer.status()), "{answer:?}");
        if answer.header("connection") == Some("close") {
            client.assert_closed();
        } else {
            assert_eq!(client.post(&bearer(&token), "topic=a&id=x").body, "x");
        }
    }
}

#[test]
fn while_the_server_drains_publishers_get_503_with_retry_after() {
    let mut hub = MercureHub::start();
    let mut publisher = hub.publisher();
    let stalled = stalled(&hub);

    hub.server.begin_stop();
    let answer = eventually("the drain", || {
        let answer = publisher.post("topic=a");
        (answer.status() != 200).then_some(answer)
    });

    answer.assert_refuses(503, "a draining server");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(stalled);
    hub.server.join().unwrap();
}

/// A subscriber that does not read, while events are waiting that do not fit into its socket.
fn stalled(hub: &MercureHub) -> TcpStream {
    let mut publisher = hub.publisher();
    let data = "x".repeat(1 << 19);
    for _ in 0..20 {
        publisher.publish(&form(&[("topic", "large"), ("data", &data)]));
    }
    let mut socket = connect_small(hub.addr());
    let target = format!("{PATH}?match=large&last_event_id=earliest");
    write!(socket, "GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    eventually("a subscriber that catches up", || {
        (hub.server.status()["subscribers"]["catching_up"] == 1).then_some(())
    });
    socket
}

#[test]
fn a_refusal_arrives_even_after_a_large_body() {
    let hub = MercureHub::start();
    let body = form(&[("topic", "a"), ("data", &"x".repeat(1_000_000))]);

    for _ in 0..20 {
        let answer = hub.ask("POST", PATH, "", &body);

        answer.assert_refuses(401, "without a token");
    }
}
