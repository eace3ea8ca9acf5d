//! Runs a server in the test's process, on a free port. The ticking timer is off unless a test enables it, so
//! events appear only when the test publishes them.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::Path,
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
    /// A token that allows everything, if no issuer is configured.
    pub first_token: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

/// The default config on a free port, with two worker threads and without the ticking timer.
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
            let system = actix_web::rt::System::new();
            let result = system.block_on(async move {
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
            });
            // Ends the thread of the Broadcaster too, and so releases the log.
            actix_web::rt::System::current().stop();
            system.run().ok();
            result
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

    /// Publishes the data `0`, `1`, and so on, and returns the ids.
    pub fn publish_numbers(&self, count: u64) -> Vec<EventId> {
        (0..count).map(|n| self.publish(&n.to_string())).collect()
    }

    pub fn status(&self) -> Value {
        client::status(self.addr)
    }

    /// The number of live subscribers in `/status`.
    pub fn live(&self) -> u64 {
        self.status()["subscribers"]["live"].as_u64().unwrap()
    }

    pub fn wait_for_live(&self, count: u64) {
        eventually(&format!("{count} live subscribers"), || {
            (self.live() == count).then_some(())
        });
    }

    /// Requests a shutdown, and does not wait for it.
    pub fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until the server has stopped, and returns the result of `run_until`.
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

/// Waits until a stopped server has closed its log file. The thread of the log closes it a little later.
pub fn wait_until_closed(log: &Path) {
    let file = File::open(log).unwrap();
    eventually("the log is closed", || file.try_lock().ok());
}

/// Returns a port on which nothing listens.
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
