//! Where the fan-out writes the bytes for a live subscriber.

use std::{io, rc::Rc};

use tokio::net::TcpStream;

/// The socket of a live client (one to which the fan-out writes new events), or a substitute in tests and
/// benchmarks.
pub(crate) trait Outlet {
    /// Writes without waiting, and returns how many bytes were accepted: fewer than all if the socket's
    /// buffer becomes full. If it is full already, the error is `WouldBlock`.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Outlet for Rc<TcpStream> {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }
}

/// Writes to an outlet without waiting, and returns how many bytes it accepted. 0: its buffer is full.
pub(super) fn write(outlet: &impl Outlet, bytes: &[u8]) -> io::Result<usize> {
    match outlet.try_write(bytes) {
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
