//! Runs a real Redis server for one test. It persists every write in an append-only file.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Folders of the append-only file and of its backup.
const FILES: &str = "appendonlydir";
const COPY: &str = "copy";

/// A Redis server on a free port. Dropping it kills the server.
pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    /// For a Sentinel, the port of the master that it monitors.
    watches: Option<u16>,
    folder: TempDir,
    /// `None` while the server is down.
    process: Option<Child>,
}

impl Redis {
    /// Starts a server and waits until it responds.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with additional arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(None, arguments)
    }

    /// Starts a Sentinel that monitors this server under the name `main`, and fails over after half a second.
    pub fn start_sentinel(&self) -> Self {
        Self::start_as(Some(self.port), &[])
    }

    fn start_as(watches: Option<u16>, arguments: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut redis = Self {
            port,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            watches,
            folder: tempfile::tempdir().unwrap(),
            process: None,
        };
        redis.run();
        redis
    }

    /// The process id. Panics if the server is down.
    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Restarts the server, and keeps a backup of its data.
    pub fn back_up(&mut self) {
        self.kill();
        let files = self.folder.path().join(FILES);
        let copy = self.folder.path().join(COPY);
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(files).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        self.run();
    }

    /// Restarts the server with the data of the last backup.
    pub fn restore(&mut self) {
        self.kill();
        let files = self.folder.path().join(FILES);
        fs::remove_dir_all(&files).unwrap();
        fs::rename(self.folder.path().join(COPY), files).unwrap();
        self.run();
    }

    /// Starts the server with the data that it persisted.
    pub fn run(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let mut command = Command::new("redis-server");
        match self.watches {
            Some(master) => command.arg(self.sentinel_config(master)).arg("--sentinel"),
            None => command
                .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
                // Sync every write before it is acknowledged. With Redis's default, a crash may lose the last
                // second.
                .args(["--appendonly", "yes", "--appendfsync", "always"])
                .args(["--save", "", "--loglevel", "warning"])
                .arg("--dir")
                .arg(self.folder.path())
                .args(&self.arguments),
        };
        let process = command.stdout(Stdio::null()).spawn();
        let process = process.unwrap_or_else(|err| {
            panic!("cannot run redis-server, which `make setup` installs: {err}")
        });
        self.process = Some(process);
        let began = Instant::now();
        while !self.answers() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "it does not start"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn sentinel_config(&self, master: u16) -> PathBuf {
        let config = self.folder.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n",
            self.port,
            self.folder.path().display()
        );
        fs::write(&config, text).unwrap();
        config
    }

    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && ["PONG", "NOAUTH"].contains(
                &self
                    .command(&["PING"])
                    .split(' ')
                    .next()
                    .unwrap_or_default(),
            )
    }

    /// Kills the server with `SIGKILL`, as in a crash.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Runs a Redis command and returns the output of `redis-cli`.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
