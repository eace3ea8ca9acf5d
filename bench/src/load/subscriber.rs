//! One subscriber: its socket, and what it got so far.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::Context as _;
use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::scan::Scan;

/// Subscribers of one source address: well below the number of ports that the system gives out.
const PER_ADDRESS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) socket: TcpStream,
    scan: Scan,
    /// The number that has to come next; `None` before the first.
    next: Option<u64>,
}

/// What a number was to the subscriber that got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The one that had to come, after so many that did not.
    InOrder { lost: u64 },
    /// One that came before, or should have.
    Again,
}

impl Subscriber {
    /// Connects the `n`th subscriber of all and asks for the stream.
    pub(super) fn connect(addr: SocketAddr, target: &str, n: usize) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        if addr.ip().is_loopback() && addr.is_ipv4() {
            let from = Ipv4Addr::new(127, 0, 2, (n / PER_ADDRESS) as u8 + 1);
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        socket
            .connect(&addr.into())
            .with_context(|| format!("subscriber {n} cannot connect"))?;
        let mut socket = std::net::TcpStream::from(socket);
        write!(
            socket,
            "GET {target} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n\r\n"
        )?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: TcpStream::from_std(socket),
            scan: Scan::default(),
            next: None,
        })
    }

    /// Reads what there is. `Ok(false)`: the server ended the stream.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut arrived: impl FnMut(u64, Arrival),
    ) -> io::Result<bool> {
        loop {
            let length = match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => length,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(err) => return Err(err),
            };
            let next = &mut self.next;
            self.scan.read(&buffer[..length], |number| {
                let expected = next.unwrap_or(number);
                if number < expected {
                    arrived(number, Arrival::Again);
                } else {
                    let lost = number - expected;
                    arrived(number, Arrival::InOrder { lost });
                    *next = Some(number + 1);
                }
            });
            // Less than there was room for: there is no more, and no need to ask.
            if length < buffer.len() {
                return Ok(true);
            }
        }
    }
}
