//! A reload also reads the issuers and their keys again.

use super::*;
use crate::support::client::{Response, get, post};

const HUB: &str = "BROADCASTER__HUB__URL";
const URL: &str = "https://hub.example/.well-known/mercure";

fn issuers(list: &str) -> String {
    format!("[auth]\nissuers = [{list}]\n")
}

/// A server that trusts an issuer with the secret in the file `secret`.
fn start() -> Reloading {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("secret"), "1".repeat(40)).unwrap();
    let config = issuers("{ issuer = 'https://one.example', secret_file = 'secret' }");
    fs::write(folder.path().join("config.toml"), config).unwrap();
    Reloading::run(
        folder,
        &["--config", "config.toml"],
        &[(HUB, URL), NO_COMMENTS],
    )
}

/// A token of this issuer, signed with this secret.
fn token(server: &Reloading, issuer: &str, secret: &str) -> String {
    let path = server.path("signing");
    fs::write(&path, secret).unwrap();
    let path = path.display().to_string();
    let args = [
        "token",
        "--publish",
        "*",
        "--subscribe",
        "*",
        "--issuer",
        issuer,
        "--key",
        &path,
    ];
    let mut command = command(server.folder.path(), &args);
    command.env(HUB, URL);
    let made = crate::support::process::finish(command);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    made.stdout.trim().to_owned()
}

fn publish(server: &Reloading, token: &str) -> Response {
    post(
        server.process.addr(),
        "/.well-known/mercure",
        Some(token),
        "topic=a&data=x",
    )
}

/// Waits until publishing with this token returns this status.
fn wait_for(server: &Reloading, token: &str, status: u16) {
    eventually(&format!("{status} for a token"), || {
        (publish(server, token).status() == status).then_some(())
    });
}

#[test]
fn a_replaced_key_is_trusted_after_the_reload_and_the_old_one_is_not() {
    let server = start();
    let old = token(&server, "https://one.example", &"1".repeat(40));
    let new = token(&server, "https://one.example", &"2".repeat(40));
    assert_eq!(publish(&server, &old).status(), 200);
    assert_eq!(publish(&server, &new).status(), 401);

    fs::write(server.path("secret"), "2".repeat(40)).unwrap();
    server.process.signal(Signal::HUP);

    wait_for(&server, &new, 200);
    assert_eq!(publish(&server, &old).status(), 401);
}

#[test]
fn a_reload_adds_and_removes_issuers() {
    let server = start();
    let one = token(&server, "https://one.example", &"1".repeat(40));
    let two = token(&server, "https://two.example", &"1".repeat(40));
    assert_eq!(publish(&server, &two).status(), 401);

    server.save(&issuers(
        "{ issuer = 'https://two.example', secret_file = 'secret' }",
    ));

    wait_for(&server, &two, 200);
    assert_eq!(publish(&server, &one).status(), 401);
}

#[test]
fn an_unreadable_key_changes_nothing_and_is_logged() {
    let server = start();
    let new = token(&server, "https://one.example", &"2".repeat(40));
    let good = token(&server, "https://one.example", &"1".repeat(40));

    fs::write(server.path("secret"), "c4n4ry").unwrap();
    server.process.signal(Signal::HUP);

    server
        .process
        .wait_for_log("auth.issuers, table 1 (https://one.example): secret_file = \"secret\"");
    assert!(
        !server.process.stderr().contains("c4n4ry"),
        "a secret in the log"
    );
    assert_eq!(publish(&server, &good).status(), 200);

    // A valid secret is written later. The server must accept it without another signal.
    fs::write(server.path("secret"), "2".repeat(40)).unwrap();
    wait_for(&server, &new, 200);
}

/// Subscribes with a token, or without one.
fn subscribe(server: &Reloading, token: Option<&str>) -> Stream {
    let header = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let stream = Stream::request(
        server.process.addr(),
        "/.well-known/mercure?match=a",
        header.unwrap_or_default().as_bytes(),
    );
    assert_eq!(stream.status(), 200, "{}", stream.head);
    stream
}

/// Reads up to an event with this data. Earlier events have the data `x`, which the tests publish to check
/// tokens.
fn until(stream: &mut Stream, data: &str) {
    loop {
        let event = stream.event().expect("the stream continues");
        if event.data == data {
            return;
        }
        assert_eq!(event.data, "x");
    }
}

#[test]
fn a_stream_ends_when_the_key_of_its_token_is_removed_and_other_streams_continue() {
    let server = start();
    let old = token(&server, "https://one.example", &"1".repeat(40));
    let new = token(&server, "https://one.example", &"2".repeat(40));
    let addr = server.process.addr();
    let tell = |form: &str| {
        let answer = post(addr, "/.well-known/mercure", Some(&new), form);
        assert_eq!(answer.status(), 200, "{}", answer.body);
    };
    let mut of_nobody = subscribe(&server, None);
    let mut of_old = subscribe(&server, Some(&old));
    fs::write(server.path("other"), "2".repeat(40)).unwrap();

    // Adding an issuer does not remove another one.
    server.save(&issuers(
        "{ issuer = 'https://one.example', secret_file = 'secret' }, { issuer = 'https://one.example', secret_file = 'other' }",
    ));
    wait_for(&server, &new, 200);
    tell("topic=a&data=both&private=on");
    until(&mut of_old, "both");

    let mut of_new = subscribe(&server, Some(&new));
    server.save(&issuers(
        "{ issuer = 'https://one.example', secret_file = 'other' }",
    ));
    let rest = std::iter::from_fn(|| of_old.try_event().ok().flatten());
    assert!(rest.map(|event| event.data).all(|data| data == "x"));
    wait_for(&server, &old, 401);
    tell("topic=a&data=new&private=on");
    until(&mut of_new, "new");
    tell("topic=a&data=all");
    until(&mut of_nobody, "all");
    let metrics = get(addr, "/metrics").body;
    let revoked = "broadcaster_closes_total{reason=\"revoked\"} 1\n";
    assert!(metrics.contains(revoked), "{metrics}");
}
