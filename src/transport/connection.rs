//! A client's TCP connection, as actix-http reads and writes it.
//!
//! It adds the bounds that actix-http lacks: how long a client may take, and how much it may send. It also
//! hands a socket over to an event stream: actix-http ends the connection after the response head, but the
//! socket stays open.

mod responses;
mod state;

use std::{
    io,
    net::Shutdown,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::task::TaskTracker;

pub(super) use self::state::MAX_STRAY;
use self::state::too_much;
pub(crate) use self::{
    responses::track_response,
    state::{Connection, NewStream},
};
use super::request_scan::RequestScan;
use crate::matching::{MemoryBudget, Reservation};

/// Maximum bytes of pipelined requests that are held back while the current request is unanswered. If a
/// client sends more, the connection is closed. If they were not held back, actix-http would start all
/// requests together, even those after a response that closes the connection.
const MAX_AHEAD: usize = 16 * 1024;

/// Memory budget for the incomplete request heads of all connections together, in bytes. While it is
/// exceeded, a connection is closed if it sends more of an incomplete head that is longer than [`MAX_AHEAD`].
const UNFINISHED_BUDGET: usize = 64 << 20;

/// After receiving about this many bytes, actix-http must process them before it receives more. Without this
/// limit, its buffer grows to 128 KiB and stays that large until the connection is closed.
const MAX_READ_AT_ONCE: usize = 8 * 1024;

/// Maximum size of the response head of an event stream, in bytes. A real head is far smaller. If actix-http
/// writes more than this, the write fails.
const MAX_HEAD: usize = 8 * 1024;

/// Approximate maximum of unsent bytes in the kernel's buffer for a socket (only on Linux). When it is
/// reached, new events for a slow client wait in the log, which stores them once for all clients.
const MAX_UNSENT_IN_KERNEL: u32 = 16 * 1024;

/// The kernel disconnects a peer that acknowledges nothing for `write_timeout` times this factor. The factor
/// is above 1, because the time also runs while a slow but reachable client has no room for a whole TCP
/// segment.
#[cfg(target_os = "linux")]
const USER_TIMEOUT_FACTOR: u32 = 2;

/// TCP keepalive: the kernel probes a silent peer after the idle time, and then once per interval.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a client may take before its connection is closed.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// A connection without an event stream is closed if it is idle for this long, or if a request is not
    /// answered for this long. The time starts again at the first byte of each request, and whenever a part
    /// of a response is written. actix-http itself limits only the time for the first request head of a
    /// connection.
    pub(crate) request_timeout: Duration,
    /// A connection is closed if its socket accepts nothing that is written to it for this long.
    pub(crate) write_timeout: Duration,
}

/// State that all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: ConnectionLimits,
    /// Tracks every connection that carries an event stream, until its socket is closed. A drain waits for
    /// them.
    pub(crate) streams: TaskTracker,
    /// Bytes of the incomplete request heads of all connections. The limit is [`UNFINISHED_BUDGET`].
    pub(crate) unfinished: MemoryBudget,
}

/// A client's TCP connection, which actix-http reads and writes as its socket.
#[derive(Debug)]
pub(crate) struct ClientIo {
    /// The socket. Shared, because an event stream continues to use it after actix-http has ended.
    tcp: Rc<TcpStream>,
    shared: Arc<Shared>,
    state: Connection,
    scan: RequestScan,
    /// Bytes of later requests, held back until the current request is answered.
    ahead: BytesMut,
    unfinished: Reservation,
    /// Bytes read since `poll_read` last returned `Pending`. At [`MAX_READ_AT_ONCE`], it returns `Pending`
    /// again.
    read_since_yield: usize,
    /// When `request_timeout` starts to run: when the connection was opened, when it was last written to, or
    /// when the first byte of the unanswered request arrived, whichever was last.
    since: Instant,
    /// Timer for `request_timeout`. `None` before the first wait.
    request_timer: Option<Pin<Box<Sleep>>>,
    /// Timer for `write_timeout`. `None` while the socket accepts what is written.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Whether the kernel disconnects a peer that acknowledges nothing.
    #[cfg(target_os = "linux")]
    has_user_timeout: bool,
}

impl ClientIo {
    /// Wraps a socket, and sets its options. Among other things, they make the kernel disconnect a vanished
    /// peer: one that acknowledges nothing for twice `write_timeout` (only on Linux), or does not answer the
    /// keepalive probes.
    pub(crate) fn new(tcp: Rc<TcpStream>, shared: Arc<Shared>) -> io::Result<Self> {
        let socket = SockRef::from(&*tcp);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_IDLE)
                .with_interval(KEEPALIVE_INTERVAL),
        )?;
        #[cfg(target_os = "linux")]
        {
            let user_timeout = shared.limits.write_timeout * USER_TIMEOUT_FACTOR;
            socket.set_tcp_user_timeout(Some(user_timeout))?;
            socket.set_tcp_notsent_lowat(MAX_UNSENT_IN_KERNEL)?;
        }
        Ok(Self {
            tcp,
            unfinished: shared.unfinished.reserve(0),
            shared,
            state: Connection::default(),
            scan: RequestScan::default(),
            ahead: BytesMut::new(),
            read_since_yield: 0,
            since: Instant::now(),
            request_timer: None,
            write_timer: None,
            #[cfg(target_os = "linux")]
            has_user_timeout: true,
        })
    }

    /// The state that the request handlers of this connection receive.
    pub(crate) fn connection(&self) -> Connection {
        self.state.clone()
    }

    /// Scans received bytes up to the end of a request. Returns how many bytes were scanned and how many of
    /// them remain, like [`RequestScan::read`]. Fails if the client has sent too much, or if the memory
    /// budget for incomplete heads is exceeded.
    fn next_request(&mut self, came: &mut [u8]) -> io::Result<(usize, usize)> {
        let begins = !self.state.0.is_unanswered.get() && self.scan.is_between_requests();
        let limits_idle_time = self.state.0.limits_idle_time.get();
        if begins || limits_idle_time {
            self.since = Instant::now();
        }
        let read = self.scan.read(came);
        self.state.received(&mut self.scan)?;
        if limits_idle_time {
            self.expect_unread_answers(!self.scan.is_between_requests())?;
        }
        self.check_budget()?;
        Ok(read)
    }

    /// While a client sends a long body, it may leave the answers to it unread. `does`: whether it still
    /// sends.
    fn expect_unread_answers(&mut self, does: bool) -> io::Result<()> {
        self.write_timer = None;
        self.state.0.limits_idle_time.set(does);
        #[cfg(target_os = "linux")]
        if does == self.has_user_timeout {
            let user_timeout = self.shared.limits.write_timeout * USER_TIMEOUT_FACTOR;
            let user_timeout = (!does).then_some(user_timeout);
            SockRef::from(&*self.tcp).set_tcp_user_timeout(user_timeout)?;
            self.has_user_timeout = !does;
        }
        Ok(())
    }

    /// Holds back bytes of later requests until the current request is answered. Fails if they are more than
    /// [`MAX_AHEAD`].
    fn keep_ahead(&mut self, came: &[u8]) -> io::Result<()> {
        self.ahead.extend_from_slice(came);
        self.state.0.ahead.set(self.ahead.len());
        if self.ahead.len() > MAX_AHEAD {
            return Err(too_much());
        }
        Ok(())
    }

    /// Fills `buf` with bytes that were held back, up to the end of the next request. Returns whether it
    /// added any.
    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let mut ahead = std::mem::take(&mut self.ahead);
        let most = ahead.len().min(buf.remaining());
        let (used, kept) = self.next_request(&mut ahead[..most])?;
        buf.put_slice(&ahead[..kept]);
        ahead.advance(used);
        // If no bytes are left, drop the buffer, so that an idle connection does not keep its memory.
        if !ahead.is_empty() {
            self.ahead = ahead;
        }
        self.state.0.ahead.set(self.ahead.len());
        Ok(kept > 0)
    }

    /// Fails if the current request head is incomplete and longer than [`MAX_AHEAD`], while the incomplete
    /// heads of all connections exceed [`UNFINISHED_BUDGET`].
    fn check_budget(&mut self) -> io::Result<()> {
        let unfinished = self.scan.unfinished();
        self.unfinished.set(unfinished);
        if unfinished > MAX_AHEAD && self.shared.unfinished.reserved() > UNFINISHED_BUDGET {
            return Err(io::Error::other(
                "the memory budget for incomplete requests is exhausted",
            ));
        }
        Ok(())
    }

    /// Fails if a write has waited for `write_timeout` or, if no write waits, if `request_timeout` has
    /// passed. Otherwise a timer wakes the task at the deadline.
    fn check_timers(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(timer) = &mut self.write_timer {
            if timer.as_mut().poll(cx).is_ready() {
                log::debug!("closing a connection: its socket accepts nothing");
                return Err(timed_out(
                    "the socket accepted nothing for server.write_timeout",
                ));
            }
            return Ok(());
        }
        let deadline = self.since + self.shared.limits.request_timeout;
        // Compare with the clock, because the timer alone is not reliable. If a client floods the server, the
        // task uses up its cooperative budget in tokio, and the timer then never reports that it has elapsed.
        if deadline <= Instant::now() {
            return Err(timed_out(
                "no request was completed within server.request_timeout",
            ));
        }
        let timer = self
            .request_timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl ClientIo {
    /// Returns `true` if there is nothing to read yet, or if actix-http must first process what it has read.
    /// In both cases, the task will be woken when it can continue. Fails if a timeout has passed.
    fn must_wait_to_read(&mut self, cx: &mut Context<'_>, is_ahead: bool) -> io::Result<bool> {
        let must_yield = self.read_since_yield >= MAX_READ_AT_ONCE;
        if !must_yield && self.tcp.poll_read_ready(cx)?.is_ready() {
            return Ok(false);
        }
        self.read_since_yield = 0;
        self.check_timers(cx)?;
        if must_yield {
            // actix-http first processes the bytes that it has. Wake the task immediately, so that it then
            // reads again.
            cx.waker().wake_by_ref();
        }
        if is_ahead {
            self.state.0.answered.replace(Some(cx.waker().clone()));
        }
        Ok(true)
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            // Once an event stream begins, actix-http must not read further bytes. The end of the response
            // wakes the task.
            if this.state.is_stream() {
                return Poll::Pending;
            }
            // A refused request needs no more input. Returning without data signals the end of input, so
            // actix-http closes the connection. Otherwise it would wait for the client to close it.
            if this.state.may_close_after_refusal() && this.write_timer.is_none() {
                return Poll::Ready(Ok(()));
            }
            let is_ahead = this.state.0.is_unanswered.get() && this.scan.is_between_requests();
            if !is_ahead && !this.ahead.is_empty() {
                if this.take_ahead(buf)? {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if this.must_wait_to_read(cx, is_ahead)? {
                return Poll::Pending;
            }
            let before = buf.filled().len();
            let read = match this.tcp.try_read_buf(buf) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
                result => result?,
            };
            if read == 0 {
                // The client has closed its sending side.
                return Poll::Ready(Ok(()));
            }
            this.read_since_yield += read;
            if is_ahead {
                this.keep_ahead(&buf.filled()[before..])?;
                buf.set_filled(before);
                continue;
            }
            let (_, came) = buf.filled_mut().split_at_mut(before);
            let (used, kept) = this.next_request(came)?;
            let following = &buf.filled()[before + used..];
            this.keep_ahead(following)?;
            buf.set_filled(before + kept);
            // If the scan dropped all bytes, read again: returning without data would signal the end of
            // input.
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(stream) = &mut *this.state.0.stream.borrow_mut() {
            if stream.head.len() + buf.len() > MAX_HEAD {
                return Poll::Ready(Err(io::Error::other("the response head is too large")));
            }
            stream.head.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        while this.tcp.poll_write_ready(cx)?.is_ready() {
            match this.tcp.try_write(buf) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    this.state.note_write();
                    this.write_timer = None;
                    this.since = Instant::now();
                    return Poll::Ready(result);
                }
            }
        }
        if this.write_timer.is_none() {
            let deadline = Instant::now() + this.shared.limits.write_timeout;
            this.write_timer = Some(Box::pin(sleep_until(deadline)));
        }
        this.check_timers(cx)?;
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // If an event stream follows, only its response head ends here. The socket stays open for the stream.
        if !self.state.is_stream() {
            SockRef::from(&*self.tcp).shutdown(Shutdown::Write)?;
        }
        Poll::Ready(Ok(()))
    }
}
