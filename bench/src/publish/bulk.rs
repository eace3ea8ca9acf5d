//! `sse-bench bulk`: one request with many updates, one on each line of NDJSON, and one subscriber that checks
//! that every one of them is delivered.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use memchr::memmem;
use serde::Serialize;

use super::{DELIVERY_TIMEOUT, listener::Listener};
use crate::{load::Request, usage::Moment};

/// Lines are sent in chunks of about this size.
const CHUNK: usize = 64 * 1024;
/// Time limit of each read and write. With `--minimal`, nothing can be read before everything is sent.
const TIMEOUT: Duration = Duration::from_secs(600);
const TOPIC: &str = "/bulk";
/// The start of the answer to an update that was published.
const PUBLISHED: &[u8] = b"{\"id\":";

/// How many bytes of a chunk are looked at again, with those that follow: too few to be counted again.
const KEPT: usize = PUBLISHED.len() - 1;

#[derive(Debug, Clone, Args)]
pub(crate) struct Bulk {
    /// The server to publish at
    #[arg(long)]
    publish: SocketAddr,
    /// The server to subscribe at; for a cluster, another node
    #[arg(long)]
    listen: SocketAddr,
    /// Process id of the server; for a cluster, several ids
    #[arg(long, required = true)]
    pid: Vec<u32>,
    /// Bearer token that allows publishing
    #[arg(long, env = "SSE_BENCH_TOKEN", hide_env_values = true)]
    token: String,
    /// Number of updates
    #[arg(long, default_value_t = 1_000_000)]
    updates: u64,
    /// Bytes that are added to each update of about 50 bytes
    #[arg(long, default_value_t = 50)]
    padding: usize,
    /// Let the server answer with errors and a summary only
    #[arg(long)]
    minimal: bool,
}

/// The results.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BulkFigures {
    updates: u64,
    /// Size of the request's body, without the sizes of its chunks.
    megabytes: f64,
    /// Updates divided by the time from the request to the end of the response.
    acknowledged_per_second: f64,
    /// Updates divided by the time from the request to the delivery of the last one.
    delivered_per_second: f64,
    /// CPU time of all processes of the server, including deliveries.
    cpu_us_per_update: f64,
    lost: u64,
    duplicated: u64,
    /// Resident memory of the process that uses most of it: before the request, after it, and the highest ever.
    memory_before_kb: u64,
    memory_after_kb: u64,
    memory_peak_kb: u64,
}

impl Bulk {
    pub(crate) fn run(&self) -> anyhow::Result<BulkFigures> {
        let request = Request {
            addr: self.listen,
            target: format!("/.well-known/mercure?match={TOPIC}"),
            topics: 1,
            last_event_id: None,
        };
        let listener = Listener::start(&request, 1)?;
        let before = self.moments()?;
        let start = Instant::now();
        let socket = TcpStream::connect(self.publish)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        let answers = socket.try_clone()?;
        let answers = std::thread::spawn(move || read_answers(answers));
        // If the server refuses the request and closes the connection, its response says why.
        let sent = self.send(socket);
        let published = answers.join();
        let published = published.map_err(|_| anyhow!("the reader of the response panicked"))??;
        let bytes = sent?;
        let acknowledged = start.elapsed();
        let published = if self.minimal {
            self.updates
        } else {
            published
        };
        ensure!(
            published == self.updates,
            "only {published} of {} updates were published",
            self.updates
        );
        let (lost, duplicated) = listener.leave(self.updates, DELIVERY_TIMEOUT)?;
        let delivered = start.elapsed();
        let after = self.moments()?;
        let cpu = before.iter().zip(&after);
        let cpu: Duration = cpu.map(|(before, after)| after.cpu_since(before)).sum();
        let most = |moments: &[Moment], kb: fn(&Moment) -> u64| {
            moments.iter().map(kb).max().unwrap_or_default()
        };
        let resident = |moment: &Moment| moment.usage.resident_kb;
        Ok(BulkFigures {
            updates: self.updates,
            megabytes: bytes as f64 / 1e6,
            acknowledged_per_second: self.updates as f64 / acknowledged.as_secs_f64(),
            delivered_per_second: self.updates as f64 / delivered.as_secs_f64(),
            cpu_us_per_update: cpu.as_secs_f64() * 1e6 / self.updates as f64,
            lost,
            duplicated,
            memory_before_kb: most(&before, resident),
            memory_after_kb: most(&after, resident),
            memory_peak_kb: most(&after, |moment| moment.usage.peak_kb),
        })
    }

    fn moments(&self) -> anyhow::Result<Vec<Moment>> {
        self.pid.iter().copied().map(Moment::of).collect()
    }

    /// Sends the whole request. Returns the number of bytes of all lines.
    fn send(&self, mut socket: TcpStream) -> io::Result<usize> {
        let prefer = if self.minimal {
            "Prefer: return=minimal\r\n"
        } else {
            ""
        };
        write!(
            socket,
            "POST /.well-known/mercure HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n{prefer}\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
            self.token
        )?;
        let padding = "x".repeat(self.padding);
        let mut bytes = 0;
        let mut lines = Vec::with_capacity(CHUNK + 1024 + self.padding);
        for number in 0..self.updates {
            writeln!(
                lines,
                r#"{{"topic":"{TOPIC}","data":"Message number: {number} {padding}"}}"#
            )?;
            if lines.len() >= CHUNK || number + 1 == self.updates {
                bytes += lines.len();
                let head = format!("{:x}\r\n", lines.len());
                socket.write_all(head.as_bytes())?;
                lines.extend_from_slice(b"\r\n");
                socket.write_all(&lines)?;
                lines.clear();
            }
        }
        socket.write_all(b"0\r\n\r\n")?;
        Ok(bytes)
    }
}

/// Reads the whole response. Returns how many updates it says were published. Fails if it is not a success, or if
/// it ends early.
fn read_answers(socket: TcpStream) -> anyhow::Result<u64> {
    let mut reader = BufReader::with_capacity(256 * 1024, socket);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    if !status.starts_with("HTTP/1.1 200") {
        let mut rest = [0; 4096];
        let length = reader.read(&mut rest)?;
        let rest = String::from_utf8_lossy(&rest[..length]);
        return Err(anyhow!("the request was refused: {status}{rest}"));
    }
    while status != "\r\n" {
        status.clear();
        ensure!(reader.read_line(&mut status)? > 0, "the response was cut");
    }
    let finder = memmem::Finder::new(PUBLISHED);
    let mut published = 0;
    let mut window = Vec::new();
    loop {
        let mut size = String::new();
        reader
            .read_line(&mut size)
            .context("the response did not end")?;
        let size = usize::from_str_radix(size.trim_end(), 16).context("the response was cut")?;
        if size == 0 {
            return Ok(published);
        }
        let kept = window.len();
        // The chunk and its line end.
        window.resize(kept + size + 2, 0);
        reader.read_exact(&mut window[kept..])?;
        window.truncate(kept + size);
        published += finder.find_iter(&window).count() as u64;
        window.drain(..window.len().saturating_sub(KEPT));
    }
}
