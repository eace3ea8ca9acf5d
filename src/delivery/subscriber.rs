//! Decides what a subscriber is sent next, from its cursor in the log.
//!
//! It does no socket I/O: the transport asks for the next bytes and writes them. If the socket is slow, the
//! transport only asks later.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::watch;

mod fetching;
mod waiting;

use super::{archive_cursor::ArchiveCursor, position::Position};
use crate::{
    broadcaster::{Expiry, Hub, HubState, Permit},
    event::{Audience, Batch, EventId, Framing, wire},
    event_log::{Cursor, Portion, Read, ReadFrom, ResumePoint},
    matching::Selection,
    metrics::{Close, GaugeGuard},
};

/// Maximum bytes of events in one read from the log, except that a larger event is read whole. The bytes stay
/// in memory until the client's socket accepts them.
pub(crate) const BATCH_BYTES: usize = 4096;

/// Limit on the work of matching topics in one read from the log, counted in matches of a simple matcher.
/// Such a match takes up to a microsecond, and no event can be appended to the log in memory during a read.
/// At the limit, the read ends, and the next read continues.
const MATCH_BUDGET: usize = 256;

/// One subscriber: its selection (the events that it receives) and its cursor in the log, before which every
/// event of the selection was sent.
#[derive(Debug)]
pub(crate) struct Subscriber {
    hub: Hub,
    /// Keeps the subscriber registered with the Broadcaster until it is dropped.
    _permit: Permit,
    state: watch::Receiver<HubState>,
    framing: Framing,
    selection: Arc<Selection>,
    /// When the stream must end; `None` if it has no time limit. Boxed, because few streams have a time
    /// limit.
    expiry: Option<Box<Expiry>>,
    position: Position,
    /// Missing presence events (about active subscriptions) before this position cause no gap: a gap was
    /// already sent, or the archive was read instead. `u64::MAX` if the subscriber receives no presence
    /// events.
    presence: u64,
    /// The cursor in the archive. `None` while the subscriber reads from memory.
    archive_cursor: Option<ArchiveCursor>,
    /// Whether the subscriber was live, at the head, until just now. The events that it reads next are then
    /// new, so reading them does not count as catching up.
    was_live: bool,
    /// Whether the subscriber has read old events since it was last live. If so, the metrics count a catch-up
    /// when it becomes live.
    is_catching_up: bool,
    /// Bytes that must be sent before anything else.
    opening: Option<Bytes>,
    /// When the subscriber began to wait after it was last sent something. A heartbeat is due one interval
    /// later.
    quiet_since: Option<Instant>,
}

/// What is needed to create a [`Subscriber`].
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) permit: Permit,
    pub(crate) selection: Arc<Selection>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) start: ResumePoint<Cursor>,
}

/// What the transport must do next for a subscriber.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send these bytes. They are never empty, and may be longer than [`BATCH_BYTES`].
    Bytes(Bytes),
    /// There is nothing to send yet, but there is more to read. Let other tasks run, then call
    /// [`Subscriber::next`] again.
    Nothing,
    /// Call [`Subscriber::fetch`], because the next events are in the archive.
    Archive,
    /// The cursor is at the head. Wait until there is another event or something is [due](Subscriber::due).
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

    /// Records that the subscriber is no longer live: the fan-out has sent it every event before `position`,
    /// and it must read the log from there.
    pub(crate) fn fell_behind(&mut self, position: Position) {
        self.position = position;
        self.was_live = false;
    }

    /// Whether the time limit of the stream has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.end().is_some_and(|end| end <= Instant::now())
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

    /// Sends `bytes`, for example the response head, before everything else.
    pub(crate) fn begin_with(&mut self, bytes: Bytes) {
        self.opening = Some(match self.opening.take() {
            Some(opening) => join(&bytes, &opening),
            None => bytes,
        });
    }

    /// Decides what the transport must do next, and moves the cursor past the events that it returns.
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

    /// Reads the next batch from memory. It reads nothing if the stream must end, if its expiry warning is
    /// due, or if the next events are in the archive.
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
        if self.archive_cursor.is_some() {
            // During a drain, end the stream instead of reading the rest of the archive. The client resumes
            // at another server.
            return if draining {
                self.end_stream()
            } else {
                Next::Archive
            };
        }
        self.read_memory(draining)
    }

    /// Reads the next batch from memory. At the head, the stream ends if the server drains.
    fn read_memory(&mut self, draining: bool) -> Next {
        let cursor = self.position.cursor;
        let mut batch = Batch::new(self.framing);
        let (mut taken, mut announced) = (0, cursor);
        let portion = Portion {
            bytes: BATCH_BYTES,
            topics: self.topics_at_a_time(),
        };
        // Successive events often have the same audience (topics, and whether the event is private), for
        // example numbered messages. Keep the last result, so that the same audience is matched only once.
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
                batch.push(&entry.frame);
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
                    self.skip_presence_gap()
                }
            }
            Read::Missing => self.skip_to(cursor + 1),
            Read::Head if draining => self.end_stream(),
            Read::Head => Next::Wait,
        }
    }

    /// How many topics one read may match: [`MATCH_BUDGET`] divided by the cost to match one topic, and
    /// always at least one.
    fn topics_at_a_time(&self) -> usize {
        1 + MATCH_BUDGET / self.selection.match_cost().max(1)
    }

    /// Moves the cursor to a later position, past missing events. Sends a gap, unless none of these events
    /// was for this subscriber.
    fn skip_to(&mut self, position: u64) -> Next {
        let lost = self.position.cursor..position;
        self.position.cursor = position;
        let Some(gap) = self.hub.log().gap(lost, &self.selection) else {
            return Next::Nothing;
        };
        self.position.announced = position;
        self.hub.metrics().count_gap(gap.reason);
        Next::Bytes(wire::gap(&gap).bytes(self.framing))
    }

    /// Continues in the archive, after the last event before the cursor. Returns `false` if there is no
    /// archive, or if the id of that event is unknown.
    fn switch_to_archive(&mut self) -> bool {
        let last = self.hub.log().id_before(self.position.cursor);
        let last = last.filter(|_| self.hub.archive().is_some());
        self.archive_cursor = last.map(|last| ArchiveCursor::new(Some(last.into())));
        self.archive_cursor.is_some()
    }

    /// Sends a gap, because presence events after the cursor were evicted.
    fn skip_presence_gap(&mut self) -> Next {
        let gap = self.hub.log().gap_of_presence(self.position.cursor);
        self.position.announced = self.position.cursor;
        self.hub.metrics().count_gap(gap.reason);
        Next::Bytes(wire::gap(&gap).bytes(self.framing))
    }

    fn end_stream(&self) -> Next {
        let last_id = last_id(
            &self.hub,
            self.position.cursor,
            self.archive_cursor.as_ref(),
        );
        let goodbye = wire::goodbye(self.hub.jittered_retry(), last_id);
        Next::End(goodbye.bytes(self.framing))
    }

    /// Counts the subscriber as live in the metrics until the returned guard is dropped. Call this after
    /// [`Next::Wait`], when the cursor is at the head.
    pub(crate) fn live(&mut self) -> GaugeGuard {
        self.was_live = true;
        if std::mem::take(&mut self.is_catching_up) {
            self.hub.metrics().catch_ups.inc();
        }
        self.hub.metrics().mark_live()
    }
}

/// The id that the client should have as its last event id: that of the archive cursor if there is one,
/// otherwise that of the event before `cursor`.
fn last_id(hub: &Hub, cursor: u64, archive_cursor: Option<&ArchiveCursor>) -> Option<EventId> {
    let archive_cursor = archive_cursor.and_then(ArchiveCursor::after);
    archive_cursor.or_else(|| hub.log().id_before(cursor))
}

fn join(first: &Bytes, second: &Bytes) -> Bytes {
    [&**first, &**second].concat().into()
}
