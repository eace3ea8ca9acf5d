//! One subscriber: its socket, and the check of the message numbers that it receives.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use anyhow::{Context as _, ensure};
use socket2::{Domain, Socket, Type};

use super::scan::Scan;

/// Maximum number of subscribers for each source address, well below the number of ephemeral ports.
const PER_ADDRESS: usize = 5_000;

/// The request that opens a stream.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) addr: SocketAddr,
    /// Path and query. `{n}` is replaced by the subscriber's number, and `{topic}` by the number of its
    /// topic.
    pub(crate) target: String,
    /// Number of topics over which the subscribers are distributed.
    pub(crate) topics: usize,
    pub(crate) last_event_id: Option<String>,
}

impl Request {
    /// Connects the `n`th subscriber of this process, and sends the request. This does not wait for the
    /// server, because on the loopback interface the kernel completes the connection.
    pub(crate) fn send(
        &self,
        n: usize,
        receive_buffer: Option<usize>,
    ) -> anyhow::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.addr), Type::STREAM, None)?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if self.addr.ip().is_loopback() && self.addr.is_ipv4() {
            socket.bind(&SocketAddr::from((source(n), 0)).into())?;
        }
        socket
            .connect(&self.addr.into())
            .with_context(|| format!("subscriber {n} cannot connect"))?;
        let mut socket = TcpStream::from(socket);
        let Self { addr, topics, .. } = self;
        let target = self
            .target
            .replace("{n}", &n.to_string())
            .replace("{topic}", &(n % topics).to_string());
        let resume = match &self.last_event_id {
            Some(id) => format!("Last-Event-ID: {id}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{resume}\r\n"
        );
        socket.write_all(request.as_bytes())?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// The source address of the `n`th connection. Each process uses different addresses, because ports of an
/// earlier process may still be in the state `TIME_WAIT`, in which they cannot be used.
fn source(n: usize) -> Ipv4Addr {
    let process = std::process::id();
    let nth = |n: u32| 1 + (n % 250) as u8;
    Ipv4Addr::new(
        127,
        nth(process / 250),
        nth(process),
        nth((n / PER_ADDRESS) as u32),
    )
}

/// Checks that a response begins with status 200, like the response with a stream.
pub(crate) fn check_head(bytes: &[u8]) -> anyhow::Result<()> {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    ensure!(
        line.starts_with("HTTP/1.1 200"),
        "expected a stream, but received: {line}"
    );
    Ok(())
}

/// Checks that each message number arrives once and in order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Order {
    /// The number that must arrive next. `None` means that the next number may be any number.
    pub(crate) next: Option<u64>,
    pub(crate) deliveries: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
}

impl Order {
    /// Records that a number arrived. Returns `false` for a duplicate.
    #[inline]
    pub(crate) fn take(&mut self, number: u64) -> bool {
        let expected = self.next.unwrap_or(number);
        if number < expected {
            self.duplicated += 1;
            return false;
        }
        self.lost += number - expected;
        self.deliveries += 1;
        self.next = Some(number + 1);
        true
    }
}

/// A subscriber that checks every number.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) socket: mio::net::TcpStream,
    pub(super) answered: bool,
    pub(super) order: Order,
    scan: Scan,
}

impl Subscriber {
    /// `next` is the number that must arrive first, if it is known.
    pub(super) fn new(socket: TcpStream, next: Option<u64>) -> Self {
        Self {
            socket: mio::net::TcpStream::from_std(socket),
            answered: false,
            order: Order {
                next,
                ..Order::default()
            },
            scan: Scan::default(),
        }
    }

    /// Reads what is available, and calls `arrived` for each new number. Returns `false` if the server ended
    /// the stream. `ended` means that epoll reported the end of the stream, so this reads up to the end.
    #[inline]
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        ended: bool,
        mut arrived: impl FnMut(u64),
    ) -> anyhow::Result<bool> {
        loop {
            let length = match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => length,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(err) => return Err(err.into()),
            };
            let bytes = &buffer[..length];
            if !self.answered {
                check_head(bytes)?;
                self.answered = true;
            }
            // A local copy, because the compiler can keep it in registers.
            let mut order = self.order;
            self.scan.read(bytes, |number| {
                if order.take(number) {
                    arrived(number);
                }
            });
            self.order = order;
            // The read did not fill the buffer, so the socket is empty. Not reading again saves a system
            // call.
            if length < buffer.len() && !ended {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_duplicated_numbers_are_counted() {
        let mut order = Order::default();

        let new: Vec<_> = [5, 6, 9, 8, 9, 10].map(|number| order.take(number)).into();

        assert_eq!(new, [true, true, true, false, false, true]);
        assert_eq!((order.deliveries, order.lost, order.duplicated), (4, 2, 2));
        assert_eq!(order.next, Some(11));
    }

    #[test]
    fn only_a_200_is_a_stream() {
        assert!(check_head(b"HTTP/1.1 200 OK\r\n").is_ok());
        let err = check_head(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap_err();
        assert_eq!(
            err.to_string(),
            "expected a stream, but received: HTTP/1.1 503 Busy"
        );
    }
}
