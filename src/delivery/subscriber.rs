//! Decides what a subscriber is sent next, from its cursor in the log.
//!
//! It does no socket I/O: the transport calls [`Subscriber::next`], and writes the bytes that this returns.
//! If the socket is slow, the transport only calls it later.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::watch;

mod fetching;
mod missing;
mod values;
mod waiting;

use super::{
    archive_cursor::ArchiveCursor, position::Position, round::push_event, snapshot::Snapshot,
};
use crate::{
    broadcaster::{Expiry, Hub, HubState, Permit},
    event::{Audience, Batch, EventId, Framing, wire},
    event_log::{Cursor, Portion, Read, ReadFrom, ResumePoint},
    matching::Selection,
    metrics::{Close, GaugeGuard},
};

/// Maximum size of the events that one read from memory returns, in bytes. A larger event is returned alone.
/// The bytes stay in memory until the client's socket accepts them.
pub(crate) const BATCH_BYTES: usize = 4096;

/// Approximate limit on topic matching in one read, because an append to memory waits until the read ends.
/// The unit is one match by a simple matcher, which takes up to 1 µs. The next read continues where this one
/// ended.
const MATCH_BUDGET: usize = 256;

/// One subscriber: which events it receives (its selection), and how far it has read the log (its cursor).
#[derive(Debug)]
pub(crate) struct Subscriber {
    hub: Hub,
    /// Keeps the subscriber registered with the Broadcaster until it is dropped.
    _permit: Permit,
    state: watch::Receiver<HubState>,
    framing: Framing,
    selection: Arc<Selection>,
    /// When the stream must end, and when to warn the client of that. `None`: no time limit. Boxed, because
    /// few streams have one.
    expiry: Option<Box<Expiry>>,
    position: Position,
    /// If presence events (events about active subscriptions) before this position are missing, no gap is
    /// sent: one was already sent, or the archive was read instead. `u64::MAX` if the subscriber cannot
    /// receive presence events.
    presence: u64,
    /// The cursor in the archive, the whole log in Redis. `None` while the subscriber reads from memory.
    archive_cursor: Option<ArchiveCursor>,
    snapshot: Snapshot,
    poll: Poll,
    /// Set when the subscriber becomes live, at the head. Cleared when it falls behind, or when it next
    /// receives events: these were new, so reading them does not count as catching up.
    was_live: bool,
    /// Whether the subscriber has read events that it missed, since it was last live or since its stream
    /// began. If so, the metrics count a catch-up when it becomes live.
    is_catching_up: bool,
    /// Bytes to send before those of the next read: the response head and the greeting, or a batch that was
    /// too large to join with them.
    opening: Option<Bytes>,
    /// When the subscriber began to wait after it was last sent something. A heartbeat is due one interval
    /// later. `None`: it has not waited since then.
    quiet_since: Option<Instant>,
}

/// Whether a stream ends instead of waiting for the next event (`poll=1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poll {
    Off,
    /// The stream ends when the events before this position have been read. It is the head at the start of the
    /// stream, so that the stream ends even if events are published faster than the client reads them.
    Until(u64),
    /// The stream has ended.
    Ended,
}

/// What is needed to create a [`Subscriber`].
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) permit: Permit,
    pub(crate) selection: Arc<Selection>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) start: ResumePoint<Cursor>,
    pub(crate) snapshot: Snapshot,
    pub(crate) poll: Poll,
}

/// What the transport must do next for a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send these bytes. They are never empty, and may be longer than [`BATCH_BYTES`].
    Bytes(Bytes),
    /// There is nothing to send yet, but there may be more to read. Let other tasks run, then call
    /// [`Subscriber::next`] again.
    Nothing,
    /// Call [`Subscriber::fetch`], because the subscriber reads from the archive.
    Archive,
    /// The cursor is at the head. Wait with `FanOut::live` or [`Subscriber::wait`] until there is something
    /// to do, then call [`Subscriber::next`] again.
    Wait,
    /// Send these bytes, then end the stream.
    End(Bytes),
}

impl Subscriber {
    pub(crate) fn new(hub: Hub, subscription: Subscription, framing: Framing) -> Self {
        let Subscription {
            permit,
            selection,
            expiry,
            start,
            snapshot,
            poll,
        } = subscription;
        let ResumePoint {
            cursor,
            is_announced,
            gap,
        } = start;
        let (cursor, archive_cursor) = match cursor {
            Cursor::Memory(cursor) => (cursor, None),
            Cursor::Archive(after) => (hub.log().extent().oldest, Some(ArchiveCursor::new(after))),
        };
        if let Some(gap) = &gap {
            hub.metrics().count_gap(gap.reason);
        }
        let presence = if selection.may_select_presence() {
            0
        } else {
            u64::MAX
        };
        let last_id = last_id(&hub, cursor, archive_cursor.as_ref()).filter(|_| !is_announced);
        let greeting = wire::greeting(hub.jittered_retry(), last_id, gap.as_ref());
        Self {
            state: hub.state(),
            hub,
            _permit: permit,
            framing,
            selection,
            expiry: expiry.map(Box::new),
            position: Position::announced_at(cursor),
            presence,
            archive_cursor,
            snapshot,
            poll,
            was_live: false,
            is_catching_up: false,
            opening: Some(greeting.bytes(framing)),
            quiet_since: None,
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Which events the subscriber receives.
    pub(crate) fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    /// Records that the fan-out no longer writes to this subscriber. It must read the log from `position` on.
    pub(crate) fn fell_behind(&mut self, position: Position) {
        self.position = position;
        self.was_live = false;
    }

    /// Why the server ends the stream, after [`Next::End`].
    pub(crate) fn close_reason(&self) -> Close {
        let is_over = self.end().is_some_and(|end| end <= Instant::now());
        match self.poll {
            Poll::Ended => Close::Polled,
            _ if is_over => Close::Expired,
            _ => Close::Drained,
        }
    }

    /// The deadline of the stream; `None` if it has no time limit.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.expiry.as_ref().map(|expiry| expiry.end())
    }

    /// When [`Self::next`] must be called at the latest, even without new events: to warn the client that its
    /// token expires, or to end the stream. `None` if there is no such time.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.expiry.as_ref().map(|expiry| expiry.due())
    }

    /// Counts bytes that the client's socket accepted.
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.hub.metrics().sent_bytes.inc_by(bytes as u64);
    }

    /// Counts the end of the stream in the metrics, by reason.
    pub(crate) fn count_close(&self, reason: Close) {
        self.hub.metrics().count_close(reason);
    }

    /// Puts `bytes`, such as the response head, before everything that [`Self::next`] returns.
    pub(crate) fn begin_with(&mut self, bytes: Bytes) {
        self.opening = Some(match self.opening.take() {
            Some(opening) => join(&bytes, &opening),
            None => bytes,
        });
    }

    /// Returns what the transport must do next, and moves the cursor past the events that were read or are
    /// missing.
    pub(crate) fn next(&mut self) -> Next {
        let next = self.read();
        if self.opening.is_some() || matches!(next, Next::Bytes(_)) {
            self.quiet_since = None;
        }
        let Some(opening) = self.opening.take() else {
            return next;
        };
        // Join the opening and the first batch, so that one system call sends both, unless that would copy
        // too many bytes.
        match next {
            Next::Nothing | Next::Wait | Next::Archive => Next::Bytes(opening),
            Next::Bytes(bytes) if opening.len() + bytes.len() > 2 * BATCH_BYTES => {
                self.opening = Some(bytes);
                Next::Bytes(opening)
            }
            Next::Bytes(bytes) => Next::Bytes(join(&opening, &bytes)),
            Next::End(bytes) => Next::End(join(&opening, &bytes)),
        }
    }

    /// Returns what the transport must do next, without regard to `opening`. In this order: end the stream if
    /// its time is over, warn that the token expires soon, read the archive, send the next batch from memory.
    fn read(&mut self) -> Next {
        if let Some(expiry) = &mut self.expiry {
            let now = Instant::now();
            if expiry.is_over(now) {
                return self.end_stream();
            }
            if let Some(notice) = expiry.notice(now) {
                return Next::Bytes(notice.bytes(self.framing));
            }
        }
        // Check for a drain before reading the log. If the server is draining, the read then finds every
        // event that was appended before the drain, so the subscriber receives all of them.
        let draining = self.state.borrow_and_update().draining;
        match self.snapshot {
            // During a drain, end the stream instead of reading more of a snapshot or of the archive. The
            // client can resume at another server.
            Snapshot::Reading(_) if draining => self.end_stream(),
            Snapshot::Reading(cursor) => self.read_values(cursor),
            _ if self.has_polled() => self.end_poll(),
            _ if self.archive_cursor.is_none() => self.read_memory(draining),
            _ if draining => self.end_stream(),
            _ => Next::Archive,
        }
    }

    /// Returns the next batch from memory. If events are missing in memory, switches to the archive or
    /// returns a gap. At the head, returns [`Next::Wait`], or the end of the stream if the server is
    /// draining.
    fn read_memory(&mut self, draining: bool) -> Next {
        let cursor = self.position.cursor;
        let mut batch = Batch::new(self.framing);
        let (mut taken, mut announced) = (0, cursor);
        let portion = Portion {
            bytes: BATCH_BYTES,
            topics: self.topics_at_a_time(),
        };
        // Successive events often have the same audience (topics, and whether the event is private), for
        // example the ticker's messages. Keep the last result, so that an audience is not matched again for
        // the next event.
        let mut same: Option<(*const Audience, bool)> = None;
        let from = ReadFrom {
            cursor,
            presence: self.presence,
        };
        let read = self.hub.log().read(from, portion, |entry| {
            let audience = Arc::as_ptr(&entry.audience);
            let is_for_it = match same {
                Some((before, is_for_it)) if before == audience => is_for_it,
                _ => self.selection.selects(&entry.audience),
            };
            same = Some((audience, is_for_it));
            if is_for_it {
                let Audience { topics, private } = &*entry.audience;
                push_event(
                    &mut batch,
                    &entry.frame,
                    (topics, *private),
                    &self.selection,
                );
                taken += 1;
                announced = entry.position + 1;
            }
            is_for_it
        });
        match read {
            Read::Events { end } => {
                self.position.cursor = end;
                if taken == 0 {
                    return Next::Nothing;
                }
                self.position.announced = announced;
                self.is_catching_up |= !std::mem::take(&mut self.was_live);
                self.hub.metrics().deliveries.inc_by(taken);
                Next::Bytes(batch.finish())
            }
            Read::Evicted { .. } if self.switch_to_archive() => Next::Nothing,
            Read::Evicted { oldest } => self.skip_to(oldest),
            Read::PresenceEvicted { before } => {
                self.presence = before;
                if self.switch_to_archive() {
                    Next::Nothing
                } else {
                    self.presence_gap()
                }
            }
            Read::Missing => self.skip_to(cursor + 1),
            Read::Head if draining => self.end_stream(),
            Read::Head => Next::Wait,
        }
    }

    /// Whether the client polls, and has been sent everything up to the head at the start of its stream.
    fn has_polled(&self) -> bool {
        let Poll::Until(head) = self.poll else {
            return false;
        };
        match &self.archive_cursor {
            None => self.position.cursor >= head,
            Some(cursor) => {
                let last_id = self.hub.log().id_before(head);
                last_id.is_some_and(|last| cursor.after().is_some_and(|after| after >= last))
            }
        }
    }

    fn end_poll(&mut self) -> Next {
        self.poll = Poll::Ended;
        let (cursor, archive_cursor) = (self.position.cursor, self.archive_cursor.as_ref());
        let last_id = last_id(&self.hub, cursor, archive_cursor);
        Next::End(wire::end_of_poll(last_id).bytes(self.framing))
    }

    /// A read ends when it has matched this many topics: 1, plus [`MATCH_BUDGET`] divided by the cost to
    /// match one topic. The topics of the last event can exceed the number.
    fn topics_at_a_time(&self) -> usize {
        1 + MATCH_BUDGET / self.selection.match_cost().max(1)
    }

    fn end_stream(&self) -> Next {
        // During a snapshot, the client keeps the id of the last value that it has received.
        let is_known = !self.snapshot.is_reading();
        let last_id = last_id(
            &self.hub,
            self.position.cursor,
            self.archive_cursor.as_ref(),
        );
        let last_id = last_id.filter(|_| is_known);
        let goodbye = wire::goodbye(self.hub.jittered_retry(), last_id);
        Next::End(goodbye.bytes(self.framing))
    }

    /// Counts the subscriber as live in the metrics until the returned guard is dropped. If it was catching
    /// up, also counts one catch-up. Call this after [`Next::Wait`], when the cursor is at the head.
    pub(crate) fn live(&mut self) -> GaugeGuard {
        self.was_live = true;
        if std::mem::take(&mut self.is_catching_up) {
            self.hub.metrics().catch_ups.inc();
        }
        self.hub.metrics().mark_live()
    }
}

/// The id after which the client would resume: that of the archive cursor, or else that of the event before
/// `cursor` in memory. `None`: neither id is known.
fn last_id(hub: &Hub, cursor: u64, archive_cursor: Option<&ArchiveCursor>) -> Option<EventId> {
    let archive_cursor = archive_cursor.and_then(ArchiveCursor::after);
    archive_cursor.or_else(|| hub.log().id_before(cursor))
}

fn join(first: &Bytes, second: &Bytes) -> Bytes {
    [&**first, &**second].concat().into()
}
