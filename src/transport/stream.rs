//! Runs an event stream on its socket after actix-http has ended, and decides when the stream ends.
//!
//! While the subscriber is live, the fan-out writes to the socket. Otherwise this task does, at the pace of
//! the client.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use futures_util::future::OptionFuture;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    task::coop::consume_budget,
    time::{sleep_until, timeout},
};

use super::{connection::MAX_STRAY, early_end::EarlyEnd};
use crate::{
    broadcaster::BroadcasterGone,
    delivery::{FanOut, Next, Subscriber},
    event::{Framing, LAST_CHUNK},
    metrics::Close,
};

/// How long a stream may take to send its last bytes after it has expired. Then its connection is closed.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(100);

/// The reason for the end of a stream whose socket has failed.
fn failed(err: io::Error) -> Close {
    match err.kind() {
        io::ErrorKind::TimedOut => Close::Vanished,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Close::Left,
        _ => {
            log::debug!("the connection of a stream failed: {err}");
            Close::Failed
        }
    }
}

fn orphaned(_: BroadcasterGone) -> Close {
    Close::Failed
}

/// An event stream that is written directly to the socket of its client.
pub(crate) struct Stream<'a> {
    pub(crate) socket: Rc<TcpStream>,
    pub(crate) subscriber: &'a mut Subscriber,
    /// What can end the stream before it has sent everything. `None`: nothing.
    pub(crate) early_end: Option<Box<EarlyEnd>>,
    /// The stream ends if its socket accepts nothing for this long.
    pub(crate) write_timeout: Duration,
}

impl Stream<'_> {
    /// Runs the stream until the server ends it, the client ends it, or the socket fails or accepts nothing
    /// for `write_timeout`. The client ends it by closing its sending half of the connection or by sending
    /// too much. Counts the reason in the metrics.
    pub(crate) async fn run(mut self, fan_out: &FanOut) {
        let socket = self.socket.clone();
        // At this time, the stream ends even if bytes are unsent. Otherwise a slow reader could keep an
        // expired stream open.
        let latest = self.subscriber.end().map(|end| end + GOODBYE_TIMEOUT);
        let mut over = over(latest, self.early_end.take());
        let end = tokio::select! {
            Err(end) = listen(&socket) => end,
            Some(end) = OptionFuture::from(over.as_mut()) => end,
            sent = self.send_all(fan_out) => match sent {
                Ok(()) => self.subscriber.close_reason(),
                Err(end) => end,
            },
        };
        log::debug!("a stream ended: {end}");
        self.subscriber.count_close(end);
    }

    async fn send_all(&mut self, fan_out: &FanOut) -> Result<(), Close> {
        loop {
            match self.subscriber.next() {
                Next::Bytes(bytes) => self.send(bytes).await?,
                Next::Nothing => consume_budget().await,
                Next::Archive => {
                    let bytes = Box::pin(self.subscriber.fetch()).await.map_err(orphaned)?;
                    self.send(bytes).await?;
                }
                Next::Wait if self.subscriber.framing() == Framing::Chunked => {
                    let socket = self.socket.clone();
                    let lagging = fan_out.live(socket, self.subscriber).await;
                    let lagging = lagging.map_err(orphaned)?.map_err(failed)?;
                    self.subscriber.fell_behind(lagging.position);
                    self.send(lagging.rest).await?;
                }
                Next::Wait => {
                    let comment = Box::pin(self.subscriber.wait()).await.map_err(orphaned)?;
                    if let Some(comment) = comment {
                        self.send(comment).await?;
                    }
                }
                Next::End(bytes) => {
                    self.send(bytes).await?;
                    if self.subscriber.framing() == Framing::Chunked {
                        self.send(LAST_CHUNK).await?;
                    }
                    let socket = SockRef::from(&*self.socket);
                    if let Err(err) = socket.shutdown(std::net::Shutdown::Write) {
                        log::trace!("a client had disconnected when its stream ended: {err}");
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn send(&mut self, mut bytes: Bytes) -> Result<(), Close> {
        // If the socket always accepts everything, this function never waits. Consume tokio's cooperative
        // budget, so that the other tasks of the thread can run.
        consume_budget().await;
        while !bytes.is_empty() {
            match self.socket.try_write(&bytes) {
                Ok(taken) => {
                    self.subscriber.count_sent(taken);
                    bytes.advance(taken);
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    let writable = timeout(self.write_timeout, self.socket.writable());
                    // Boxed, because this future is rarely needed. Otherwise every stream would reserve
                    // memory for it.
                    let writable = Box::pin(writable).await.map_err(|_| Close::Stalled)?;
                    writable.map_err(failed)?;
                }
                Err(err) => return Err(failed(err)),
            }
        }
        Ok(())
    }
}

/// Returns a future that resolves to the reason when the stream must end even if bytes are unsent: at
/// `latest`, or early. `None`: neither can happen. Boxed, because few streams need it.
fn over(
    latest: Option<Instant>,
    early_end: Option<Box<EarlyEnd>>,
) -> Option<Pin<Box<dyn Future<Output = Close>>>> {
    let is_bounded = latest.is_some() || early_end.is_some();
    is_bounded.then(|| -> Pin<Box<dyn Future<Output = Close>>> {
        let expired = latest.map(|latest| sleep_until(latest.into()));
        let early = early_end.map(|early_end| early_end.happens());
        Box::pin(async {
            tokio::select! {
                Some(()) = OptionFuture::from(expired) => Close::Expired,
                Some(early) = OptionFuture::from(early) => early,
            }
        })
    })
}

/// Reads and discards what the client sends. Returns why the stream must end: the client has closed its
/// sending half or has sent more than [`MAX_STRAY`] bytes, or the socket has failed.
async fn listen(socket: &TcpStream) -> Result<std::convert::Infallible, Close> {
    let mut left = MAX_STRAY;
    loop {
        socket.readable().await.map_err(failed)?;
        let mut bytes = [0; MAX_STRAY];
        match socket.try_read(&mut bytes) {
            Ok(0) => return Err(Close::Left),
            Ok(read) => left = left.checked_sub(read).ok_or(Close::Intruded)?,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(failed(err)),
        }
    }
}
