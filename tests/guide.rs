//! Runs the publishers in `docs/guide` exactly as the pages print them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use support::{
    client::Stream,
    eventually,
    process::{Process, command, finish},
};
use tempfile::tempdir;

const GETTING_STARTED: &str = include_str!("../docs/guide/getting-started.md");
const PUBLISHING: &str = include_str!("../docs/guide/publishing.md");

const TOPIC: &str = "https://example.com/books/1";

/// The issuer in the examples of `publishing.md`.
const ISSUER: &str = "https://app.example.org secret:hub.secret";

/// What the server's operator gives to a publisher.
#[derive(Clone, Copy)]
enum Credentials {
    /// The token that the server prints when no issuer is configured.
    PrintedToken,
    /// The secret of a configured issuer.
    Secret,
}

/// The first code block after this line of a page.
fn snippet(page: &'static str, line: &str) -> &'static str {
    let (_, rest) = page.split_once(&format!("\n{line}\n")).expect(line);
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    code
}

/// The only code block of a section of `publishing.md`.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PUBLISHING
        .split_once(&format!("\n{heading}\n"))
        .expect(heading);
    let (section, _) = rest.split_once("\n## ").unwrap();
    assert_eq!(section.matches("```").count(), 2, "{heading}");
    snippet(PUBLISHING, heading)
}

/// Returns whether a program is installed. If not, prints that its test is skipped.
fn is_installed(program: &str, version: &str) -> bool {
    let is_installed = Command::new(program)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_installed {
        eprintln!("SKIPPED: {program} is not installed, so the guide's snippet is not run");
    }
    is_installed
}

/// Starts a server in this folder. If publishers have a secret, it trusts their issuer.
fn server(folder: &Path, credentials: Credentials) -> Process {
    let mut command = command(folder, &["--bind", "127.0.0.1:0"]);
    if let Credentials::Secret = credentials {
        command.env("BROADCASTER__AUTH__ISSUERS", ISSUER);
    }
    Process::spawn(command)
}

/// Saves a snippet under this file name and runs it with a program. Asserts that it publishes these events
/// and prints their ids.
fn publishes(code: &str, program: &[&str], file: &str, credentials: Credentials, events: &[&str]) {
    let (program, args) = program.split_first().unwrap();
    let folder = tempdir().unwrap();
    // A secret as `openssl rand -base64 32` prints it. The key is this text, not the bytes that it encodes.
    let secret = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
    fs::write(folder.path().join("hub.secret"), format!("{secret}\n")).unwrap();
    fs::write(folder.path().join(file), code).unwrap();
    let server = server(folder.path(), credentials);
    let hub = format!("http://{}/.well-known/mercure", server.addr());
    let target = format!("/.well-known/mercure?match={TOPIC}");
    let mut stream = Stream::request(server.addr(), &target, b"");
    let binary = env!("CARGO_BIN_EXE_broadcaster");
    let binaries = binary.rsplit_once('/').unwrap().0;
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());

    let mut publisher = Command::new(program);
    publisher
        .args(args)
        .arg(file)
        .current_dir(folder.path())
        .env_remove("BROADCASTER_TOKEN")
        .env_remove("SECRET")
        .env("PATH", path)
        // Go must not download another toolchain.
        .env("GOTOOLCHAIN", "local")
        .env("HUB", hub);
    match credentials {
        Credentials::PrintedToken => publisher.env("BROADCASTER_TOKEN", printed_token(&server)),
        Credentials::Secret => publisher.env("SECRET", secret),
    };
    let finished = finish(publisher);

    let printed = &finished.stdout;
    assert_eq!(finished.code, Some(0), "{printed}{}", finished.stderr);
    let mut ids = Vec::new();
    for event in events {
        let received = stream.event().unwrap();
        assert_eq!(received.data, *event);
        ids.push(received.id.unwrap());
    }
    // curl prints no line break after an id.
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ids);
}

fn printed_token(server: &Process) -> String {
    eventually("the token on standard output", || {
        let stdout = server.stdout();
        let (_, rest) = stdout.split_once("publish token: ")?;
        Some(rest.split_once('\n')?.0.to_owned())
    })
}

/// Runs the example in one language, if its program is installed.
fn mints_and_publishes(heading: &str, program: &[&str], version: &str, file: &str) {
    if is_installed(program[0], version) {
        let code = section(heading);
        publishes(code, program, file, Credentials::Secret, &["hello"]);
    }
}

#[test]
fn curl_publishes_with_the_printed_token() {
    if is_installed("curl", "--version") {
        let line = "Publish with curl; the response is the event id:";
        let code = snippet(GETTING_STARTED, line);
        publishes(
            code,
            &["bash"],
            "publish.sh",
            Credentials::PrintedToken,
            &["hello"],
        );
    }
}

#[test]
fn the_binary_publishes_with_the_printed_token() {
    publishes(
        section("## broadcaster publish"),
        &["bash"],
        "publish.sh",
        Credentials::PrintedToken,
        &["hello", "one", "two"],
    );
}

#[test]
fn curl_mints_a_token_and_publishes() {
    if is_installed("curl", "--version") && is_installed("openssl", "version") {
        mints_and_publishes("## curl", &["bash"], "--version", "publish.sh");
    }
}

#[test]
fn python_mints_a_token_and_publishes() {
    mints_and_publishes("## Python", &["python3"], "--version", "publish.py");
}

#[test]
fn node_mints_a_token_and_publishes() {
    mints_and_publishes("## Node", &["node"], "--version", "publish.mjs");
}

#[test]
fn php_mints_a_token_and_publishes() {
    mints_and_publishes("## PHP", &["php"], "--version", "publish.php");
}

#[test]
fn go_mints_a_token_and_publishes() {
    mints_and_publishes("## Go", &["go", "run"], "version", "publish.go");
}

#[test]
fn ruby_mints_a_token_and_publishes() {
    mints_and_publishes("## Ruby", &["ruby"], "--version", "publish.rb");
}
