//! Requests to the server in addition to the load. They read the ids of its events, and the delay of its
//! ticker.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{scan::Scan, subscriber::Request};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The id and the number of one event.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) number: u64,
}

/// Subscribes, and returns the ids and numbers of the next events, oldest first.
pub(super) fn watch(request: &Request, n: usize, events: usize) -> anyhow::Result<Vec<Seen>> {
    let socket = request.send(n, None)?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut lines = BufReader::new(socket).lines();
    let mut seen = Vec::new();
    let mut id = String::new();
    let mut number = None;
    while seen.len() < events {
        let line = lines.next().context("the stream ended")??;
        if let Some(value) = line
            .strip_prefix("id: ")
            .or_else(|| line.strip_prefix("id:"))
        {
            id = value.trim().to_owned();
        }
        Scan::default().read(format!("{line}\n").as_bytes(), |found| number = Some(found));
        if let Some(number) = number.filter(|_| line.is_empty()) {
            if id.is_empty() {
                bail!("the server's events have no id, so no subscriber can resume");
            }
            seen.push(Seen {
                id: id.clone(),
                number,
            });
        }
        if line.is_empty() {
            number = None;
        }
    }
    Ok(seen)
}

/// The number of ticks of the server's ticker so far, and how many of them were at most 5 ms late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks {
    all: f64,
    on_time: f64,
}

impl Ticks {
    pub(super) fn of(addr: SocketAddr) -> Option<Self> {
        let metrics = get(addr, "/metrics").ok()?;
        let value = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        Some(Self {
            all: value("broadcaster_tick_lateness_seconds_count")?,
            on_time: value("broadcaster_tick_lateness_seconds_bucket{le=\"0.005\"}")?,
        })
    }

    /// The percentage of the ticks after `earlier` that were at most 5 ms late.
    pub(super) fn on_time_percent_since(&self, earlier: &Self) -> Option<f64> {
        let all = self.all - earlier.all;
        (all > 0.0).then(|| (self.on_time - earlier.on_time) / all * 100.0)
    }
}

fn get(addr: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(socket, "GET {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    if answer.split(' ').nth(1) != Some("200") {
        bail!("the response for {path} is not 200");
    }
    Ok(answer)
}
