//! What makes a server with a file log refuse to start. It never begins an empty log in place of a bad file.

use std::{os::unix::fs::symlink, process::Command};

use super::*;
use crate::support::process::{Finished, run};

/// Asserts that the server did not start, and that its error message contains the reason.
#[track_caller]
fn assert_refused(finished: &Finished, reason: &str) {
    assert_ne!(finished.code, Some(0));
    assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

#[test]
fn an_unusable_log_file_is_refused_with_advice() {
    for (content, reason) in [
        (&b""[..], "is empty, so it was cut off"),
        (b"not a log at all", "Put a backup in its place"),
    ] {
        let node = Node::new(QUIET);
        let path = node.path();
        fs::write(&path, content).unwrap();

        assert_refused(&run(node.folder.path(), &[]), reason);
        assert_eq!(fs::read(&path).unwrap(), content, "the file is unchanged");
    }
    let node = Node::with_path("missing/events.redb", QUIET);
    let folder = node.folder.path();
    assert_refused(&run(folder, &[]), "missing/events.redb (log.path)");
    let checked = run(folder, &["--check-config"]);
    assert_refused(
        &checked,
        "cannot be opened: the folder missing does not exist",
    );
    fs::create_dir(folder.join("missing")).unwrap();
    assert_eq!(run(folder, &["--check-config"]).code, Some(0));
}

#[test]
fn a_log_file_with_a_damaged_header_is_refused() {
    let node = Node::new(QUIET);
    let server = node.start();
    node.publish("topic=a&data=x");
    stop(server);
    let path = node.path();
    let mut content = fs::read(&path).unwrap();
    content[..9].copy_from_slice(b"xxxxxxxxx");
    fs::write(&path, &content).unwrap();

    assert_refused(&run(node.folder.path(), &[]), "is damaged");
    assert!(fs::read(&path).unwrap() == content, "the file is unchanged");
}

#[test]
fn a_log_file_in_use_by_another_server_is_refused() {
    let node = Node::new(QUIET);
    let _server = node.start();

    let second = run(node.folder.path(), &["--bind", "127.0.0.1:0"]);

    assert_refused(&second, "is in use by another process");
}

#[test]
fn an_irregular_file_beside_the_log_is_refused_without_blocking() {
    let node = Node::new(QUIET);
    let server = node.start();
    let id = node.publish("topic=a&data=x").body;
    stop(server);
    let beside = node.folder.path().join("events.redb.acknowledged");
    let record = fs::read(&beside).unwrap();

    fs::remove_file(&beside).unwrap();
    let made = Command::new("mkfifo").arg(&beside).status().unwrap();
    assert!(made.success());
    assert_refused(&run(node.folder.path(), &[]), "it is not a regular file");
    fs::remove_file(&beside).unwrap();
    symlink("events.redb", &beside).unwrap();
    assert_refused(&run(node.folder.path(), &[]), "it is not a regular file");
    fs::remove_file(&beside).unwrap();
    fs::write(&beside, record).unwrap();

    let server = node.start();
    assert!(!server.stderr().contains("epoch"), "{}", server.stderr());
    let next = node.publish("topic=a&data=y").body;
    let mut stream = node.resume(&format!("{HUB}?match=a"), &id);
    assert_eq!(stream.event().unwrap().id, Some(next));
}

#[test]
fn an_irregular_file_as_log_or_key_is_refused_without_blocking() {
    let node = Node::with_path("folder", QUIET);
    let folder = node.folder.path();
    fs::create_dir(folder.join("folder")).unwrap();
    for arguments in [&[][..], &["--check-config"]] {
        assert_refused(
            &run(folder, arguments),
            "folder (log.path) is not a regular file",
        );
    }
    fs::remove_dir(folder.join("folder")).unwrap();
    fs::remove_file(folder.join("secret")).unwrap();
    let made = Command::new("mkfifo").arg(folder.join("secret")).status();
    assert!(made.unwrap().success());
    for arguments in [&[][..], &["--check-config"]] {
        assert_refused(&run(folder, arguments), "it is not a regular file");
    }
}
