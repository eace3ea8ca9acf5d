//! A client's TCP connection as actix-http reads and writes it, with the bounds that actix-http
//! lacks: on how long a client may take, and on what it may send while it is being streamed to.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use crate::{head_clip::HeadClip, totals::Totals};

/// What a client may send from the request of an event stream on, that request included. Beyond,
/// it is cut off: actix-http would keep up to 128 KiB of it, and poll without pause from there on.
const MAX_RECEIVED_BY_STREAM: usize = 32 * 1024;

/// What the kernel may hold for a client that is not yet on its way to it. More is left in the
/// log, of which there is one, and not in the kernel, once for each slow reader.
const MAX_UNSENT_IN_KERNEL: u32 = 64 * 1024;

/// A silent peer is asked for a sign of life after this long, and then as often.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long clients may take.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// A connection that is not streaming and was written nothing for this long is closed. It
    /// bounds the whole of a request and its answer, on each request of a connection: actix-http
    /// times the first head only.
    pub(crate) request_timeout: Duration,
    /// A connection whose socket takes nothing for this long is closed.
    pub(crate) write_timeout: Duration,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: ConnectionLimits,
    pub(crate) totals: Arc<Totals>,
    /// Every connection that carries an event stream, until its socket is closed.
    pub(crate) streams: TaskTracker,
}

/// A connection's stream of bytes.
#[derive(Debug)]
pub(crate) struct ClientIo {
    tcp: TcpStream,
    shared: Arc<Shared>,
    state: Connection,
    clip: HeadClip,
    /// When the connection was opened or last written to.
    written: Instant,
    /// Waits for `request_timeout`. `None` before the first wait and while streaming.
    request_timer: Option<Pin<Box<Sleep>>>,
    /// Waits for `write_timeout`. `None` while the socket takes what it is given.
    write_timer: Option<Pin<Box<Sleep>>>,
}

/// What a request handler knows of the connection it answers on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// Received since the last write, or, on a stream, since the write before its request.
    received: Cell<usize>,
    /// Present once the connection carries an event stream.
    stream: RefCell<Option<TaskTrackerToken>>,
}

impl Connection {
    /// Whether more came with the request than a stream's client may send: a long head, or further
    /// requests behind it.
    pub(crate) fn received_too_much(&self) -> bool {
        self.0.received.get() > MAX_RECEIVED_BY_STREAM
    }

    /// From now on the connection is a stream's: it may stay silent, and may receive no more.
    pub(crate) fn begin_stream(&self, shared: &Shared) {
        self.0.stream.replace(Some(shared.streams.token()));
    }

    fn count_received(&self, bytes: usize) -> io::Result<()> {
        self.0.received.set(self.0.received.get() + bytes);
        if self.is_stream() && self.received_too_much() {
            return Err(io::Error::other(
                "the client of an event stream keeps sending",
            ));
        }
        Ok(())
    }

    fn is_stream(&self) -> bool {
        self.0.stream.borrow().is_some()
    }
}

impl ClientIo {
    /// Sets the socket up. A host that is gone is noticed when what was sent to it stays
    /// unacknowledged for `write_timeout`, or when it gives no sign of life.
    pub(crate) fn new(tcp: TcpStream, shared: Arc<Shared>) -> io::Result<Self> {
        let socket = SockRef::from(&tcp);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(KEEPALIVE_IDLE)
                .with_interval(KEEPALIVE_INTERVAL),
        )?;
        #[cfg(target_os = "linux")]
        {
            socket.set_tcp_user_timeout(Some(shared.limits.write_timeout))?;
            socket.set_tcp_notsent_lowat(MAX_UNSENT_IN_KERNEL)?;
        }
        Ok(Self {
            tcp,
            shared,
            state: Connection::default(),
            clip: HeadClip::default(),
            written: Instant::now(),
            request_timer: None,
            write_timer: None,
        })
    }

    /// What the connection's request handlers get.
    pub(crate) fn connection(&self) -> Connection {
        self.state.clone()
    }

    /// Fails once the client took too long, and otherwise sees to it that the task is woken then.
    fn check_timers(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(timer) = &mut self.write_timer {
            if timer.as_mut().poll(cx).is_ready() {
                self.shared.totals.timed_out.add(1);
                log::debug!("closing a connection: its socket takes nothing");
                return Err(timed_out(
                    "the socket took nothing for server.write_timeout",
                ));
            }
            return Ok(());
        }
        if self.state.is_stream() {
            self.request_timer = None;
            return Ok(());
        }
        let deadline = self.written + self.shared.limits.request_timeout;
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
            let before = buf.filled().len();
            if Pin::new(&mut this.tcp).poll_read(cx, buf)?.is_pending() {
                this.check_timers(cx)?;
                return Poll::Pending;
            }
            let read = &mut buf.filled_mut()[before..];
            let ended = read.is_empty();
            let kept = this.clip.clip(read);
            buf.set_filled(before + kept);
            this.state.count_received(kept)?;
            // Nothing read means the end to whoever asked; nothing kept does not.
            if ended || kept > 0 {
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
        let poll = Pin::new(&mut self.tcp).poll_write(cx, buf)?;
        if poll.is_ready() {
            self.write_timer = None;
            if !self.state.is_stream() {
                self.written = Instant::now();
                self.state.0.received.set(0);
            }
        } else {
            if self.write_timer.is_none() {
                let deadline = Instant::now() + self.shared.limits.write_timeout;
                self.write_timer = Some(Box::pin(sleep_until(deadline)));
            }
            self.check_timers(cx)?;
        }
        poll.map(Ok)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
