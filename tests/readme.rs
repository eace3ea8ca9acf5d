//! The README's snippets for publishers, run as they stand there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a snippet that is not run is named")]

mod support;

use std::{
    fs,
    process::{Command, Stdio},
};

use support::{
    client::Stream,
    eventually,
    process::{Process, command},
};
use tempfile::tempdir;

const README: &str = include_str!("../README.md");

/// The block of code that follows a line of the README.
fn snippet(line: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n{line}\n")).expect(line);
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    code
}

/// Whether a program is there, without which no snippet is run.
fn is_there(program: &str) -> bool {
    let is_there = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("SKIPPED: {program} is not installed, so the README's snippet is not run");
    }
    is_there
}

/// Runs it with a program, and asserts that these events were published, whose ids it prints.
fn publishes(line: &str, program: &[&str], events: &[&str]) {
    let (program, args) = program.split_first().unwrap();
    if !is_there(program) {
        return;
    }
    let folder = tempdir().unwrap();
    let server = Process::spawn(command(folder.path(), &["--bind", "127.0.0.1:0"]));
    let target = "/.well-known/mercure?match=https://example.com/books/1";
    let mut stream = Stream::request(server.addr(), target, b"");
    let token = eventually("the token on standard output", || {
        let stdout = server.stdout();
        let (_, rest) = stdout.split_once("publish token: ")?;
        Some(rest.split_once('\n')?.0.to_owned())
    });
    let file = folder.path().join("snippet");
    fs::write(&file, snippet(line)).unwrap();
    let binary = env!("CARGO_BIN_EXE_broadcaster");
    let binaries = binary.rsplit_once('/').unwrap().0;

    let output = Command::new(program)
        .args(args)
        .arg(&file)
        .env(
            "HUB",
            format!("http://{}/.well-known/mercure", server.addr()),
        )
        .env("BROADCASTER_TOKEN", token)
        .env(
            "PATH",
            format!("{binaries}:{}", std::env::var("PATH").unwrap()),
        )
        .current_dir(folder.path())
        .output()
        .unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{complaint}");
    let mut ids = Vec::new();
    for event in events {
        let received = stream.event().unwrap();
        assert_eq!(received.data, *event);
        ids.push(received.id.unwrap());
    }
    // curl prints no line break of its own.
    assert_eq!(printed.split_whitespace().collect::<Vec<_>>(), ids);
}

#[test]
fn curl_publishes() {
    if is_there("curl") {
        publishes("With curl:", &["bash"], &["hello"]);
    }
}

#[test]
fn the_binary_publishes() {
    let line = "With the binary itself, also each line of its standard input:";
    publishes(line, &["bash"], &["hello", "one", "two"]);
}

#[test]
fn python_publishes() {
    publishes(
        "In Python, with the standard library alone:",
        &["python3"],
        &["hello"],
    );
}

#[test]
fn node_publishes() {
    publishes("In Node:", &["node"], &["hello"]);
}

#[test]
fn php_publishes() {
    publishes("In PHP:", &["php"], &["hello"]);
}
