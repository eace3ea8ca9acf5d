//! A server in this process, on a free port, with time in the test's hands: the ticker is off
//! unless a test wants it, and events come when the test publishes them.

use std::{
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use sse_broadcaster::{Event, EventId, Hub, Reloadable, Server, config::Config};
use tokio::sync::oneshot;

use super::{client, eventually};

pub struct TestServer {
    pub addr: SocketAddr,
    pub admin_addr: Option<SocketAddr>,
    pub hub: Hub,
    pub reloadable: Reloadable,
    /// A token that allows everything, where no issuer is configured.
    pub first_token: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

/// The default config on a free port, without ticker.
pub fn quiet() -> Config {
    let mut config = Config::default();
    config.server.bind = "127.0.0.1:0".into();
    config.server.workers = 2;
    config.ticker.enabled = false;
    config
}

impl TestServer {
    pub fn start(config: Config) -> Self {
        let (started, start) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = Server::build(&config)?;
                let addresses = (server.addr(), server.admin_addr());
                let first_token = server.first_token().map(str::to_owned);
                started
                    .send((addresses, server.reloadable(), first_token))
                    .unwrap();
                let stopped = async {
                    stopped.await.ok();
                };
                server.run_until(stopped).await
            })
        });
        let ((addr, admin_addr), reloadable, first_token) =
            start.recv().expect("the server starts");
        Self {
            addr,
            admin_addr,
            hub: reloadable.hub().clone(),
            reloadable,
            first_token,
            stop: Some(stop),
            running: Some(running),
        }
    }

    pub fn quiet() -> Self {
        Self::start(quiet())
    }

    pub fn publish(&self, data: &str) -> EventId {
        block_on(self.hub.publish(Event::message(data))).unwrap()
    }

    /// Publishes `0`, `1`, ... and returns their ids.
    pub fn publish_numbers(&self, count: u64) -> Vec<EventId> {
        (0..count).map(|n| self.publish(&n.to_string())).collect()
    }

    pub fn status(&self) -> Value {
        client::status(self.addr)
    }

    /// Subscribers that are live, as the status tells it.
    pub fn live(&self) -> u64 {
        self.status()["subscribers"]["live"].as_u64().unwrap()
    }

    pub fn wait_for_live(&self, count: u64) {
        eventually(&format!("{count} live subscribers"), || {
            (self.live() == count).then_some(())
        });
    }

    /// Tells the server to stop, without waiting.
    pub fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits for what `run_until` returns.
    pub fn join(&mut self) -> anyhow::Result<()> {
        self.running.take().unwrap().join().unwrap()
    }

    pub fn stop(mut self) -> anyhow::Result<()> {
        self.begin_stop();
        self.join()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let (Some(stop), Some(running)) = (self.stop.take(), self.running.take()) {
            stop.send(()).ok();
            if !thread::panicking() {
                running.join().unwrap().unwrap();
            }
        }
    }
}

/// A port that nothing listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), future)
            .await
            .expect("an answer within the bound")
    })
}
