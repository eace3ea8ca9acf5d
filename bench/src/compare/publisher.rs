//! Publishes numbered messages by `POST`, for servers that do not create such messages themselves.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

/// A thread publishes until this value is dropped.
#[derive(Debug)]
pub(super) struct Publisher {
    stop: Arc<AtomicBool>,
}

impl Publisher {
    pub(super) fn start(
        addr: SocketAddr,
        path: &'static str,
        interval: Duration,
    ) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread_stop = stop.clone();
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        std::thread::spawn(move || {
            if let Err(err) = publish(&socket, path, interval, &thread_stop)
                && !thread_stop.load(Relaxed)
            {
                eprintln!("publishing has stopped: {err:#}");
            }
        });
        Ok(Self { stop })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

fn publish(
    mut socket: &TcpStream,
    path: &str,
    interval: Duration,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let host = socket.peer_addr()?;
    let mut answers = BufReader::new(socket);
    let mut due = Instant::now();
    for number in 0_u64.. {
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Relaxed) {
            break;
        }
        let message = format!("Message number: {number}");
        let length = message.len();
        socket.write_all(
            format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{message}"
            )
            .as_bytes(),
        )?;
        skip_answer(&mut answers)?;
    }
    Ok(())
}

fn skip_answer(answers: &mut BufReader<&TcpStream>) -> anyhow::Result<()> {
    let mut length = 0;
    for at in 0.. {
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let line = line.trim_end();
        if at == 0 {
            ensure!(
                line.split(' ')
                    .nth(1)
                    .is_some_and(|status| status.starts_with('2')),
                "{line}"
            );
        }
        if line.is_empty() {
            break;
        }
        if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(':') {
            length = value
                .trim()
                .parse()
                .context("the Content-Length is not a number")?;
        }
    }
    std::io::copy(&mut answers.take(length), &mut std::io::sink())?;
    Ok(())
}
