//! Runs the broadcaster binary as a user would, and keeps its output.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

pub struct Process {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs the binary in `folder`, without environment variables of the developer that would
/// configure it.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broadcaster"));
    command
        .current_dir(folder)
        .args(args)
        .env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BROADCASTER__") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary until it exits.
pub fn run(folder: &Path, args: &[&str]) -> Finished {
    finish(command(folder, args))
}

pub fn finish(mut command: Command) -> Finished {
    let output = command.output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Process {
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: keep(child.stdout.take().unwrap()),
            stderr: keep(child.stderr.take().unwrap()),
            child,
        }
    }

    /// The address that the server prints at start-up.
    pub fn addr(&self) -> SocketAddr {
        eventually("the address on standard output", || {
            let stdout = self.stdout();
            let (_, rest) = stdout.split_once("listening on http://")?;
            rest.split_once('/')?.0.parse().ok()
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .unwrap();
        resident.parse().unwrap()
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What the process has written to standard error so far: its log.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// The complete log. After [`wait`](Self::wait) alone, the last lines may not have been read yet.
    pub fn whole_stderr(&mut self) -> String {
        eventually("the end of the log", || {
            (Arc::strong_count(&self.stderr) == 1).then(|| self.stderr())
        })
    }

    pub fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || {
            self.stderr().contains(text).then_some(())
        });
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "it explains why the test failed")]
    fn drop(&mut self) {
        if self.is_running() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        if thread::panicking() {
            eprintln!("--- its log:\n{}", self.stderr());
        }
    }
}

/// Reads a pipe to its end on a separate thread.
fn keep(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let kept = Arc::new(Mutex::new(String::new()));
    let writer = kept.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut kept = writer.lock().unwrap();
            kept.push_str(&line);
            kept.push('\n');
        }
    });
    kept
}
