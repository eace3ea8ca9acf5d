//! The body of an event stream: a cursor in the log that is either live, reading its channel, or
//! catching up, reading the log as fast as its socket takes it.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    body::{BodySize, MessageBody},
    web::Bytes,
};
use tokio::sync::oneshot;

use crate::{
    broadcaster::{Joined, Seat, Subscribed},
    event_log::Read,
    hub::{BroadcasterGone, Hub},
    registry::{Delivery, Inbox},
    wire,
};

/// How much is sent as one chunk, in bytes: with its header it fits into the connection's write
/// buffer of 8 KiB, together with what was left to write, so that the buffer never grows.
const CHUNK_BYTES: usize = 4000;

/// One subscriber's stream. Never yields an empty chunk: actix-http would end the response there.
pub(crate) struct EventStream {
    hub: Hub,
    seat: Seat,
    /// The number of the next event to send.
    cursor: u64,
    /// What is to be sent before anything else: the opening, or the rest of a large event.
    rest: Bytes,
    state: State,
}

enum State {
    /// At the head: events come through the channel.
    Live(Inbox),
    /// Behind: events come from the log.
    CatchingUp,
    /// Caught up, and asking the Broadcaster to be made live.
    Joining(oneshot::Receiver<Joined>),
    /// Everything was sent.
    Ended,
}

impl EventStream {
    pub(crate) fn new(hub: Hub, subscribed: Subscribed) -> Self {
        let Subscribed {
            seat,
            cursor,
            gap,
            inbox,
        } = subscribed;
        let mut opening = wire::greeting(hub.jittered_retry());
        if let Some(gap) = gap {
            opening = [opening, wire::gap(&gap)].concat().into();
        }
        Self {
            hub,
            seat,
            cursor,
            rest: opening,
            state: inbox.map_or(State::CatchingUp, State::Live),
        }
    }

    /// What comes next: never empty, of any length.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BroadcasterGone>>> {
        loop {
            match &mut self.state {
                State::Live(inbox) => match ready!(inbox.poll_recv(cx)) {
                    Some(Delivery::Event(frame)) => {
                        self.cursor = frame.seq + 1;
                        return Poll::Ready(Some(Ok(frame.bytes)));
                    }
                    Some(Delivery::Comment(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                    None => self.state = State::CatchingUp,
                },
                State::CatchingUp => match self.read_log() {
                    Some(bytes) => return Poll::Ready(Some(Ok(bytes))),
                    None => self.state = State::Joining(self.seat.join(self.cursor)),
                },
                State::Joining(answer) => match ready!(Pin::new(answer).poll(cx)) {
                    Ok(Joined::Live(inbox)) => self.state = State::Live(inbox),
                    Ok(Joined::Behind) => self.state = State::CatchingUp,
                    Ok(Joined::Leaving) => {
                        self.state = State::Ended;
                        let farewell = wire::farewell(self.hub.jittered_retry());
                        return Poll::Ready(Some(Ok(farewell)));
                    }
                    // Not a clean end: the process is about to exit with the cause.
                    Err(_) => return Poll::Ready(Some(Err(BroadcasterGone))),
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    /// The next bytes from the log; `None` at its head.
    fn read_log(&mut self) -> Option<Bytes> {
        match self.hub.log.read(self.cursor, CHUNK_BYTES) {
            Read::Batch { bytes, events } => {
                self.cursor += events;
                self.hub.totals.delivered.add(events);
                Some(bytes)
            }
            Read::Evicted { cursor, gap } => {
                self.cursor = cursor;
                self.hub.totals.gaps.add(1);
                Some(wire::gap(&gap))
            }
            Read::Head => None,
        }
    }
}

impl MessageBody for EventStream {
    type Error = BroadcasterGone;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match ready!(this.poll_bytes(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                end => return Poll::Ready(end),
            }
        }
        let length = this.rest.len().min(CHUNK_BYTES);
        Poll::Ready(Some(Ok(this.rest.split_to(length))))
    }
}
