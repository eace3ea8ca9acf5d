//! Connections that publish, all on one thread. Each connection waits for the response before its next
//! request, and no other connection publishes on its topics, so that the order of events on each topic is
//! defined.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use memchr::memmem;
use mio::{Events, Interest, Poll, Token};

/// More events than a run publishes on one topic. If one subscriber receives all topics, the number of a
/// message is the topic's number times this constant, plus the message's number on the topic.
pub(super) const MAX_EVENTS_PER_TOPIC: u64 = 1_000_000_000;

/// What to publish, and where.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The addresses of the server or of the nodes. The connections use them in turn.
    pub(super) addrs: Vec<SocketAddr>,
    pub(super) path: String,
    pub(super) token: Option<String>,
    /// Whether the body is the message itself, not a form.
    pub(super) raw: bool,
    pub(super) connections: usize,
    pub(super) topics: usize,
    /// `{topic}` is replaced by the number of the topic.
    pub(super) topic: String,
    /// Events per second. 0 means that each connection publishes its next event when the last one is
    /// acknowledged.
    pub(super) per_second: u64,
    /// Whether one subscriber receives all topics. If so, the number of a message must also contain its
    /// topic.
    pub(super) to_one: bool,
}

impl Work {
    /// Number of events that may be published within this time.
    fn allowed(&self, elapsed: Duration) -> u64 {
        match self.per_second {
            0 => u64::MAX,
            per_second => (elapsed.as_secs_f64() * per_second as f64) as u64,
        }
    }
}

/// The thread that publishes until [`Publishers::stop`] is called.
pub(super) struct Publishers {
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<Published>>,
}

#[derive(Debug, Default)]
struct Shared {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

/// The results of publishing.
#[derive(Debug)]
pub(super) struct Published {
    /// Number of events on each topic, all acknowledged.
    pub(super) on_each: u64,
    /// Microseconds from each request to its response, sorted.
    waited: Vec<u32>,
}

impl Published {
    /// A quantile in milliseconds; `share` is between 0 and 1.
    pub(super) fn waited_ms(&self, share: f64) -> f64 {
        let at = (self.waited.len() as f64 * share) as usize;
        let at = at.min(self.waited.len().saturating_sub(1));
        self.waited.get(at).map_or(0.0, |us| f64::from(*us) / 1e3)
    }
}

impl Publishers {
    pub(super) fn start(work: Work) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread_shared = shared.clone();
        let connections = (0..work.connections)
            .map(|n| Connection::open(&work, n))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let thread = std::thread::spawn(move || run(&work, connections, &thread_shared));
        Ok(Self { shared, thread })
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Relaxed)
    }

    /// Publishes until every topic has the same number of events, and ends the thread.
    pub(super) fn stop(self) -> anyhow::Result<Published> {
        self.shared.stop.store(true, Relaxed);
        let published = self.thread.join();
        published.map_err(|_| anyhow!("the publishers panicked"))?
    }
}

struct Connection {
    socket: mio::net::TcpStream,
    /// The connection's topics are `first` and every `step`th topic after it. `step` is the number of
    /// connections.
    first: usize,
    step: usize,
    topics: usize,
    /// The topic of the next event, and the number of the event on that topic.
    topic: usize,
    number: u64,
    /// When the request in flight was sent. `None` if none is in flight.
    sent: Option<Instant>,
    answer: Vec<u8>,
}

impl Connection {
    fn open(work: &Work, n: usize) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(work.addrs[n % work.addrs.len()])?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: mio::net::TcpStream::from_std(socket),
            first: n,
            step: work.connections,
            topics: work.topics,
            topic: n,
            number: 0,
            sent: None,
            answer: Vec::with_capacity(1024),
        })
    }

    fn send(&mut self, work: &Work, now: Instant) -> anyhow::Result<()> {
        let offset = if work.to_one {
            self.topic as u64 * MAX_EVENTS_PER_TOPIC
        } else {
            0
        };
        let number = offset + self.number;
        let body = if work.raw {
            format!("Message number: {number}\n")
        } else {
            let topic = work.topic.replace("{topic}", &self.topic.to_string());
            format!("topic={topic}&data=Message+number:+{number}")
        };
        let Work { path, .. } = work;
        let token = match &work.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: bench\r\n{token}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // The response to the previous request has arrived, so the socket buffer has room for this request.
        self.socket.write_all(request.as_bytes())?;
        self.sent = Some(now);
        self.topic += self.step;
        if self.topic >= self.topics {
            self.topic = self.first;
            self.number += 1;
        }
        Ok(())
    }

    /// The number of events on each of its topics once the round over the topics that it has begun is complete.
    fn begun(&self) -> u64 {
        self.number + u64::from(self.topic != self.first)
    }

    /// Reads what is available. If the response is then complete, returns when the request was sent.
    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<Option<Instant>> {
        match self.socket.read(buffer) {
            Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Ok(0) => return Err(anyhow!("the server closed a publisher's connection")),
            read => self.answer.extend_from_slice(&buffer[..read?]),
        }
        let Some(length) = response_length(&self.answer)? else {
            return Ok(None);
        };
        ensure!(
            self.answer.len() == length,
            "more than one response arrived"
        );
        self.answer.clear();
        Ok(self.sent.take())
    }
}

/// The length of the response at the start of `answer`, or `None` if it is incomplete. Fails if the response
/// is not an acknowledgement.
fn response_length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = memmem::find(answer, END) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    ensure!(
        head.starts_with("http/1.1 2"),
        "an update was refused: {head} {}",
        String::from_utf8_lossy(&answer[end..])
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length
        .context("a response has no Content-Length")?
        .trim()
        .parse()
        .context("the Content-Length of a response is not a number")?;
    let all = end + END.len() + length;
    Ok((answer.len() >= all).then_some(all))
}

fn run(
    work: &Work,
    mut connections: Vec<Connection>,
    shared: &Shared,
) -> anyhow::Result<Published> {
    let mut poll = Poll::new()?;
    for (n, connection) in connections.iter_mut().enumerate() {
        poll.registry()
            .register(&mut connection.socket, Token(n), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 16 * 1024];
    let mut waited = Vec::with_capacity(1 << 20);
    let mut idle: VecDeque<_> = (0..connections.len()).collect();
    let mut sent = 0;
    let start = Instant::now();
    // The number of events that each topic must have at the end. It is set when stopping begins.
    let mut goal = None;
    loop {
        let now = Instant::now();
        if goal.is_none() && shared.stop.load(Relaxed) {
            goal = connections.iter().map(Connection::begun).max();
        }
        let allowed = work.allowed(start.elapsed());
        for _ in 0..idle.len() {
            let Some(n) = idle.pop_front() else { break };
            let connection = &mut connections[n];
            if goal.is_some_and(|goal| connection.number >= goal) {
                continue;
            }
            if sent >= allowed && goal.is_none() {
                idle.push_back(n);
                break;
            }
            connection.send(work, now)?;
            sent += 1;
        }
        let acknowledged = waited.len() as u64;
        shared.acknowledged.store(acknowledged, Relaxed);
        if goal.is_some() && acknowledged == sent && idle.is_empty() {
            break;
        }
        let patience = if idle.is_empty() { 20 } else { 1 };
        poll.poll(&mut events, Some(Duration::from_millis(patience)))?;
        for event in &events {
            let n = event.token().0;
            if let Some(at) = connections[n].read(&mut buffer)? {
                waited.push(at.elapsed().as_micros() as u32);
                idle.push_back(n);
            }
        }
    }
    waited.sort_unstable();
    Ok(Published {
        on_each: goal.unwrap_or_default(),
        waited,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_complete_when_its_body_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\n1-2";

        for length in 0..answer.len() {
            assert_eq!(response_length(&answer[..length]).unwrap(), None);
        }
        assert_eq!(response_length(answer).unwrap(), Some(answer.len()));
        assert!(response_length(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
    }
}
