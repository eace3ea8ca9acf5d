//! The state of a connection that its request handlers share with [`ClientIo`](super::ClientIo).
//!
//! It says whether a request is unanswered, what has arrived after it, and whether an event stream follows.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::Waker,
};

use bytes::BytesMut;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::super::early_end::EarlyEnd;
use super::super::request_scan::RequestScan;
use crate::delivery::Subscriber;

/// Maximum bytes that a client may send where the server expects none: during an event stream, or after a
/// request head whose body has no known end. If the client sends more, the connection is closed.
pub(in crate::transport) const MAX_STRAY: usize = 1024;

/// Maximum bytes that may follow the request for an event stream: one line break, which some clients send
/// after each request.
const LINE_BREAK: usize = "\r\n".len();

/// A handle to the connection on which a request handler responds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(pub(super) Rc<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether a request was received and is not answered yet.
    pub(super) is_unanswered: Cell<bool>,
    /// Wakes the connection's task when the current request is answered, so that it reads the next request.
    /// `None`: the task does not wait for this answer.
    pub(super) answered: RefCell<Option<Waker>>,
    /// Number of bytes that have arrived after the current request. They are held back until it is answered.
    pub(super) ahead: Cell<usize>,
    /// Number of bytes of an incomplete request, as [`RequestScan::unfinished`] counts them.
    pub(super) unfinished: Cell<usize>,
    /// Whether a request body of known length is being received.
    pub(super) is_in_sized_body: Cell<bool>,
    /// Whether the time limit of the current request starts again whenever bytes of it arrive.
    pub(super) limits_idle_time: Cell<bool>,
    /// Whether a request was refused before its body of known length was complete. The connection then closes
    /// when the body is received and at least the first bytes of the response are written.
    pub(super) closes_after_body: Cell<bool>,
    /// Whether at least the first bytes of an error response were written, after a request was refused before
    /// its body was complete.
    pub(super) refusal_is_written: Cell<bool>,
    /// The event stream that follows the response head, if a handler has begun one.
    pub(super) stream: RefCell<Option<Box<NewStream>>>,
}

/// An event stream that continues on the connection after the response head.
#[derive(Debug)]
pub(crate) struct NewStream {
    pub(crate) subscriber: Subscriber,
    /// The response head. It is sent together with the first bytes of the stream.
    pub(crate) head: BytesMut,
    /// What can end the stream before it has sent everything. `None`: nothing. Boxed, because few streams have
    /// a token.
    pub(crate) early_end: Option<Box<EarlyEnd>>,
    /// Makes a drain wait until this token is dropped, which happens after the socket is closed.
    pub(crate) _token: TaskTrackerToken,
}

impl Connection {
    /// Whether no further request was received after the current one. A line break is allowed. Only then may
    /// the response be a stream, because a further request would never be answered.
    pub(crate) fn is_at_its_last_request(&self) -> bool {
        self.0.ahead.get() <= LINE_BREAK && self.0.unfinished.get() <= LINE_BREAK
    }

    /// Makes an event stream follow the response head that the handler will return. From now on, the
    /// connection reads no further requests.
    pub(crate) fn begin_stream(
        &self,
        subscriber: Subscriber,
        early_end: EarlyEnd,
        token: TaskTrackerToken,
    ) {
        self.0.stream.replace(Some(Box::new(NewStream {
            subscriber,
            head: BytesMut::new(),
            early_end: early_end.is_possible().then(|| Box::new(early_end)),
            _token: token,
        })));
    }

    /// While the body of the current request arrives, `request_timeout` limits how long the client may be
    /// silent, not how long the request takes, and the client may leave the response unread.
    pub(crate) fn limit_idle_time(&self) {
        self.0.limits_idle_time.set(true);
    }

    /// Takes the event stream, if a handler has begun one.
    pub(crate) fn take_stream(&self) -> Option<Box<NewStream>> {
        self.0.stream.take()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.0.stream.borrow().is_some()
    }

    /// Whether a refused request is finished: its error response was written, and its body was received. The
    /// connection may then close.
    pub(super) fn may_close_after_refusal(&self) -> bool {
        self.0.refusal_is_written.get() && !self.0.is_in_sized_body.get()
    }

    /// Records that bytes of a response were written.
    pub(super) fn note_write(&self) {
        if self.0.closes_after_body.get() {
            self.0.refusal_is_written.set(true);
        }
    }

    pub(super) fn received(&self, scan: &mut RequestScan) -> io::Result<()> {
        if scan.take_heads() > 0 {
            self.0.is_unanswered.set(true);
        }
        self.0.unfinished.set(scan.unfinished());
        self.0.is_in_sized_body.set(scan.is_in_sized_body());
        // Limit only the bytes after a head whose body has no known end. actix-http itself limits the size of
        // a head.
        if scan.is_unframed() && scan.unfinished() > MAX_STRAY {
            return Err(too_much());
        }
        Ok(())
    }

    /// Records that the current request is answered, and wakes the connection's task if it waits to read the
    /// next request.
    pub(super) fn note_answer(&self) {
        self.0.is_unanswered.set(false);
        if let Some(task) = self.0.answered.take() {
            task.wake();
        }
    }
}

pub(super) fn too_much() -> io::Error {
    io::Error::other("the client sent more bytes than are accepted")
}
