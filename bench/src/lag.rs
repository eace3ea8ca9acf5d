//! `sse-bench lag`: the time between an event's acknowledgement at one node and its delivery at another node.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;

use crate::load::{Order, Request, Scan, check_head};

/// Time limit of each read: a response, or the next event.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Args)]
pub(crate) struct Lag {
    /// The node to publish at
    #[arg(long)]
    publish: SocketAddr,
    /// The node to subscribe at
    #[arg(long)]
    listen: SocketAddr,
    /// Bearer token that allows publishing
    #[arg(long, env = "SSE_BENCH_TOKEN", hide_env_values = true)]
    token: String,
    /// Events per second, one after another
    #[arg(long, default_value_t = 100)]
    per_second: u32,
    /// Number of events
    #[arg(long, default_value_t = 2000)]
    updates: usize,
}

/// Latencies in milliseconds. `acknowledged` is the time from the request to its acknowledgement. `added` is
/// the time from the acknowledgement to the delivery, or zero if the delivery came before the
/// acknowledgement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LagFigures {
    updates: usize,
    acknowledged_p50_ms: f64,
    acknowledged_p99_ms: f64,
    added_p50_ms: f64,
    added_p99_ms: f64,
    added_max_ms: f64,
    lost: u64,
    duplicated: u64,
}

impl Lag {
    pub(crate) fn run(&self) -> anyhow::Result<LagFigures> {
        let request = Request {
            addr: self.listen,
            target: "/.well-known/mercure?match=/lag".to_owned(),
            topics: 1,
            last_event_id: None,
        };
        let mut stream = request.send(0, None)?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut first = [0; 4096];
        let length = stream.read(&mut first)?;
        check_head(&first[..length])?;
        let (arrived, arrivals) = mpsc::channel();
        let updates = self.updates;
        let listener = std::thread::spawn(move || {
            let mut scan = Scan::default();
            let mut buffer = [0; 4096];
            let mut order = Order {
                next: Some(0),
                ..Order::default()
            };
            while order.next < Some(updates as u64) {
                let Ok(length @ 1..) = stream.read(&mut buffer) else {
                    break;
                };
                let now = Instant::now();
                scan.read(&buffer[..length], |number| {
                    if order.take(number) {
                        arrived.send((number, now)).ok();
                    }
                });
            }
            order
        });
        let acknowledged = self.publish_all()?;
        let order = listener.join().ok().context("the listener panicked")?;
        let mut added = Vec::new();
        for (number, at) in arrivals {
            let (_, acknowledged) = acknowledged
                .get(number as usize)
                .context("a number arrived that was not published")?;
            added.push(at.saturating_duration_since(*acknowledged));
        }
        let mut waited: Vec<_> = acknowledged.iter().map(|(sent, at)| *at - *sent).collect();
        added.sort_unstable();
        waited.sort_unstable();
        Ok(LagFigures {
            updates,
            acknowledged_p50_ms: quantile_ms(&waited, 0.5),
            acknowledged_p99_ms: quantile_ms(&waited, 0.99),
            added_p50_ms: quantile_ms(&added, 0.5),
            added_p99_ms: quantile_ms(&added, 0.99),
            added_max_ms: quantile_ms(&added, 1.0),
            lost: updates as u64 - order.deliveries,
            duplicated: order.duplicated,
        })
    }

    /// Publishes all events. Returns for each event when it was sent and when it was acknowledged.
    fn publish_all(&self) -> anyhow::Result<Vec<(Instant, Instant)>> {
        let mut socket = TcpStream::connect(self.publish)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let began = Instant::now();
        let mut times = Vec::with_capacity(self.updates);
        for number in 0..self.updates {
            let due = Duration::from_secs(1) * number as u32 / self.per_second.max(1);
            sleep(due.saturating_sub(began.elapsed()));
            let body = format!("topic=/lag&data=Message+number:+{number}");
            let sent = Instant::now();
            write!(
                socket,
                "POST /.well-known/mercure HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                self.token,
                body.len()
            )?;
            let mut answer = [0; 4096];
            let length = socket.read(&mut answer)?;
            ensure!(
                answer[..length].starts_with(b"HTTP/1.1 200"),
                "an update was refused"
            );
            times.push((sent, Instant::now()));
        }
        Ok(times)
    }
}

fn quantile_ms(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    let found = sorted.get(at.min(sorted.len().saturating_sub(1)));
    found.map_or(0.0, |found| found.as_secs_f64() * 1e3)
}
