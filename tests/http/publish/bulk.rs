//! Publishing many updates in one request, a JSON object in each line.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    client::connect,
    mercure::{MercureHub, PATH, bearer, detail, grant, token, until_marker},
};

/// A bulk request whose body is sent piece by piece.
struct BulkRequest {
    reader: BufReader<TcpStream>,
}

impl BulkRequest {
    fn begin(hub: &MercureHub, token: &str, headers: &str) -> Self {
        let mut socket = connect(hub.addr());
        write!(
            socket,
            "POST {PATH} HTTP/1.1\r\nHost: test\r\n{}Content-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n{headers}\r\n",
            bearer(token)
        )
        .unwrap();
        Self {
            reader: BufReader::new(socket),
        }
    }

    fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.reader.get_mut().write_all(chunk.as_bytes()).unwrap();
    }

    fn end(&mut self) {
        self.reader.get_mut().write_all(b"0\r\n\r\n").unwrap();
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        head
    }

    /// Reads the body as far as it has arrived, at least one chunk. `None` at the end of the response.
    fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// The lines of the rest of the response.
    fn rest(&mut self) -> Vec<Value> {
        let mut text = String::new();
        while let Some(chunk) = self.chunk() {
            text += &chunk;
        }
        lines(&text)
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn everything() -> String {
    token(json!([grant("publish", &["*"])]))
}

/// Sends a whole body, and returns the lines of the response.
fn publish(hub: &MercureHub, headers: &str, body: &str) -> Vec<Value> {
    let mut request = BulkRequest::begin(hub, &everything(), headers);
    request.send(body);
    request.end();
    let head = request.head().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: application/x-ndjson"),
        "{head}"
    );
    request.rest()
}

#[test]
fn each_line_is_published_and_answered_in_order() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe("match=a&match=urn:marker");
    let body: String = (0..5000)
        .map(|n| format!("{{\"topic\":\"a\",\"data\":\"{n}\"}}\n"))
        .collect();

    let answers = publish(&hub, "", &body);
    hub.publisher().mark();

    assert_eq!(answers.len(), 5000);
    let seqs: Vec<u64> = answers
        .iter()
        .map(|answer| {
            let id = answer["id"].as_str().unwrap();
            id.rsplit_once('-').unwrap().1.parse().unwrap()
        })
        .collect();
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "in log order"
    );
    let expected: Vec<_> = (0..5000).map(|n| n.to_string()).collect();
    assert_eq!(until_marker(&mut stream), expected);
}

#[test]
fn a_bad_line_does_not_stop_the_others() {
    let hub = MercureHub::with(|config| config.limits.body = 1024);
    let long = "x".repeat(2000);
    let body = format!(
        "{{\"topic\":\"a\",\"data\":\"1\"}}\n\
         not json\n\
         \n\
         {{\"topic\":\"a\",\"x\":1}}\r\n\
         {{\"topic\":\"a\",\"data\":\"{long}\"}}\n\
         {{\"topic\":\"https://hub.example.com/.well-known/mercure/x\"}}\n\
         {{\"topic\":\"a\",\"id\":\"2\"}}"
    );

    let answers = publish(&hub, "", &body);

    let statuses: Vec<_> = answers
        .iter()
        .map(|answer| answer["error"]["status"].as_u64())
        .collect();
    assert_eq!(
        statuses,
        [None, Some(400), Some(400), Some(413), Some(400), None]
    );
    assert!(
        answers[2]["error"]["detail"]
            .as_str()
            .unwrap()
            .contains("`x`")
    );
    assert_eq!(answers[5], json!({ "id": "2" }));
}

#[test]
fn each_line_is_authorized() {
    let hub = MercureHub::start();
    let only_a = token(json!([detail(&["publish"], json!([{ "match": "a" }]))]));
    let mut request = BulkRequest::begin(&hub, &only_a, "");
    request.send(
        "{\"topic\":\"a\"}\n{\"topic\":\"b\"}\n{\"topic\":[\"a\",\"b\"]}\n{\"topic\":\"a\"}\n",
    );
    request.end();
    request.head();

    let answers = request.rest();

    let refused: Vec<_> = answers
        .iter()
        .map(|answer| answer["error"]["status"].as_u64())
        .collect();
    assert_eq!(refused, [None, Some(403), Some(403), None]);
}

#[test]
fn without_a_token_the_request_is_refused() {
    let hub = MercureHub::start();
    let answer = hub.ask(
        "POST",
        PATH,
        "Content-Type: application/x-ndjson\r\n",
        "{\"topic\":\"a\"}\n",
    );
    answer.assert_refuses(401, "no token");
}

#[test]
fn repeated_lines_are_published_once() {
    let hub = MercureHub::start();
    let line = "{\"topic\":\"a\",\"data\":\"x\",\"idempotency_key\":\"k\"}\n";
    let body =
        format!("{line}{line}{{\"topic\":\"a\",\"data\":\"y\",\"idempotency_key\":\"k\"}}\n");

    let first = publish(&hub, "", &body);
    let again = publish(&hub, "", line);

    assert_eq!(first[0].get("replayed"), None);
    for answer in [&first[1], &again[0]] {
        assert_eq!(answer["id"], first[0]["id"]);
        assert_eq!(answer["replayed"], true);
    }
    assert_eq!(first[2]["error"]["status"], 422);
}

#[test]
fn answers_arrive_while_the_body_is_still_being_sent() {
    let hub = MercureHub::start();
    let mut request = BulkRequest::begin(&hub, &everything(), "");
    request.send("{\"topic\":\"a\",\"da");
    request.send("ta\":\"1\"}\n{\"topic\":");
    request.head();
    assert_eq!(lines(&request.chunk().unwrap()).len(), 1);
    request.send("\"a\"}\n");
    assert_eq!(lines(&request.chunk().unwrap()).len(), 1);
    request.send("{\"topic\":\"a\",\"id\":\"last\"}");
    request.end();
    assert_eq!(request.rest(), [json!({ "id": "last" })]);
}

#[test]
fn with_return_minimal_only_errors_and_a_summary_are_answered() {
    let hub = MercureHub::start();
    let body =
        "{\"topic\":\"a\",\"id\":\"1\"}\n\n{\"topic\":\"a\",\"id\":\"1\"}\n{}\n{\"topic\":\"a\"}\n";

    let answers = publish(&hub, "Prefer: respond-async, return=minimal\r\n", body);

    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(
        (&answers[0]["line"], &answers[0]["error"]["status"]),
        (&json!(4), &json!(400))
    );
    assert_eq!(
        answers[1],
        json!({ "published": 2, "replayed": 1, "failed": 1 })
    );
}

#[test]
fn a_connection_that_is_cut_leaves_whole_updates_only() {
    let hub = MercureHub::start();
    let mut stream = hub.subscribe("match=a&match=urn:marker");
    let mut request = BulkRequest::begin(&hub, &everything(), "");
    request.send("{\"topic\":\"a\",\"data\":\"1\"}\n{\"topic\":\"a\",\"data\":\"2\"}");
    request.head();
    request.chunk().unwrap();

    drop(request);
    hub.publisher().mark();

    assert_eq!(until_marker(&mut stream), ["1"]);
}

#[test]
fn a_client_that_sends_everything_before_it_reads_gets_all_answers() {
    let hub = MercureHub::start();
    let lines = 200_000;
    let mut request = BulkRequest::begin(&hub, &everything(), "");
    let piece = "{\"topic\":\"a\"}\n".repeat(1000);
    for _ in 0..lines / 1000 {
        request.send(&piece);
    }
    request.end();

    request.head();
    assert_eq!(request.rest().len(), lines);
}

#[test]
fn the_request_timeout_limits_only_how_long_a_bulk_request_is_silent() {
    let hub = MercureHub::with(|config| {
        config.server.request_timeout = Duration::from_millis(1500);
    });
    let mut request = BulkRequest::begin(&hub, &everything(), "Prefer: return=minimal\r\n");
    let begun = std::time::Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        request.send("{\"topic\":\"a\"}\n");
        sent += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    request.end();
    request.head();
    let expected = json!({ "published": sent, "replayed": 0, "failed": 0 });
    assert_eq!(request.rest(), [expected]);

    let mut silent = BulkRequest::begin(&hub, &everything(), "");
    silent.send("{\"topic\":\"a\"}\n{\"top");
    silent.head();
    silent.chunk().unwrap();
    let mut rest = Vec::new();
    // The server closes the connection, with or without a reset.
    silent.reader.read_to_end(&mut rest).ok();
    assert!(
        !String::from_utf8_lossy(&rest).contains("0\r\n\r\n"),
        "the response has no end"
    );
}

#[test]
fn a_drain_answers_the_lines_so_far_and_ends_the_request() {
    let hub = MercureHub::start();
    let mut request = BulkRequest::begin(&hub, &everything(), "");
    request.send("{\"topic\":\"a\"}\n");
    request.head();
    request.chunk().unwrap();

    let mut server = hub.server;
    server.begin_stop();

    let answers = request.rest();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0]["error"]["status"], 503);
    server.join().unwrap();
}

#[test]
fn what_a_bulk_request_cannot_do_is_refused() {
    let hub = MercureHub::start();
    let ndjson = "Content-Type: application/x-ndjson\r\n";
    let line = "{\"topic\":\"a\"}\n";

    hub.publisher()
        .post_with(&format!("{ndjson}Idempotency-Key: k\r\n"), line)
        .assert_refuses(400, "a key of the request");
    hub.publisher()
        .post_with(&format!("{ndjson}Content-Encoding: gzip\r\n"), line)
        .assert_refuses(415, "a compressed body");
    let reader = token(json!([grant("subscribe", &["*"])]));
    hub.ask("POST", PATH, &format!("{}{ndjson}", bearer(&reader)), line)
        .assert_refuses(403, "a token that only allows subscribing");
    hub.ask("POST", PATH, "Content-Type: text/plain\r\n", line)
        .assert_refuses(401, "no token");
    hub.publisher()
        .post_with("Content-Type: text/plain\r\n", line)
        .assert_refuses(400, "another type");
}

#[test]
fn a_client_of_http_1_0_gets_answers_without_chunks() {
    let hub = MercureHub::start();
    let body = "{\"topic\":\"a\",\"id\":\"1\"}\n";
    let mut socket = connect(hub.addr());
    write!(
        socket,
        "POST {PATH} HTTP/1.0\r\n{}Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{body}",
        bearer(&everything()),
        body.len()
    )
    .unwrap();

    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();

    assert!(answer.ends_with("\r\n\r\n{\"id\":\"1\"}\n"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("chunked"), "{answer}");
}

#[test]
fn a_client_that_sends_for_longer_than_the_write_timeout_before_it_reads_is_not_cut() {
    let hub = MercureHub::with(|config| {
        config.server.write_timeout = Duration::from_millis(500);
    });
    let mut request = BulkRequest::begin(&hub, &everything(), "");
    let piece = "{\"topic\":\"a\"}\n".repeat(20_000);
    for _ in 0..10 {
        request.send(&piece);
        std::thread::sleep(Duration::from_millis(200));
    }
    request.end();

    request.head();
    assert_eq!(request.rest().len(), 200_000);
}
