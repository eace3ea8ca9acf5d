//! A log in a file: after any kind of exit, the next process continues where the last one ended.

mod full_disk;
mod killed;
mod refusals;
mod replaced;

use std::{fs, net::SocketAddr, path::PathBuf};

use crate::support::{
    client::{Response, Stream, post},
    eventually,
    mercure::folder_with,
    process::{Process, command},
    server::free_port,
};
use rustix::process::Signal;
use tempfile::TempDir;

const HUB: &str = "/.well-known/mercure";

/// A folder with a server's config, log file and secret. Every server that is started in it has the same
/// address.
struct Node {
    folder: TempDir,
    port: u16,
    token: String,
}

impl Node {
    /// `more` is appended to the config, whose last section is `[log]`.
    fn new(more: &str) -> Self {
        Self::with_path("events.redb", more)
    }

    fn with_path(path: &str, more: &str) -> Self {
        let port = free_port();
        let config = format!(
            "[server]\nbind = '127.0.0.1:{port}'\n\
             [auth]\nissuers = [{{ issuer = 'https://example.com', secret_file = 'secret' }}]\n\
             [stream]\nhistory = 100000\nretry = '1ms'\n\
             [log]\nkind = 'file'\npath = '{path}'\n{more}"
        );
        let folder = folder_with(&config);
        let make = crate::support::process::run(folder.path(), &["token", "--publish", "*"]);
        assert_eq!(make.code, Some(0), "{}", make.stderr);
        Self {
            folder,
            port,
            token: make.stdout.trim().to_owned(),
        }
    }

    fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The path of the log file.
    fn path(&self) -> PathBuf {
        self.folder.path().join("events.redb")
    }

    fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// Starts the server with additional settings in its environment.
    fn start_with(&self, settings: &[(&str, &str)]) -> Process {
        let mut command = command(self.folder.path(), &[]);
        command.envs(settings.iter().copied());
        let process = Process::spawn(command);
        process.wait_for_log("listening on");
        process
    }

    fn publish(&self, form: &str) -> Response {
        post(self.addr(), HUB, Some(&self.token), form)
    }

    fn resume(&self, target: &str, last_event_id: &str) -> Stream {
        let header = format!("Last-Event-ID: {last_event_id}\r\n");
        Stream::request(self.addr(), target, header.as_bytes())
    }
}

/// Stops a server gracefully.
fn stop(mut server: Process) {
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}

const QUIET: &str = "[ticker]\nenabled = false\n";

#[test]
fn ids_numbers_and_history_continue_after_a_restart() {
    let node = Node::new("[ticker]\ninterval = '20ms'\n");
    let server = node.start();
    let log = server.stderr();
    assert!(!log.contains("a new epoch begins"), "{log}");
    let mut stream = node.resume("/events/sse", "earliest");
    let first = stream.event().unwrap();
    let second = stream.event().unwrap();
    stop(server);

    let _server = node.start();
    let mut resumed = node.resume("/events/sse", &first.id.clone().unwrap());

    assert_eq!(resumed.event().unwrap(), second);
    let mut last = second;
    for _ in 0..100 {
        let next = resumed.event().unwrap();
        assert_eq!(next.name, None, "no gap");
        assert_eq!(next.index(), last.index() + 1);
        assert_eq!(next.data, format!("Message number: {}", next.index()));
        last = next;
    }
}

#[test]
fn published_events_survive_a_restart_with_all_their_fields() {
    let node = Node::new(QUIET);
    let mut server = node.start();
    let form = "topic=a&topic=b&data=one%0Atwo&id=urn:1&type=added&retry=700";
    assert_eq!(node.publish(form).body, "urn:1");
    assert_eq!(node.publish("topic=a&data=secret&private=on").status(), 200);
    server.signal(Signal::KILL);
    server.wait();

    let _server = node.start();
    let id = node.publish("topic=a&data=end").body;
    let mut stream = node.resume(&format!("{HUB}?match=a"), "earliest");

    let block = eventually("the first event", || {
        stream.block().filter(|block| !block.starts_with("retry:"))
    });
    assert_eq!(
        block,
        "id: urn:1\nevent: added\nretry: 700\ndata: one\ndata: two\n\n"
    );
    let end = stream.event().unwrap();
    assert_eq!(
        (end.id.unwrap(), end.data),
        (id, "end".into()),
        "what is private stays so"
    );
    let mut after = node.resume(&format!("{HUB}?match=a"), "urn:1");
    assert_eq!(after.event().unwrap().data, "end");
}

#[test]
fn an_older_copy_of_the_file_begins_a_new_epoch_with_a_warning() {
    let node = Node::new(QUIET);
    let server = node.start();
    node.publish("topic=a&data=1");
    stop(server);
    let copy = fs::read(node.path()).unwrap();
    let server = node.start();
    let last = node.publish("topic=a&data=2").body;
    stop(server);
    fs::write(node.path(), copy).unwrap();

    let server = node.start();
    server.wait_for_log("does not match events.redb.acknowledged");
    let again = node.publish("topic=a&data=3").body;
    let mut stream = node.resume(&format!("{HUB}?match=a"), &last);

    let gap = stream.event().unwrap().gap();
    assert_eq!(
        (&gap["reason"], &gap["requested"]),
        (&"epoch".into(), &(&*last).into())
    );
    let data = [stream.event().unwrap().data, stream.event().unwrap().data];
    assert_eq!(data, ["1", "3"]);
    assert_ne!(again, last);
    stop(server);
    let server = node.start();
    assert!(
        !server.stderr().contains("a new epoch begins"),
        "{}",
        server.stderr()
    );
    assert_eq!(
        node.resume(&format!("{HUB}?match=a"), &again)
            .header("mercure-last-event-id"),
        Some(&*again)
    );
    stop(server);

    let beside = node.folder.path().join("events.redb.acknowledged");
    fs::remove_file(&beside).unwrap();
    let server = node.start();
    server.wait_for_log("cannot be checked for loss: events.redb.acknowledged");
    assert!(beside.is_file());
}
