//! What is known of a connection: whether a request is being answered, and what came behind it.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::Waker,
};

use bytes::BytesMut;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::super::request_scan::RequestScan;
use crate::{auth::Revocation, delivery::Subscriber};

/// What the client of an event stream may send, which has nothing more to say, and what may follow a body
/// whose end is not known.
pub(in crate::transport) const MAX_STRAY: usize = 1024;

/// What may stand behind the request for an event stream: some clients end their requests so.
const LINE_BREAK: usize = "\r\n".len();

/// What a request handler knows of the connection it answers on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(pub(super) Rc<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether a request came that is not answered.
    pub(super) is_unanswered: Cell<bool>,
    /// Wakes the connection's task when it is.
    pub(super) answered: RefCell<Option<Waker>>,
    /// Bytes that came behind that request.
    pub(super) ahead: Cell<usize>,
    /// What came since the last whole request, in bytes.
    pub(super) unfinished: Cell<usize>,
    /// Whether a body is being received whose length is known.
    pub(super) is_in_sized_body: Cell<bool>,
    /// Whether a request was refused before its body was complete. The connection closes once the body is
    /// complete.
    pub(super) closes_after_body: Cell<bool>,
    /// Whether that refusal was written.
    pub(super) refusal_is_written: Cell<bool>,
    /// Present once the connection is to carry an event stream.
    pub(super) stream: RefCell<Option<Box<NewStream>>>,
}

/// What a connection is to carry from the end of the response's head on.
#[derive(Debug)]
pub(crate) struct NewStream {
    pub(crate) subscriber: Subscriber,
    /// The response's head: it is sent together with what comes first.
    pub(crate) head: BytesMut,
    /// Present if it is to end with a key. On the heap: few have it.
    pub(crate) revocation: Option<Box<Revocation>>,
    /// Kept until the stream's socket is closed.
    pub(crate) _token: TaskTrackerToken,
}

impl Connection {
    /// Whether nothing came behind the request that is being answered, so that it may be answered
    /// with a stream: what came would wait for the stream's end.
    pub(crate) fn is_at_its_last_request(&self) -> bool {
        self.0.ahead.get() <= LINE_BREAK && self.0.unfinished.get() <= LINE_BREAK
    }

    /// Has the connection carry an event stream when the response that is being made is sent. It
    /// reads no more requests.
    pub(crate) fn begin_stream(
        &self,
        subscriber: Subscriber,
        revocation: Option<Revocation>,
        token: TaskTrackerToken,
    ) {
        self.0.stream.replace(Some(Box::new(NewStream {
            subscriber,
            head: BytesMut::new(),
            revocation: revocation.map(Box::new),
            _token: token,
        })));
    }

    /// What it is to carry, for whoever goes on with it.
    pub(crate) fn take_stream(&self) -> Option<Box<NewStream>> {
        self.0.stream.take()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.0.stream.borrow().is_some()
    }

    /// Whether a request was refused early, the response is written, and the rest of the body was received.
    pub(super) fn may_close_after_refusal(&self) -> bool {
        self.0.refusal_is_written.get() && !self.0.is_in_sized_body.get()
    }

    /// Notes that some of a response was written.
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
        // Of a head, the parser has a bound of its own.
        if scan.is_unframed() && scan.unfinished() > MAX_STRAY {
            return Err(too_much());
        }
        Ok(())
    }

    /// Notes that the request was answered. The next one may be read.
    pub(super) fn note_answer(&self) {
        self.0.is_unanswered.set(false);
        if let Some(task) = self.0.answered.take() {
            task.wake();
        }
    }
}

pub(super) fn too_much() -> io::Error {
    io::Error::other("the client sends more than is answered")
}
