//! Child processes. Each is ended when its value is dropped, whatever happens.

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

const LOOK: Duration = Duration::from_millis(20);
/// Time limits for a server to listen, and to exit after `SIGTERM`.
const START_PATIENCE: Duration = Duration::from_secs(30);
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Whether the user has interrupted the comparison.
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

    pub(super) fn came(&self) -> bool {
        self.0.load(Relaxed)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.came() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// A process that is ended when this value is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The lines of its standard output.
    said: mpsc::Receiver<String>,
    complained: mpsc::Receiver<String>,
}

impl Process {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let said = lines(child.stdout.take().context("it is piped")?);
        let complained = lines(child.stderr.take().context("it is piped")?);
        Ok(Self {
            child,
            said,
            complained,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the address that the process prints when it listens.
    pub(super) fn addr(&mut self, interruption: &Interruption) -> anyhow::Result<SocketAddr> {
        self.wait(START_PATIENCE, interruption, |process| {
            let line = process.said.try_recv().ok()?;
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
        self.wait(START_PATIENCE, interruption, |_| {
            std::net::TcpStream::connect(addr).ok().map(drop)
        })
    }

    fn wait<T>(
        &mut self,
        at_most: Duration,
        interruption: &Interruption,
        mut ready: impl FnMut(&mut Self) -> Option<T>,
    ) -> anyhow::Result<T> {
        let until = Instant::now() + at_most;
        loop {
            if let Some(ready) = ready(self) {
                return Ok(ready);
            }
            interruption.check()?;
            if let Some(status) = self.child.try_wait()? {
                return Err(anyhow!("it ended with {status}: {}", self.complaint()));
            }
            if Instant::now() > until {
                bail!(
                    "it does not listen within {at_most:?}: {}",
                    self.complaint()
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the process exits, and returns its standard output.
    pub(super) fn output(
        mut self,
        at_most: Duration,
        interruption: &Interruption,
    ) -> anyhow::Result<String> {
        let until = Instant::now() + at_most;
        loop {
            interruption.check()?;
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("{}", self.complaint());
                }
                // The iterator ends when the pipe is closed.
                return Ok(self.said.iter().collect::<Vec<_>>().join("\n"));
            }
            if Instant::now() > until {
                bail!("it takes longer than {at_most:?}");
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The last line of standard error.
    fn complaint(&self) -> String {
        let patience = Duration::from_millis(200);
        let mut last = String::from("no reason given");
        while let Ok(line) = self.complained.recv_timeout(patience) {
            if !line.trim().is_empty() {
                last = line;
            }
        }
        last
    }

    /// Sends `SIGTERM` first, so that a master process can end its workers.
    fn end(&mut self) -> std::io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let until = Instant::now() + END_PATIENCE;
        while Instant::now() < until {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
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

/// Reads a pipe to its end, so that the process never blocks on a full pipe.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // If the receiver is gone, the pipe must still be read.
            sender.send(line).ok();
        }
    });
    lines
}
