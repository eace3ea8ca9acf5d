//! A subscriber's place in the log, and what it is to be sent next. How the bytes get to it is for
//! others to know.

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    broadcaster::{News, Seat, Subscribed},
    event_log::Read,
    hub::{BroadcasterGone, Hub},
    metrics::{Close, Mark},
    wire::{self, Batch, Framing},
};

/// How much is read from the log at a time, in bytes; a larger event is read whole. It waits in
/// memory for as long as the client does not take it.
pub(crate) const BATCH_BYTES: usize = 4096;

/// A cursor in the log: every event before it was sent.
#[derive(Debug)]
pub(crate) struct Subscriber {
    hub: Hub,
    /// Given back when the subscriber is dropped.
    _seat: Seat,
    news: watch::Receiver<News>,
    framing: Framing,
    /// The number of the next event to send.
    cursor: u64,
    /// Whether it was live until now, so that the next it reads is what has just come.
    was_live: bool,
    /// Whether it read events that others had before, and was not live since.
    behind: bool,
    /// What is to be sent before anything else.
    opening: Option<Bytes>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Bytes to send: never empty, of any length.
    Bytes(Bytes),
    /// Nothing, until there is another event.
    Wait,
    /// The stream is to end, after these bytes.
    End(Bytes),
}

impl Subscriber {
    pub(crate) fn new(hub: Hub, subscribed: Subscribed, framing: Framing) -> Self {
        let Subscribed { seat, cursor, gap } = subscribed;
        let greeting = wire::greeting(hub.jittered_retry(), gap.as_ref());
        Self {
            news: hub.news(),
            hub,
            _seat: seat,
            framing,
            cursor,
            was_live: false,
            behind: false,
            opening: Some(greeting.bytes(framing)),
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Says that somebody else sent it everything before `cursor`, and goes on no more.
    pub(crate) fn fell_behind(&mut self, cursor: u64) {
        self.cursor = cursor;
        self.was_live = false;
    }

    /// Says that the client took so many bytes.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.hub.metrics.sent_bytes.inc_by(bytes as u64);
    }

    /// Says why the stream was closed.
    pub(crate) fn count_close(&self, reason: Close) {
        self.hub.metrics.count_close(reason);
    }

    /// Puts bytes before everything else.
    pub(crate) fn begin_with(&mut self, bytes: Bytes) {
        self.opening = Some(match self.opening.take() {
            Some(opening) => join(&bytes, &opening),
            None => bytes,
        });
    }

    /// What is to be sent next.
    pub(crate) fn next(&mut self) -> Next {
        let next = self.read();
        let Some(opening) = self.opening.take() else {
            return next;
        };
        // Sent together, at one system call, unless that means to copy much.
        match next {
            Next::Wait => Next::Bytes(opening),
            Next::Bytes(bytes) if opening.len() + bytes.len() > 2 * BATCH_BYTES => {
                self.opening = Some(bytes);
                Next::Bytes(opening)
            }
            Next::Bytes(bytes) => Next::Bytes(join(&opening, &bytes)),
            Next::End(bytes) => Next::End(join(&opening, &bytes)),
        }
    }

    /// Reads on in the log.
    fn read(&mut self) -> Next {
        // Asked before the log is: whatever was appended before the drain is in it by then.
        let draining = self.news.borrow_and_update().draining;
        let mut batch = Batch::new(self.framing);
        match self
            .hub
            .log
            .read(self.cursor, BATCH_BYTES, |entry| batch.push(&entry.frame))
        {
            Read::Events(events) => {
                self.cursor += events;
                self.behind |= !std::mem::take(&mut self.was_live);
                self.hub.metrics.deliveries.inc_by(events);
                Next::Bytes(batch.finish())
            }
            Read::Evicted { cursor, gap } => {
                self.cursor = cursor;
                self.hub.metrics.count_gap(gap.reason);
                Next::Bytes(wire::gap(&gap).bytes(self.framing))
            }
            Read::Head if draining => {
                let farewell = wire::farewell(self.hub.jittered_retry());
                Next::End(farewell.bytes(self.framing))
            }
            Read::Head => Next::Wait,
        }
    }

    /// Counts it among the live for as long as the mark is kept: after [`Next::Wait`].
    pub(crate) fn live(&mut self) -> Mark {
        self.was_live = true;
        if std::mem::take(&mut self.behind) {
            self.hub.metrics.catch_ups.inc();
        }
        self.hub.metrics.mark_live()
    }

    /// Waits, after [`Next::Wait`], until there may be more. What it returns is to be sent then: a
    /// comment, if there was nothing for as long as the heartbeat.
    pub(crate) async fn wait(&mut self) -> Result<Option<Bytes>, BroadcasterGone> {
        let _live = self.live();
        let heartbeat = self.news.borrow().heartbeat;
        match tokio::time::timeout(heartbeat, self.news.changed()).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(_)) => Err(BroadcasterGone),
            Err(_) => Ok(Some(wire::heartbeat().bytes(self.framing))),
        }
    }
}

fn join(first: &Bytes, second: &Bytes) -> Bytes {
    [&**first, &**second].concat().into()
}
