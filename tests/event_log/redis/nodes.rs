//! Starts a cluster for one test.

use std::{net::SocketAddr, path::PathBuf};

use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    client::{Response, Stream, get, post},
    eventually,
    mercure::{folder_with, grant, token_for},
    process::{Process, command},
    proxy::Proxy,
    redis::Redis,
    server::free_port,
};

pub const HUB: &str = "/.well-known/mercure";
pub const HUB_URL: &str = "https://hub.example.com/.well-known/mercure";

/// A config without numbered messages, for tests that count what they publish.
pub const QUIET: &str = "[ticker]\nenabled = false\n";

/// Several servers. Each is connected to the same Redis through a separate network.
pub struct Cluster {
    pub redis: Redis,
    pub nodes: Vec<Node>,
    /// A token that allows publishing and reading everything.
    pub token: String,
}

pub struct Node {
    folder: TempDir,
    port: u16,
    pub network: Proxy,
    /// `None` while the server is down.
    process: Option<Process>,
}

impl Cluster {
    /// Starts `count` servers. `more` is appended to their configs, whose last section is `[log]`.
    pub fn start(count: usize, more: &str) -> Self {
        Self::with_redis(Redis::start(), count, more)
    }

    pub fn with_redis(redis: Redis, count: usize, more: &str) -> Self {
        let target = SocketAddr::from(([127, 0, 0, 1], redis.port()));
        let node = || {
            Node::new(
                Proxy::to(target),
                |network| format!("redis://{network}/0"),
                more,
            )
        };
        let mut nodes: Vec<_> = (0..count).map(|_| node()).collect();
        for node in &mut nodes {
            node.start();
        }
        Self::of(redis, nodes)
    }

    /// Starts one server that connects to Redis directly, at `url`.
    pub fn with_url(redis: Redis, url: &str, more: &str, environment: &[(&str, &str)]) -> Self {
        let nowhere = Proxy::to(SocketAddr::from(([127, 0, 0, 1], redis.port())));
        let mut node = Node::new(nowhere, |_| url.to_owned(), more);
        node.start_with(environment);
        Self::of(redis, vec![node])
    }

    fn of(redis: Redis, nodes: Vec<Node>) -> Self {
        let topics = json!([grant("publish", &["*"]), grant("subscribe", &["*"])]);
        Self {
            redis,
            nodes,
            token: token_for(HUB_URL, topics),
        }
    }

    /// The addresses of all servers, including servers that are down.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::addr).collect()
    }

    pub fn publish(&self, node: usize, form: &str) -> Response {
        post(self.nodes[node].addr(), HUB, Some(&self.token), form)
    }

    /// Publishes an event that must be accepted, and returns its id.
    #[track_caller]
    pub fn published(&self, node: usize, form: &str) -> String {
        let answer = self.publish(node, form);
        assert_eq!(answer.status(), 200, "{form}: {}", answer.body);
        answer.body
    }

    /// Publishes an event and returns its id. Retries while the node cannot write to Redis.
    pub fn published_at_last(&self, node: usize, form: &str) -> String {
        eventually("the event to be accepted", || {
            let answer = self.publish(node, form);
            (answer.status() == 200).then_some(answer.body)
        })
    }

    /// Resumes a stream of all public events after this id.
    pub fn resume(&self, node: usize, last_event_id: &str) -> Stream {
        self.resume_on(node, "*", last_event_id)
    }

    pub fn resume_on(&self, node: usize, topic: &str, last_event_id: &str) -> Stream {
        let header = format!("Last-Event-ID: {last_event_id}\r\n");
        let target = format!("{HUB}?match={topic}");
        Stream::request(self.nodes[node].addr(), &target, header.as_bytes())
    }

    /// Waits until every server is ready to accept events.
    pub fn wait_until_ready(&self) {
        for node in &self.nodes {
            node.wait_until_ready(true);
        }
    }
}

impl Node {
    fn new(network: Proxy, url: impl FnOnce(SocketAddr) -> String, more: &str) -> Self {
        let port = free_port();
        let config = format!(
            "[server]\nbind = '127.0.0.1:{port}'\n\
             [hub]\nurl = '{HUB_URL}'\nsubscriptions = true\n\
             [auth]\nissuers = [{{ issuer = 'https://example.com', secret_file = 'secret' }}]\n\
             [log]\nkind = 'redis'\nurl = '{}'\n{more}",
            url(network.addr())
        );
        Self {
            folder: folder_with(&config),
            port,
            network,
            process: None,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the server with additional environment variables.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.process.is_none(), "the server runs");
        let mut command = command(self.folder.path(), &[]);
        command.env("RUST_LOG", "info,sse_broadcaster=debug");
        command.envs(environment.iter().copied());
        let process = Process::spawn(command);
        process.wait_for_log("listening on");
        self.process = Some(process);
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    /// Kills the server with `SIGKILL`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Stops the server with `SIGTERM`, as an operator would.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.wait();
        }
    }

    /// The path of a file in the server's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn is_ready(&self) -> bool {
        get(self.addr(), "/readyz").status() == 200
    }

    pub fn wait_until_ready(&self, ready: bool) {
        eventually(&format!("to be ready: {ready}"), || {
            (self.is_ready() == ready).then_some(())
        });
    }
}
