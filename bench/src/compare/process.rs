//! Child processes. Each process is ended when its value is dropped, also after an error or an interruption.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time limit until a server listens. `STOP_TIMEOUT` is the time limit until it exits after `SIGTERM`.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the user has interrupted the comparison with `SIGINT` or `SIGTERM`.
#[derive(Debug, Clone)]
pub(super) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    pub(super) fn watch() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, flag.clone())?;
        }
        Ok(Self(flag))
    }

    pub(super) fn has_happened(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.has_happened() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// A process that is ended when this value is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The lines of the process's standard output.
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Process {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdout = lines(
            child
                .stdout
                .take()
                .context("standard output is not a pipe")?,
        );
        let stderr = lines(
            child
                .stderr
                .take()
                .context("standard error is not a pipe")?,
        );
        Ok(Self {
            child,
            stdout,
            stderr,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the address that the process prints when it listens.
    pub(super) fn addr(&mut self, interruption: &Interruption) -> anyhow::Result<SocketAddr> {
        self.wait(START_TIMEOUT, interruption, |process| {
            let line = process.stdout.try_recv().ok()?;
            let (_, rest) = line.split_once("listening on http://")?;
            rest.split('/').next()?.parse().ok()
        })
    }

    /// Waits until something listens on this address.
    pub(super) fn wait_for_listener(
        &mut self,
        addr: SocketAddr,
        interruption: &Interruption,
    ) -> anyhow::Result<()> {
        self.wait(START_TIMEOUT, interruption, |_| {
            std::net::TcpStream::connect(addr).ok().map(drop)
        })
    }

    fn wait<T>(
        &mut self,
        timeout: Duration,
        interruption: &Interruption,
        mut ready: impl FnMut(&mut Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(ready) = ready(self) {
                return Ok(ready);
            }
            interruption.check()?;
            if let Some(status) = self.child.try_wait()? {
                return Err(anyhow!(
                    "it ended with {status}: {}",
                    self.last_error_line()
                ));
            }
            if Instant::now() > until {
                bail!(
                    "it did not listen within {timeout:?}: {}",
                    self.last_error_line()
                );
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until the process exits, and returns its standard output.
    pub(super) fn output(
        mut self,
        timeout: Duration,
        interruption: &Interruption,
    ) -> anyhow::Result<String> {
        let until = Instant::now() + timeout;
        loop {
            interruption.check()?;
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("{}", self.last_error_line());
                }
                // The iterator ends when the process has closed its end of the pipe.
                return Ok(self.stdout.iter().collect::<Vec<_>>().join("\n"));
            }
            if Instant::now() > until {
                bail!("it did not end within {timeout:?}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The last line of the process's standard error.
    fn last_error_line(&self) -> String {
        let patience = Duration::from_millis(200);
        let mut last = String::from("no reason given");
        while let Ok(line) = self.stderr.recv_timeout(patience) {
            if !line.trim().is_empty() {
                last = line;
            }
        }
        last
    }

    /// Ends the process. `SIGTERM` comes first, so that a master process can end its workers, and `SIGKILL`
    /// after `STOP_TIMEOUT`.
    fn end(&mut self) -> std::io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let until = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(err) = self.end() {
            eprintln!("cannot end process {}: {err}", self.id());
        }
    }
}

/// Reads a pipe to its end on a separate thread, so that the process never blocks on a full pipe.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // Ignore the error if the receiver was dropped: the pipe must still be read.
            sender.send(line).ok();
        }
    });
    lines
}
