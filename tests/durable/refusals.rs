//! What is refused at the start: never a silent new beginning.

use rustix::process::Signal;

use super::*;
use crate::support::process::{Finished, run};

/// Asserts that it does not start, and says why in a line.
#[track_caller]
fn assert_refused(finished: &Finished, reason: &str) {
    assert_ne!(finished.code, Some(0));
    assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_what_to_do() {
    for (content, reason) in [
        (&b""[..], "is empty, so it was cut off"),
        (b"not a log at all", "Put a backup in its place"),
    ] {
        let node = Node::new(QUIET);
        let path = node.path();
        fs::write(&path, content).unwrap();

        assert_refused(&run(node.folder.path(), &[]), reason);
        assert_eq!(fs::read(&path).unwrap(), content, "it is left alone");
    }
    let node = Node::with_path("missing/events.redb", QUIET);
    let folder = node.folder.path();
    assert_refused(&run(folder, &[]), "missing/events.redb (log.path)");
    let checked = run(folder, &["--check-config"]);
    assert_refused(&checked, "has no place: missing is not there");
    fs::create_dir(folder.join("missing")).unwrap();
    assert_eq!(run(folder, &["--check-config"]).code, Some(0));
}

#[test]
fn a_file_whose_head_is_damaged_is_refused() {
    let node = Node::new(QUIET);
    let mut server = node.start();
    node.publish("topic=a&data=x");
    server.signal(Signal::TERM);
    server.wait();
    let path = node.path();
    let mut content = fs::read(&path).unwrap();
    content[..9].copy_from_slice(b"xxxxxxxxx");
    fs::write(&path, &content).unwrap();

    assert_refused(&run(node.folder.path(), &[]), "is damaged");
    assert!(fs::read(&path).unwrap() == content, "it is left alone");
}

#[test]
fn a_file_in_use_is_refused() {
    let node = Node::new(QUIET);
    let _server = node.start();

    let second = run(node.folder.path(), &["--bind", "127.0.0.1:0"]);

    assert_refused(&second, "is in use by another process");
}
