//! A client's TCP connection as actix-http reads and writes it, with the bounds that actix-http
//! lacks: on how long a client may take, and on what it may send. Where the connection is to carry
//! an event stream, actix-http ends with the response's head, and the socket stays open.

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

/// What a client may send before its last request is answered, in bytes. It waits here until then:
/// actix-http would begin with all requests at once, and with those behind a response that closes the
/// connection.
const MAX_AHEAD: usize = 16 * 1024;

/// Memory budget for requests of which only a part has come, on all connections together, in bytes. Beyond
/// it, connections whose part is longer than [`MAX_AHEAD`] are closed.
const UNFINISHED_BUDGET: usize = 64 << 20;

/// How much actix-http receives before it must process it, in bytes. Otherwise its buffer grows to 128 KiB,
/// and stays that large until the connection is closed.
const MAX_READ_AT_ONCE: usize = 8 * 1024;

/// The head of a stream's response is far smaller; whatever else is written there is none.
const MAX_HEAD: usize = 8 * 1024;

/// What the kernel may hold for a client that is not yet on its way to it. More is left in the
/// log, of which there is one, and not in the kernel, once for each slow reader.
const MAX_UNSENT_IN_KERNEL: u32 = 16 * 1024;

/// The kernel gives a peer up that acknowledged nothing for so many times `write_timeout`. More
/// than one: it also counts the time in which a slow reader, alive, has no room for a whole segment.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: u32 = 2;

/// A silent peer is asked for a sign of life after this long, and then as often.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long clients may take.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// A connection that is idle for this long is closed, and so is one whose request, from its first
    /// byte on, is not answered within this: each of a connection. actix-http times the first head only.
    pub(crate) request_timeout: Duration,
    /// A connection whose socket takes nothing for this long is closed.
    pub(crate) write_timeout: Duration,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: ConnectionLimits,
    /// Every connection that carries an event stream, until its socket is closed.
    pub(crate) streams: TaskTracker,
    /// Bytes received of requests that are not complete.
    pub(crate) unfinished: MemoryBudget,
}

/// A connection's stream of bytes.
#[derive(Debug)]
pub(crate) struct ClientIo {
    /// Shared with whoever goes on with it when actix-http has ended.
    tcp: Rc<TcpStream>,
    shared: Arc<Shared>,
    state: Connection,
    scan: RequestScan,
    /// What came before the last request was answered.
    ahead: BytesMut,
    unfinished: Reservation,
    /// How much was read since the task last had to wait, in bytes.
    read_since_yield: usize,
    /// When the connection was opened or last written to, or when the first byte came of the request
    /// that is not answered yet, whichever was later.
    since: Instant,
    /// Waits for `request_timeout`. `None` before the first wait.
    request_timer: Option<Pin<Box<Sleep>>>,
    /// Waits for `write_timeout`. `None` while the socket takes what it is given.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl ClientIo {
    /// Sets the socket up. A host that is gone is noticed when what was sent to it stays
    /// unacknowledged for twice `write_timeout`, or when it gives no sign of life.
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
            let user_timeout = shared.limits.write_timeout * UNACKNOWLEDGED;
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
        })
    }

    /// What the connection's request handlers get.
    pub(crate) fn connection(&self) -> Connection {
        self.state.clone()
    }

    /// Reads to the end of a request in what came, as [`RequestScan::read`] does.
    fn next_request(&mut self, came: &mut [u8]) -> io::Result<(usize, usize)> {
        if !self.state.0.is_unanswered.get() && self.scan.is_between_requests() {
            self.since = Instant::now();
        }
        let read = self.scan.read(came);
        self.state.received(&mut self.scan)?;
        self.check_budget()?;
        Ok(read)
    }

    /// Keeps what came behind a request until that is answered.
    fn keep_ahead(&mut self, came: &[u8]) -> io::Result<()> {
        self.ahead.extend_from_slice(came);
        self.state.0.ahead.set(self.ahead.len());
        if self.ahead.len() > MAX_AHEAD {
            return Err(too_much());
        }
        Ok(())
    }

    /// Reads the next request in what was kept, and says whether any of it is left to give.
    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        let mut ahead = std::mem::take(&mut self.ahead);
        let most = ahead.len().min(buf.remaining());
        let (used, kept) = self.next_request(&mut ahead[..most])?;
        buf.put_slice(&ahead[..kept]);
        ahead.advance(used);
        // An idle connection keeps no memory for it.
        if !ahead.is_empty() {
            self.ahead = ahead;
        }
        self.state.0.ahead.set(self.ahead.len());
        Ok(kept > 0)
    }

    /// Fails if this request is long and not complete while the memory for such requests is exhausted.
    fn check_budget(&mut self) -> io::Result<()> {
        let unfinished = self.scan.unfinished();
        self.unfinished.set(unfinished);
        if unfinished > MAX_AHEAD && self.shared.unfinished.reserved() > UNFINISHED_BUDGET {
            return Err(io::Error::other(
                "the memory for unfinished requests is exhausted",
            ));
        }
        Ok(())
    }

    /// Fails once the client took too long, and otherwise sees to it that the task is woken then.
    fn check_timers(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(timer) = &mut self.write_timer {
            if timer.as_mut().poll(cx).is_ready() {
                log::debug!("closing a connection: its socket takes nothing");
                return Err(timed_out(
                    "the socket took nothing for server.write_timeout",
                ));
            }
            return Ok(());
        }
        let deadline = self.since + self.shared.limits.request_timeout;
        // The clock, and not the timer, decides: a task that is kept busy by a flood has used up
        // its budget, with which a timer would be looked at.
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

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            // What comes now is not for the parser of requests. The response's end wakes the task.
            if this.state.is_stream() {
                return Poll::Pending;
            }
            // Returning without data signals the end of input. Otherwise actix-http waits for the client to
            // close.
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
            let must_yield = this.read_since_yield >= MAX_READ_AT_ONCE;
            if must_yield || this.tcp.poll_read_ready(cx)?.is_pending() {
                this.read_since_yield = 0;
                this.check_timers(cx)?;
                if must_yield {
                    // actix-http first processes what it has.
                    cx.waker().wake_by_ref();
                }
                if is_ahead {
                    this.state.0.answered.replace(Some(cx.waker().clone()));
                }
                return Poll::Pending;
            }
            let before = buf.filled().len();
            let read = match this.tcp.try_read_buf(buf) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
                result => result?,
            };
            if read == 0 {
                // The end.
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
            let behind = &buf.filled()[before + used..];
            this.keep_ahead(behind)?;
            buf.set_filled(before + kept);
            // Nothing read means the end to the caller; nothing kept does not.
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
                return Poll::Ready(Err(io::Error::other("more than a stream's head")));
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
        // Where a stream follows, this is the end of its head, and not that of the connection.
        if !self.state.is_stream() {
            SockRef::from(&*self.tcp).shutdown(Shutdown::Write)?;
        }
        Poll::Ready(Ok(()))
    }
}
