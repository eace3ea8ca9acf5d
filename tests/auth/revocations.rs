//! Revoked tokens: `/revocations` on the listener for operators.

use std::{net::SocketAddr, path::Path, thread::sleep, time::Duration};

use serde_json::{Value, json};
use sse_broadcaster::config::{Config, LogKindName};

use crate::support::{
    client::{Response, Stream, get, request},
    eventually,
    mercure::{Answer, Client, HUB, MercureHub, PATH, bearer, detail, folder_with, now, signed_as},
    process::{Process, command},
    server::wait_until_closed,
};

const ISSUER: &str = "https://example.com";

fn hub() -> MercureHub {
    hub_with(|_| ())
}

fn hub_with(change: impl FnOnce(&mut Config)) -> MercureHub {
    MercureHub::with(|config| {
        config.server.admin_bind = Some("127.0.0.1:0".to_owned());
        change(config);
    })
}

/// A token that allows everything, with these claims besides the usual ones. A claim that is null is left out.
fn token(more: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": HUB,
        "iat": now() as u64 - 5,
        "exp": now() as u64 + 3600,
        "authorization_details": [detail(&["publish", "subscribe"], json!([{ "match": "*" }]))],
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let claims = claims.as_object_mut().unwrap();
    claims.retain(|_, value| !value.is_null());
    signed_as("at+jwt", &Value::Object(claims.clone()))
}

fn of(subject: &str) -> String {
    token(json!({ "sub": subject }))
}

/// What an operator asks for at this address.
struct Operator {
    addr: SocketAddr,
    headers: String,
}

impl Operator {
    fn of(hub: &MercureHub) -> Self {
        Self {
            addr: hub.server.admin_addr.unwrap(),
            headers: String::new(),
        }
    }

    fn ask(&self, method: &str, target: &str, more: &str, body: &str) -> Answer {
        let mut client = Client::connect(self.addr);
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: admin\r\nContent-Length: {length}\r\n{more}{}\r\n{body}",
            self.headers
        );
        client.send(request.as_bytes());
        client.answer()
    }

    fn post(&self, body: &str) -> Answer {
        let json = "Content-Type: application/json\r\n";
        self.ask("POST", "/revocations", json, body)
    }

    fn revoke(&self, kind: &str, text: &str) {
        let answer = self.post(&json!({ "iss": ISSUER, kind: text }).to_string());
        assert_eq!(answer.status(), 200, "{}", answer.body);
    }

    fn lift(&self, kind: &str, text: &str) -> u16 {
        let target = format!("/revocations?iss={ISSUER}&{kind}={text}");
        self.ask("DELETE", &target, "", "").status()
    }

    fn list(&self) -> Vec<Value> {
        let answer = get(self.addr, "/revocations");
        assert_eq!(answer.status(), 200, "{}", answer.body);
        let list: Value = serde_json::from_str(&answer.body).unwrap();
        list["revocations"].as_array().unwrap().clone()
    }
}

fn publish(hub: &MercureHub, token: &str) -> Answer {
    hub.ask("POST", PATH, &bearer(token), "topic=a&data=x")
}

/// Asserts that a stream has ended without another event.
fn assert_ended(mut stream: Stream) {
    let rest = std::iter::from_fn(|| stream.try_event().ok().flatten());
    assert_eq!(rest.count(), 0);
}

#[test]
fn revoking_a_subject_ends_its_streams_and_refuses_its_older_tokens() {
    let hub = hub();
    let operator = Operator::of(&hub);
    let [alice, again, bob] = [
        of("alice"),
        token(json!({ "sub": "alice", "jti": "1" })),
        of("bob"),
    ];
    let nobody = token(json!({}));
    let without_iat = token(json!({ "sub": "alice", "iat": null }));
    let ended = [&alice, &again, &without_iat].map(|token| hub.subscribe_with("match=b", token));
    let mut lasting = [&bob, &nobody].map(|token| hub.subscribe_with("match=b", token));
    let mut anonymous = hub.subscribe("match=b");

    operator.revoke("sub", "alice");

    ended.into_iter().for_each(assert_ended);
    for token in [&alice, &again, &without_iat] {
        let answer = publish(&hub, token);
        answer.assert_refuses(401, token);
        assert!(answer.body.contains("it was revoked"), "{}", answer.body);
    }
    // A token that is issued later is good again.
    let later = token(json!({ "sub": "alice", "iat": now() + 1.0 }));
    for token in [&bob, &nobody, &later] {
        assert_eq!(publish(&hub, token).status(), 200);
    }
    let other_issuer = json!({ "iss": "https://other.example", "sub": "bob" }).to_string();
    assert_eq!(operator.post(&other_issuer).status(), 200);
    hub.ask("POST", PATH, &bearer(&bob), "topic=b&data=still");
    for stream in lasting.iter_mut().chain([&mut anonymous]) {
        assert_eq!(stream.event().unwrap().data, "still");
    }
    let metrics = get(operator.addr, "/metrics").body;
    assert!(metrics.contains("broadcaster_closes_total{reason=\"revoked\"} 3\n"));
    assert!(metrics.contains("broadcaster_revocations 2\n"), "{metrics}");
}

#[test]
fn revoking_an_id_affects_one_token() {
    let hub = hub();
    let operator = Operator::of(&hub);
    let [one, two] = ["1", "2"].map(|id| token(json!({ "sub": "alice", "jti": id })));
    let ended = hub.subscribe_with("match=b", &one);
    let mut lasting = hub.subscribe_with("match=b", &two);

    operator.revoke("jti", "1");

    assert_ended(ended);
    assert_eq!(publish(&hub, &one).status(), 401);
    assert_eq!(
        hub.ask("POST", PATH, &bearer(&two), "topic=b&data=x")
            .status(),
        200
    );
    assert_eq!(lasting.event().unwrap().data, "x");
    // The text of one kind means nothing for the other.
    operator.revoke("sub", "2");
    assert_eq!(publish(&hub, &two).status(), 200);
}

#[test]
fn the_time_of_issue_protects_no_token_from_its_revocation() {
    let hub = hub();
    let operator = Operator::of(&hub);
    let later = now() + 3600.0;
    for (n, iat) in [
        json!(later),
        json!(later * 1000.0),
        json!(1e308),
        json!("soon"),
        json!(null),
    ]
    .into_iter()
    .enumerate()
    {
        let by_id = token(json!({ "jti": format!("id {n}"), "iat": iat }));
        let by_subject = token(json!({ "sub": format!("subject {n}"), "iat": iat }));
        assert_eq!(publish(&hub, &by_id).status(), 200, "{iat}");
        assert_eq!(publish(&hub, &by_subject).status(), 200, "{iat}");
        operator.revoke("jti", &format!("id {n}"));
        operator.revoke("sub", &format!("subject {n}"));
        assert_eq!(publish(&hub, &by_id).status(), 401, "{iat}");
        assert_eq!(publish(&hub, &by_subject).status(), 401, "{iat}");
    }
    // An id names one token, whenever it was issued.
    operator.revoke("jti", "new");
    let new = token(json!({ "jti": "new", "iat": now() + 1.0 }));
    assert_eq!(publish(&hub, &new).status(), 401);
}

#[test]
fn an_update_whose_token_is_revoked_while_it_arrives_is_refused() {
    let hub = hub();
    let operator = Operator::of(&hub);
    let mut client = Client::connect(hub.addr());
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 14\r\n{}\r\ntopic=a",
        bearer(&of("alice"))
    );
    client.send(head.as_bytes());
    // The request is being read.
    sleep(Duration::from_millis(300));
    operator.revoke("sub", "alice");

    client.send(b"&data=x");

    assert_eq!(client.answer().status(), 401);
}

#[test]
fn without_a_token_of_operators_no_page_can_revoke() {
    let hub = hub();
    let operator = Operator::of(&hub);
    let page = "Content-Type: application/json\r\nOrigin: http://rebound.example\r\n";
    let body = r#"{"iss":"a","sub":"b"}"#;

    assert_eq!(
        operator.ask("POST", "/revocations", page, body).status(),
        401
    );
    let target = "/revocations?iss=a&sub=b";
    assert_eq!(operator.ask("DELETE", target, page, "").status(), 401);
    assert!(operator.list().is_empty());
}

#[test]
fn revocations_are_listed_and_lifted() {
    let hub = hub();
    let operator = Operator::of(&hub);
    assert!(operator.list().is_empty());
    operator.revoke("sub", "alice");
    operator.revoke("jti", "a&b=%c");
    operator.revoke("sub", "alice");

    let list = operator.list();
    assert_eq!(list.len(), 2);
    let alice = list.iter().find(|it| it["sub"] == "alice").unwrap();
    let time = |name: &str| humantime::parse_rfc3339(alice[name].as_str().unwrap()).unwrap();
    let lasts = time("forgotten_at")
        .duration_since(time("revoked_at"))
        .unwrap();
    assert_eq!(lasts, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(publish(&hub, &of("alice")).status(), 401);
    assert_eq!(operator.lift("sub", "alice"), 204);
    assert_eq!(publish(&hub, &of("alice")).status(), 200);
    assert_eq!(operator.lift("sub", "alice"), 404);
    assert_eq!(operator.lift("jti", "a%26b%3D%25c"), 204);
    assert!(operator.list().is_empty());
}

#[test]
fn a_revocation_is_forgotten_after_its_time() {
    let hub = hub_with(|config| config.auth.revocation_ttl = Duration::from_secs(2));
    let operator = Operator::of(&hub);
    operator.revoke("sub", "alice");
    assert_eq!(publish(&hub, &of("alice")).status(), 401);

    sleep(Duration::from_millis(2100));

    assert_eq!(publish(&hub, &of("alice")).status(), 200);
    assert!(operator.list().is_empty());
    operator.revoke("sub", "bob");
    assert_eq!(operator.list().len(), 1);
}

#[test]
fn a_wrong_request_is_refused_and_changes_nothing() {
    let hub = hub();
    let operator = Operator::of(&hub);
    let long = "x".repeat(4097);
    for body in [
        "",
        "[]",
        "{}",
        r#"{"iss":"a"}"#,
        r#"{"sub":"a"}"#,
        r#"{"iss":"a","sub":5}"#,
        r#"{"iss":"a","sub":""}"#,
        r#"{"iss":"","sub":"a"}"#,
        r#"{"iss":"a","sub":"b","jti":"c"}"#,
        r#"{"iss":"a","sub":"b","other":1}"#,
        &json!({ "iss": "a", "sub": long }).to_string(),
        "{\"iss\":\"a\",\"sub\":\"\u{fffd}",
    ] {
        operator.post(body).assert_refuses(400, body);
    }
    let body = r#"{"iss":"a","sub":"b"}"#;
    // A page of another origin can send this type.
    let text = operator.ask("POST", "/revocations", "Content-Type: text/plain\r\n", body);
    text.assert_refuses(400, body);
    operator
        .post(&" ".repeat(20_000))
        .assert_refuses(400, "long");
    for query in ["", "?iss=a", "?iss=a&sub=", "?iss=a&sub=b&jti=c"] {
        let answer = operator.ask("DELETE", &format!("/revocations{query}"), "", "");
        answer.assert_refuses(400, query);
    }
    assert_eq!(operator.ask("PUT", "/revocations", "", "").status(), 405);
    assert!(operator.list().is_empty());
    for method in ["GET", "POST", "DELETE"] {
        let public = request(hub.addr(), method, "/revocations", "Content-Length: 0\r\n");
        let expected = if method == "GET" { 404 } else { 405 };
        assert_eq!(public.status(), expected, "{method} on the public listener");
    }
    // Without a listener of their own, operators cannot revoke.
    let public_only = MercureHub::start();
    assert_eq!(get(public_only.addr(), "/revocations").status(), 404);
}

#[test]
fn operators_need_the_token_in_the_file() {
    const ADMIN: &str = "an admin token of the tests, 32 bytes";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin");
    std::fs::write(&file, format!("{ADMIN}\n")).unwrap();
    let hub = hub_with(|config| config.server.admin_token_file = Some(file));
    let ask = |headers: &str| {
        let operator = Operator {
            headers: headers.to_owned(),
            ..Operator::of(&hub)
        };
        let answers = [
            operator.post(r#"{"iss":"a","sub":"b"}"#),
            operator.ask("GET", "/revocations", "", ""),
            operator.ask("DELETE", "/revocations?iss=a&sub=b", "", ""),
        ];
        answers.map(|answer| answer.status())
    };

    for headers in [
        String::new(),
        bearer(""),
        bearer("wrong"),
        bearer(&ADMIN[1..]),
        bearer(&of("alice")),
        format!("Authorization: Basic {ADMIN}\r\n"),
        format!("Authorization: {ADMIN}\r\n"),
        format!("{0}{0}", bearer(ADMIN)),
    ] {
        assert_eq!(ask(&headers), [401; 3], "{headers}");
    }
    assert_eq!(ask(&bearer(ADMIN)), [200, 200, 204]);
    assert_eq!(
        ask(&format!("authorization: bearer {ADMIN}\r\n")),
        [200, 200, 204]
    );
    // Other paths for operators need no token, so that Prometheus can read them.
    assert_eq!(
        get(hub.server.admin_addr.unwrap(), "/metrics").status(),
        200
    );
}

#[test]
fn revocations_survive_a_restart_with_a_log_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.redb");
    let start = |path: &Path| {
        hub_with(|config| {
            config.log.kind = LogKindName::File;
            config.log.path = path.to_owned();
        })
    };
    let hub = start(&path);
    let operator = Operator::of(&hub);
    for subject in ["alice", "bob"] {
        operator.revoke("sub", subject);
    }
    assert_eq!(operator.lift("sub", "bob"), 204);
    hub.server.stop().unwrap();
    wait_until_closed(&path);

    let hub = start(&path);
    assert_eq!(publish(&hub, &of("alice")).status(), 401);
    assert_eq!(publish(&hub, &of("bob")).status(), 200);
    assert_eq!(Operator::of(&hub).list().len(), 1);
}

/// A process with a log file that revokes tokens, and the address for its operators.
fn process(more: &str) -> (Process, Operator, tempfile::TempDir) {
    let folder = folder_with(&format!(
        "[ticker]\nenabled = false\n[server]\nadmin_bind = '127.0.0.1:0'\n\
         [auth]\nissuers = [{{ issuer = '{ISSUER}', secret_file = 'secret' }}]\n{more}"
    ));
    let mut command = command(folder.path(), &["--bind", "127.0.0.1:0"]);
    command.env("BROADCASTER__HUB__URL", HUB);
    let process = Process::spawn(command);
    let addr = eventually("the address for operators", || {
        let log = process.stderr();
        let (_, rest) = log.split_once("metrics and status on http://")?;
        rest.lines().next()?.trim_end_matches('/').parse().ok()
    });
    let headers = String::new();
    (process, Operator { addr, headers }, folder)
}

fn status_of(process: &Process, token: &str) -> u16 {
    let headers = format!(
        "{}Content-Length: 9\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\ntopic=a&x",
        bearer(token)
    );
    let answer: Response = request(process.addr(), "POST", PATH, &headers);
    answer.status()
}

#[test]
fn tokens_that_can_outlive_their_revocation_are_reported_once() {
    let (process, operator, _folder) = process("revocation_ttl = '2h'\n");
    let long = token(json!({ "sub": "alice", "exp": now() as u64 + 3 * 3600 }));
    let short = of("bob");
    let report = "tokens of https://example.com can outlive their revocation";
    assert_eq!(
        (status_of(&process, &long), status_of(&process, &short)),
        (200, 200)
    );
    assert!(!process.stderr().contains(report));

    operator.revoke("sub", "carol");
    assert_eq!(status_of(&process, &short), 200);
    assert!(!process.stderr().contains(report));
    for _ in 0..3 {
        assert_eq!(status_of(&process, &long), 200);
    }
    process.wait_for_log(report);
    assert_eq!(process.stderr().matches(report).count(), 1);
    assert!(!process.stderr().contains(&long), "a token in the log");
}
