//! What the server logs with `logging.level`, and with `RUST_LOG`, which overrides it.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::support::{
    client::get,
    process::{Process, command},
};
use rustix::process::Signal;
use tempfile::tempdir;

/// Starts a server, sends a request and stops the server. Returns the log.
fn log(level: &str, rust_log: Option<&[u8]>) -> String {
    let folder = tempdir().unwrap();
    let args = ["--bind", "127.0.0.1:0", "--log-level", level];
    let mut command = command(folder.path(), &args);
    if let Some(rust_log) = rust_log {
        command.env("RUST_LOG", OsStr::from_bytes(rust_log));
    }
    let mut process = Process::spawn(command);
    assert_eq!(get(process.addr(), "/healthz").status(), 200);
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(0));
    process.whole_stderr()
}

#[test]
fn the_level_decides_what_is_logged() {
    let info = log("info", None);
    let warn = log("warn", None);

    assert!(info.contains("INFO  broadcaster] listening on "), "{info}");
    assert!(!info.contains("DEBUG"), "{info}");
    assert!(!warn.contains("INFO"), "{warn}");
    assert!(warn.contains("WARN"), "no static folder: {warn}");
    assert_eq!(log("off", None), "");
}

#[test]
fn rust_log_overrides_the_level() {
    let louder = log("off", Some(b"info"));
    let silent = log("info", Some(b"off"));
    let one_module = log("info", Some(b"sse_broadcaster::server=info"));

    assert!(louder.contains("INFO  broadcaster] "), "{louder}");
    assert_eq!(silent, "");
    assert!(one_module.contains("INFO  sse_broadcaster::server::server] "));
    assert!(!one_module.contains(" broadcaster] "), "{one_module}");
}

#[test]
fn an_empty_rust_log_is_ignored() {
    let info = log("info", Some(b""));

    assert!(info.contains("INFO  broadcaster] listening on "), "{info}");
    assert_eq!(log("off", Some(b"")), "");
}

#[test]
fn an_invalid_rust_log_is_reported_and_the_level_is_used() {
    for (rust_log, complaint) in [
        (&b"==="[..], "RUST_LOG names no level and no module"),
        (b",", "RUST_LOG names no level and no module"),
        (b"\xff", "RUST_LOG is not UTF-8"),
    ] {
        let info = log("info", Some(rust_log));

        assert!(info.contains("INFO  broadcaster] listening on "), "{info}");
        assert_eq!(info.matches(complaint).count(), 1, "{info}");
    }
}
