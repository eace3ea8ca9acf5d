//! What the server prints and logs when it starts.

use std::net::TcpListener;

use tempfile::tempdir;

use super::PORT_0;
use crate::support::{
    client::{Stream, get},
    process::{Process, command, run},
};

#[test]
fn the_bound_address_is_printed_and_logged() {
    let elsewhere = tempdir().unwrap();

    let process = Process::spawn(command(elsewhere.path(), &PORT_0));
    let addr = process.addr();
    let response = get(addr, "/healthz");

    assert_ne!(addr.port(), 0);
    process.wait_for_log(&format!("listening on http://{addr}/"));
    assert_eq!(response.status(), 200);
}

#[test]
fn an_address_in_use_is_reported_with_its_key_at_any_log_level() {
    let elsewhere = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();

    for level in ["off", "error", "info"] {
        let finished = run(
            elsewhere.path(),
            &["--bind", &addr, "--static-dir", ".", "--log-level", level],
        );

        let reason = format!("cannot listen on {addr} (server.bind): Address already in use");
        assert_eq!(finished.code, Some(1));
        assert!(finished.stderr.contains(&reason), "{}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
}

#[test]
fn without_the_demo_page_the_server_warns_once_and_works() {
    let elsewhere = tempdir().unwrap();
    let args = [
        &PORT_0[..],
        &["--static-dir", "no/such", "--interval", "10ms"],
    ]
    .concat();

    let process = Process::spawn(command(elsewhere.path(), &args));
    let addr = process.addr();
    let page = get(addr, "/");
    let status = get(addr, "/status");
    let numbers = Stream::open(addr).numbers(2);

    assert_eq!(page.status(), 404);
    assert_eq!(
        page.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(status.status(), 200);
    assert_eq!(numbers[0] + 1, numbers[1]);
    let warning = "there is no folder no/such (server.static_dir)";
    let log = process.stderr();
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
}
