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

/// How much is read from the log at a time, in bytes: with its chunk header it fits into the
/// connection's write buffer of 8 KiB, together with what was left to write.
const BATCH_BYTES: usize = 4000;

/// One subscriber's stream. Never yields an empty chunk: actix-http would end the response there.
pub(crate) struct EventStream {
    hub: Hub,
    seat: Seat,
    /// The number of the next event to send.
    cursor: u64,
    /// What goes out before the first event.
    opening: Option<Bytes>,
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
            opening: Some(opening),
            state: inbox.map_or(State::CatchingUp, State::Live),
        }
    }

    /// The next bytes from the log; `None` at its head.
    fn read_log(&mut self) -> Option<Bytes> {
        match self.hub.log.read(self.cursor, BATCH_BYTES) {
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
        if let Some(opening) = this.opening.take() {
            return Poll::Ready(Some(Ok(opening)));
        }
        loop {
            match &mut this.state {
                State::Live(inbox) => match ready!(inbox.poll_recv(cx)) {
                    Some(Delivery::Event(frame)) => {
                        this.cursor = frame.seq + 1;
                        return Poll::Ready(Some(Ok(frame.bytes)));
                    }
                    Some(Delivery::Comment(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                    None => this.state = State::CatchingUp,
                },
                State::CatchingUp => match this.read_log() {
                    Some(bytes) => return Poll::Ready(Some(Ok(bytes))),
                    None => {
                        this.state = State::Joining(this.seat.join(this.cursor));
                    }
                },
                State::Joining(answer) => match ready!(Pin::new(answer).poll(cx)) {
                    Ok(Joined::Live(inbox)) => this.state = State::Live(inbox),
                    Ok(Joined::Behind) => this.state = State::CatchingUp,
                    Ok(Joined::Leaving) => {
                        this.state = State::Ended;
                        let farewell = wire::farewell(this.hub.jittered_retry());
                        return Poll::Ready(Some(Ok(farewell)));
                    }
                    // Not a clean end: the process is about to exit with the cause.
                    Err(_) => return Poll::Ready(Some(Err(BroadcasterGone))),
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}
