//! The answers to the lines of a bulk request: puts them into the order of the lines, and passes them to the
//! response body. A client may send everything before it reads, so a bounded number of bytes waits for it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::Write as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::json;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::super::problem::Problem;
use crate::{
    broadcaster::PublishError,
    event::GivenId,
    event_log::{AppendResult, Appended},
    matching::{MemoryBudget, Reservation},
};

/// Maximum size of the answers of one request that wait for the client, in bytes. Beyond it, reading the
/// request pauses.
const MAX_BUFFERED: usize = 16 << 20;

/// Limit for the answers of all requests, in bytes. Beyond it, a request with more than [`MIN_BUFFERED`]
/// pauses.
const ANSWERS_BUDGET: usize = 256 << 20;
const MIN_BUFFERED: usize = 64 << 10;

/// Answers are passed on in pieces of about this size, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// The answers to the lines of one request.
#[derive(Debug)]
pub(super) struct Answers {
    /// The lines whose answers are not written yet, in order.
    lines: VecDeque<PendingLine>,
    /// The number of the first of `lines`, counted from 0.
    first: u64,
    /// Answers that were not passed on yet.
    text: BytesMut,
    output: Rc<Output>,
    /// Whether only errors and a summary are answered.
    is_minimal: bool,
    published: u64,
    replayed: u64,
    failed: u64,
}

/// A line whose answer is not written yet, because it or a line before it waits for the log.
#[derive(Debug)]
struct PendingLine {
    /// The number of the line in the body, from 1.
    line: u64,
    /// The id that the publisher chose.
    given: Option<GivenId>,
    result: Option<Result<Appended, Problem>>,
}

impl Answers {
    pub(super) fn new(output: Rc<Output>, is_minimal: bool) -> Self {
        Self {
            lines: VecDeque::new(),
            first: 0,
            text: BytesMut::new(),
            output,
            is_minimal,
            published: 0,
            replayed: 0,
            failed: 0,
        }
    }

    /// Number of lines whose answers are not written yet, because they or lines before them wait for the log.
    pub(super) fn pending(&self) -> usize {
        self.lines.len()
    }

    /// Whether answers wait for the client.
    pub(super) fn are_ready(&self) -> bool {
        self.output.buffered.get() > 0
    }

    /// Whether so many answers wait for the client that no further line may be read.
    pub(super) fn is_full(&self) -> bool {
        self.output.is_full()
    }

    /// Adds a line that waits for the log. Returns the number for [`Self::acknowledge`].
    pub(super) fn add_pending(&mut self, line: u64, given: Option<GivenId>) -> u64 {
        let number = self.first + self.lines.len() as u64;
        self.lines.push_back(PendingLine {
            line,
            given,
            result: None,
        });
        number
    }

    /// Adds a line that is not published.
    pub(super) fn add_refused(&mut self, line: u64, problem: &Problem) {
        self.lines.push_back(PendingLine {
            line,
            given: None,
            result: Some(Err(problem.clone())),
        });
        self.write_ready();
    }

    /// Sets the result of the line for which [`Self::add_pending`] returned this number. It is answered when
    /// all lines before it are.
    pub(super) fn acknowledge(&mut self, number: u64, result: AppendResult) {
        let index = number.checked_sub(self.first).map(|index| index as usize);
        if let Some(line) = index.and_then(|index| self.lines.get_mut(index)) {
            line.result = Some(result.map_err(|refusal| PublishError::from(refusal).into()));
            self.write_ready();
        }
    }

    /// Writes the answers of all lines up to the first that still waits for the log.
    fn write_ready(&mut self) {
        while let Some(result) = self.lines.front_mut().and_then(|line| line.result.take()) {
            let Some(PendingLine { line, given, .. }) = self.lines.pop_front() else {
                return;
            };
            self.first += 1;
            match result {
                Err(problem) => {
                    self.failed += 1;
                    self.write_error(line, &problem);
                }
                Ok(appended) => {
                    self.published += u64::from(!appended.is_replay);
                    self.replayed += u64::from(appended.is_replay);
                    if !self.is_minimal {
                        self.write_id(given.as_ref(), &appended.id, appended.is_replay);
                    }
                }
            }
        }
    }

    fn write_id(&mut self, given: Option<&GivenId>, id: &impl std::fmt::Display, is_replay: bool) {
        let mut text = (&mut self.text).writer();
        let written = match given {
            // The hub's own ids need no escapes.
            None => write!(text, "{{\"id\":\"{id}\""),
            Some(given) => write!(text, "{{\"id\":{}", json!(given.as_str())),
        };
        let replayed = if is_replay { ",\"replayed\":true" } else { "" };
        written
            .and_then(|()| writeln!(text, "{replayed}}}"))
            .expect("writing to memory cannot fail");
    }

    fn write_error(&mut self, line: u64, problem: &Problem) {
        let mut answer = json!({ "error": problem.document() });
        if self.is_minimal {
            answer["line"] = line.into();
        }
        writeln!((&mut self.text).writer(), "{answer}").expect("writing to memory cannot fail");
    }

    /// Passes the answers to the response body. Fails if the client has gone.
    pub(super) fn send(&mut self) -> Result<(), ClientGone> {
        let text = self.text.split().freeze();
        self.output.send(text)
    }

    /// Passes on all answers, and the summary if it was requested. Then the response ends.
    pub(super) fn finish(mut self) {
        if self.is_minimal {
            let summary = json!({
                "published": self.published,
                "replayed": self.replayed,
                "failed": self.failed,
            });
            writeln!((&mut self.text).writer(), "{summary}")
                .expect("writing to memory cannot fail");
        }
        self.end();
    }

    /// Passes on all answers, without a summary. Then the response ends.
    pub(super) fn end(mut self) {
        // An error means that the client has gone, and nobody needs the answers.
        self.send().ok();
        self.output.end();
    }
}

/// The client has closed the connection.
#[derive(Debug)]
pub(super) struct ClientGone;

/// The answers on their way from the request to the response body.
#[derive(Debug)]
pub(super) struct Output {
    pieces: RefCell<VecDeque<Bytes>>,
    buffered: Cell<usize>,
    budget: MemoryBudget,
    held: RefCell<Reservation>,
    has_ended: Cell<bool>,
    is_gone: Cell<bool>,
    reader: RefCell<Option<Waker>>,
}

/// Both ends of the answers of a request. `budget` counts the answers of all requests. The body drops `token`
/// when the response has ended.
pub(super) fn output(
    budget: &MemoryBudget,
    token: Option<TaskTrackerToken>,
) -> (Rc<Output>, OutputBody) {
    let output = Rc::new(Output {
        pieces: RefCell::default(),
        buffered: Cell::new(0),
        budget: budget.clone(),
        held: RefCell::new(budget.reserve(0)),
        has_ended: Cell::new(false),
        is_gone: Cell::new(false),
        reader: RefCell::default(),
    });
    let body = OutputBody {
        output: output.clone(),
        _token: token,
    };
    (output, body)
}

impl Output {
    /// Whether so many answers wait for the client that no further line may be read.
    pub(super) fn is_full(&self) -> bool {
        let buffered = self.buffered.get();
        buffered >= MAX_BUFFERED
            || (buffered >= MIN_BUFFERED && self.budget.reserved() >= ANSWERS_BUDGET)
    }

    fn send(&self, mut text: Bytes) -> Result<(), ClientGone> {
        if self.is_gone.get() {
            return Err(ClientGone);
        }
        if text.is_empty() {
            return Ok(());
        }
        self.count(self.buffered.get() + text.len());
        let mut pieces = self.pieces.borrow_mut();
        while text.len() > PIECE_BYTES {
            pieces.push_back(text.split_to(PIECE_BYTES));
        }
        pieces.push_back(text);
        drop(pieces);
        self.wake();
        Ok(())
    }

    fn count(&self, buffered: usize) {
        self.buffered.set(buffered);
        self.held.borrow_mut().set(buffered);
    }

    fn end(&self) {
        self.has_ended.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The response body of a bulk request.
#[derive(Debug)]
pub(super) struct OutputBody {
    output: Rc<Output>,
    /// Makes a drain wait until the response has ended.
    _token: Option<TaskTrackerToken>,
}

impl MessageBody for OutputBody {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let output = &self.output;
        let piece = output.pieces.borrow_mut().pop_front();
        if let Some(piece) = piece {
            output.count(output.buffered.get() - piece.len());
            return Poll::Ready(Some(Ok(piece)));
        }
        if output.has_ended.get() {
            return Poll::Ready(None);
        }
        if output.is_gone.get() {
            return Poll::Ready(Some(Err(std::io::Error::other("the request was cut off"))));
        }
        output.reader.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for OutputBody {
    fn drop(&mut self) {
        self.output.is_gone.set(true);
    }
}
