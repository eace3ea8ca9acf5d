//! The commands `token` and `publish`, used with a running server.

mod publishing;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    client::Stream,
    eventually,
    mercure::now,
    process::{Finished, Process, command, finish, run},
    server::free_port,
};
use jsonwebtoken::{Algorithm, dangerous::insecure_decode_claims, decode_header};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

mod tokens;

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");
const TOPIC: &str = "https://example.com/books/1";

/// A folder with a secret, and a config that trusts these issuers.
fn folder(issuers: &str) -> TempDir {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("hub.secret"), "s".repeat(40)).unwrap();
    let config = format!(
        "[server]\nbind = \"127.0.0.1:0\"\n[ticker]\nenabled = false\n[auth]\nissuers = [{issuers}]\n"
    );
    fs::write(folder.path().join("config/default.toml"), config).unwrap();
    folder
}

fn with_secret() -> TempDir {
    folder("{ issuer = 'https://example.com', secret_file = 'hub.secret' }")
}

/// Starts a server in this folder. Returns it with the URL of its hub.
fn server(folder: &Path) -> (Process, String) {
    let server = Process::spawn(command(folder, &[]));
    let hub = format!("http://{}/.well-known/mercure", server.addr());
    (server, hub)
}

fn subscribe(server: &Process, query: &str, token: &str) -> Stream {
    let headers = match token {
        "" => String::new(),
        token => format!("Authorization: Bearer {token}\r\n"),
    };
    let target = format!("/.well-known/mercure?{query}");
    let stream = Stream::request(server.addr(), &target, headers.as_bytes());
    assert_eq!(stream.status(), 200, "{}", stream.head);
    stream
}

fn line(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let line = finished.stdout.strip_suffix('\n').unwrap();
    assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
    line
}

#[track_caller]
fn assert_fails(finished: &Finished, code: i32, message: &str) {
    assert_eq!(finished.code, Some(code), "{}", finished.stderr);
    assert!(finished.stderr.contains(message), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

fn with_token(mut command: Command, token: &str) -> Command {
    command.env("BROADCASTER_TOKEN", token);
    command
}

#[test]
fn without_an_issuer_a_token_and_a_link_are_printed_and_not_logged() {
    let elsewhere = tempdir().unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/static");
    let start = |folder, hub| {
        let args = ["--bind", "127.0.0.1:0", "--static-dir", folder];
        let mut command = command(elsewhere.path(), &args);
        command.env("BROADCASTER__HUB__URL", hub);
        Process::spawn(command)
    };
    let token_of = |server: &Process| {
        eventually("the token on standard output", || {
            let stdout = server.stdout();
            let (_, rest) = stdout.split_once("\npublish token: ")?;
            Some(rest.split_once('\n')?.0.to_owned())
        })
    };

    let with_page = start(page, "auto");
    let (addr, token) = (with_page.addr(), token_of(&with_page));
    let without_page = start("missing", "auto");
    let without_hub = start(page, "https://hub.example/elsewhere");

    eventually("the complete output", || {
        let link = format!("playground: http://{addr}/#token={token}\n");
        let all = format!("listening on http://{addr}/\npublish token: {token}\n{link}");
        (with_page.stdout() == all).then_some(())
    });
    for server in [&with_page, &without_page, &without_hub] {
        let token = token_of(server);
        server.wait_for_log("listening on");
        assert!(!server.stderr().contains(&token), "{}", server.stderr());
    }
    for server in [without_page, without_hub] {
        let (addr, token) = (server.addr(), token_of(&server));
        assert_eq!(
            server.stdout(),
            format!("listening on http://{addr}/\npublish token: {token}\n"),
            "there is no page, or none for that hub"
        );
    }
}

#[test]
fn a_token_allows_only_what_its_flags_grant() {
    let folder = with_secret();
    let (server, hub) = server(folder.path());
    let config = format!("BROADCASTER__HUB__URL={hub}");
    let (key, value) = config.split_once('=').unwrap();
    let make = |args: &[&str]| {
        let mut command = command(folder.path(), &[&["token"], args].concat());
        command.env(key, value);
        line(&finish(command)).to_owned()
    };
    let publisher = make(&["--publish-pattern", "https://example.com/books/:id"]);
    let reader = make(&["--subscribe", TOPIC, "--ttl", "10m"]);
    let publish = |topic: &str, token: &str, more: &[&str]| {
        let args = ["publish", "--url", &hub, "--topic", topic, "--data", "x"];
        finish(with_token(
            command(folder.path(), &[&args, more].concat()),
            token,
        ))
    };
    let mut private = subscribe(&server, &format!("match={TOPIC}"), &reader);

    line(&publish(TOPIC, &publisher, &["--private"]));
    assert_eq!(private.event().unwrap().data, "x");
    assert_fails(&publish("a", &publisher, &[]), 1, "403");
    assert_fails(&publish(TOPIC, &reader, &[]), 1, "403");
    assert_fails(
        &publish(TOPIC, "x", &[]),
        1,
        "The access token is not valid",
    );
}

#[test]
fn publishing_at_another_address_uses_a_token_for_the_configured_hub_url() {
    let folder = with_secret();
    let mut command = command(folder.path(), &[]);
    let url = "https://hub.example/.well-known/mercure";
    command.env("BROADCASTER__HUB__URL", url);
    let server = Process::spawn(command);
    let address = format!("http://{}/.well-known/mercure", server.addr());

    let args = ["publish", "--url", &address, "--topic", "a", "--data", "x"];
    let mut command = crate::support::process::command(folder.path(), &args);
    command.env("BROADCASTER__HUB__URL", url);

    line(&finish(command));
}

#[test]
fn a_token_has_the_claims_of_an_access_token() {
    let folder = with_secret();
    let hub = "https://hub.example/.well-known/mercure";
    let make = |ttl: &str| {
        let args = [
            "token",
            "--publish",
            TOPIC,
            "--subscribe",
            "*",
            "--ttl",
            ttl,
        ];
        let mut command = command(folder.path(), &args);
        command.env("BROADCASTER__HUB__URL", hub);
        let token = line(&finish(command)).to_owned();
        let header = decode_header(&token).unwrap();
        let claims: Value = insecure_decode_claims(&token).unwrap();
        (header, claims)
    };
    let before = now() as u64;

    let (header, claims) = make("10m");
    let (_, others) = make("10m");

    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(header.alg, Algorithm::HS256);
    let issued = claims["iat"].as_u64().unwrap();
    assert!((before..=now() as u64).contains(&issued));
    assert_eq!(claims["exp"].as_u64(), Some(issued + 600));
    assert_eq!(claims["iss"], "https://example.com");
    assert_eq!(claims["aud"], hub);
    assert_eq!(claims["client_id"], "https://example.com");
    assert_eq!(claims["sub"], "https://example.com");
    let id = claims["jti"].as_str().unwrap();
    assert!(id.starts_with("urn:uuid:"), "{id}");
    assert_ne!(claims["jti"], others["jti"]);
    let detail = |action: &str, topic: &str| {
        json!({
            "type": "https://mercure.rocks/authorization-detail",
            "actions": [action],
            "topics": [{ "match": topic, "match_type": "exact" }],
        })
    };
    assert_eq!(
        claims["authorization_details"],
        json!([detail("publish", TOPIC), detail("subscribe", "*")])
    );
}

#[test]
fn a_token_is_signed_with_the_named_key() {
    let keys = ["ed25519", "p256", "rsa2048"];
    for key in keys {
        let folder = folder(&format!(
            "{{ issuer = 'https://other.example', pem_file = '{KEYS}/{key}.pub.pem' }}"
        ));
        let (_server, hub) = server(folder.path());
        let private = format!("{KEYS}/{key}.pem");
        let args = [
            "token",
            "--publish",
            "*",
            "--issuer",
            "https://other.example",
            "--key",
            &private,
        ];
        let mut make = command(folder.path(), &args);
        make.env("BROADCASTER__HUB__URL", &hub);
        let token = line(&finish(make)).to_owned();

        let args = ["publish", "--url", &hub, "--topic", TOPIC];
        line(&finish(with_token(command(folder.path(), &args), &token)));
    }
}

#[test]
fn every_failure_is_reported_in_one_line() {
    let folder = folder("");
    let closed = "http://127.0.0.1:1/.well-known/mercure";
    let key = format!("{KEYS}/ed25519.pem");
    let signed = ["token", "--issuer", "i", "--key", &key];
    let too_many = [&signed[..], &["--publish", "a"].repeat(101)].concat();
    let long = "x".repeat(1000);
    let too_long = [&signed[..], &["--publish", &long].repeat(9)].concat();

    for (args, code, message) in [
        (&["token", "--publish", "a"][..], 2, "openssl rand"),
        (&["token"], 2, "allows nothing"),
        (&["token", "--publish", ""], 2, "empty"),
        (
            &["token", "--publish-pattern", "/("],
            2,
            "not a URL Pattern",
        ),
        (
            &["token", "--publish", "a", "--ttl", "0s"],
            2,
            "at least 1s",
        ),
        (&["token", "--publish", "a", "--ttl", "soon"], 2, "--ttl"),
        (&too_many, 2, "limits.token_topics"),
        (&too_long, 2, "limits.token"),
        (&["token", "--publish", "a", "--key", "x"], 2, "--issuer"),
        (
            &[
                "token",
                "--publish",
                "a",
                "--issuer",
                "i",
                "--key",
                "missing.pem",
            ],
            2,
            "missing.pem",
        ),
        (&["publish", "--topic", "a"], 2, "BROADCASTER_TOKEN"),
        (&["publish"], 2, "--topic"),
        (
            &["publish", "--topic", "a", "--url", "mailto:a"],
            2,
            "--url",
        ),
        (
            &[
                "publish",
                "--topic",
                "a",
                "--token",
                "x",
                "--retry-for",
                "0s",
                "--url",
                closed,
            ],
            1,
            "cannot publish to http://127.0.0.1:1",
        ),
    ] {
        assert_fails(&run(folder.path(), args), code, message);
    }
}
