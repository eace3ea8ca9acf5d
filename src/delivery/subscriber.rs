//! A subscriber's place in the log, and what it is to be sent next. How the bytes get to it is for
//! others to know.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::watch, time::timeout};

mod fetching;

use super::{older::Older, place::Place};
use crate::{
    broadcaster::{BroadcasterGone, Expiry, Hub, HubState, Permit},
    event::{Audience, Batch, EventId, Frame, Framing, wire},
    event_log::{Cursor, Portion, Read, ReadFrom, ResumePoint},
    matching::Selection,
    metrics::{Close, Mark},
};

/// How much is read from the log at a time, in bytes; a larger event is read whole. It waits in
/// memory for as long as the client does not take it.
pub(crate) const BATCH_BYTES: usize = 4096;

/// How often a simple matcher is tried at a time, to find the events that are for the subscriber. The
/// log takes in no others meanwhile, and one takes up to a microsecond.
const TRIES: usize = 256;

/// A cursor in the log: every event of its selection before it was sent.
#[derive(Debug)]
pub(crate) struct Subscriber {
    hub: Hub,
    /// Given back when the subscriber is dropped.
    _permit: Permit,
    state: watch::Receiver<HubState>,
    framing: Framing,
    selection: Arc<Selection>,
    /// Present if it may go on only for some time. On the heap: few have it.
    expiry: Option<Box<Expiry>>,
    place: Place,
    /// Missing presence events before this place are not reported: the subscriber was told, or does not want
    /// them.
    presence: u64,
    /// Present while what it needs next is not in memory any more.
    older: Option<Older>,
    /// Whether it was live until now, so that the next it reads is what has just come.
    was_live: bool,
    /// Whether it read events that others had before, and was not live since.
    behind: bool,
    /// What is to be sent before anything else.
    opening: Option<Bytes>,
    /// Since when it waits without having been sent anything.
    quiet_since: Option<Instant>,
}

/// What a subscriber is made of.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) permit: Permit,
    pub(crate) selection: Arc<Selection>,
    pub(crate) expiry: Option<Expiry>,
    pub(crate) start: ResumePoint<Cursor>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Bytes to send: never empty, of any length.
    Bytes(Bytes),
    /// Nothing yet: there is more to look at.
    Nothing,
    /// Something that is to be [fetched](Subscriber::fetch).
    Older,
    /// Nothing, until there is another event, or something is [due](Subscriber::due).
    Wait,
    /// The stream is to end, after these bytes.
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
        let (cursor, older) = match cursor {
            Cursor::Memory(cursor) => (cursor, None),
            Cursor::Archive(after) => (hub.log.extent().oldest, Some(Older::new(after))),
        };
        if let Some(gap) = &gap {
            hub.metrics.count_gap(gap.reason);
        }
        let presence = if selection.may_select_presence() {
            0
        } else {
            u64::MAX
        };
        let last_id = last_id(&hub, cursor, older.as_ref()).filter(|_| !is_announced);
        let greeting = wire::greeting(hub.jittered_retry(), last_id, gap.as_ref());
        Self {
            state: hub.state(),
            hub,
            _permit: permit,
            framing,
            selection,
            expiry: expiry.map(Box::new),
            place: Place::announced_at(cursor),
            presence,
            older,
            was_live: false,
            behind: false,
            opening: Some(greeting.bytes(framing)),
            quiet_since: None,
        }
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What it gets.
    pub(crate) fn selection(&self) -> &Arc<Selection> {
        &self.selection
    }

    /// Says that somebody else sent it everything up to this place, and goes on no more.
    pub(crate) fn fell_behind(&mut self, place: Place) {
        self.place = place;
        self.was_live = false;
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.end().is_some_and(|end| end <= Instant::now())
    }

    /// When it is to end at the latest.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.expiry.as_ref().map(|expiry| expiry.end())
    }

    /// When it is to be told something, whatever comes until then.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.expiry.as_ref().map(|expiry| expiry.due())
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
        if self.opening.is_some() || matches!(next, Next::Bytes(_)) {
            self.quiet_since = None;
        }
        let Some(opening) = self.opening.take() else {
            return next;
        };
        // Sent together, at one system call, unless that means to copy much.
        match next {
            Next::Nothing | Next::Wait | Next::Older => Next::Bytes(opening),
            Next::Bytes(bytes) if opening.len() + bytes.len() > 2 * BATCH_BYTES => {
                self.opening = Some(bytes);
                Next::Bytes(opening)
            }
            Next::Bytes(bytes) => Next::Bytes(join(&opening, &bytes)),
            Next::End(bytes) => Next::End(join(&opening, &bytes)),
        }
    }

    /// Reads on in the log, unless its time has come.
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
        // Asked before the log is: whatever was appended before the drain is in it by then.
        let draining = self.state.borrow_and_update().draining;
        if self.older.is_some() {
            // It resumes elsewhere.
            return if draining {
                self.end_stream()
            } else {
                Next::Older
            };
        }
        let cursor = self.place.cursor;
        let mut batch = Batch::new(self.framing);
        let (mut taken, mut announced) = (0, cursor);
        let portion = Portion {
            bytes: BATCH_BYTES,
            topics: self.topics_at_a_time(),
        };
        // Many events in a row are on the same topics, above all those of the ticker.
        let mut same: Option<(*const Audience, bool)> = None;
        let from = ReadFrom {
            cursor,
            presence: self.presence,
        };
        let read = self.hub.log.read(from, portion, |entry| {
            let audience = Arc::as_ptr(&entry.audience);
            let is_for_it = match same {
                Some((before, is_for_it)) if before == audience => is_for_it,
                _ => self.selection.selects(&entry.audience),
            };
            same = Some((audience, is_for_it));
            if is_for_it {
                batch.push(&entry.frame);
                taken += 1;
                announced = entry.place + 1;
            }
            is_for_it
        });
        match read {
            Read::Events { end } => {
                self.place.cursor = end;
                if taken == 0 {
                    return Next::Nothing;
                }
                self.place.announced = announced;
                self.behind |= !std::mem::take(&mut self.was_live);
                self.hub.metrics.deliveries.inc_by(taken);
                Next::Bytes(batch.finish())
            }
            Read::Evicted { oldest } => {
                if self.goes_on_in_archive() {
                    Next::Nothing
                } else {
                    self.skip_to(oldest)
                }
            }
            Read::PresenceEvicted { before } => {
                self.presence = before;
                if self.goes_on_in_archive() {
                    Next::Nothing
                } else {
                    self.misses_presence()
                }
            }
            Read::Missing => self.skip_to(cursor + 1),
            Read::Head if draining => self.end_stream(),
            Read::Head => Next::Wait,
        }
    }

    /// How many topics of events it looks at before others have their turn.
    fn topics_at_a_time(&self) -> usize {
        1 + TRIES / self.selection.match_cost().max(1)
    }

    /// Goes on at a later place, and tells it what it missed.
    fn skip_to(&mut self, place: u64) -> Next {
        let lost = self.place.cursor..place;
        self.place.cursor = place;
        let Some(gap) = self.hub.log.gap(lost, &self.selection) else {
            return Next::Nothing;
        };
        self.place.announced = place;
        self.hub.metrics.count_gap(gap.reason);
        Next::Bytes(wire::gap(&gap).bytes(self.framing))
    }

    /// Has it read the archive from here on, if there is one.
    fn goes_on_in_archive(&mut self) -> bool {
        let last = self.hub.log.id_before(self.place.cursor);
        let last = last.filter(|_| self.hub.archive.is_some());
        self.older = last.map(|last| Older::new(Some(last.into())));
        self.older.is_some()
    }

    /// Reports that presence events are missing from here on.
    fn misses_presence(&mut self) -> Next {
        let gap = self.hub.log.gap_of_presence(self.place.cursor);
        self.place.announced = self.place.cursor;
        self.hub.metrics.count_gap(gap.reason);
        Next::Bytes(wire::gap(&gap).bytes(self.framing))
    }

    fn end_stream(&self) -> Next {
        let last_id = last_id(&self.hub, self.place.cursor, self.older.as_ref());
        let goodbye = wire::goodbye(self.hub.jittered_retry(), last_id);
        Next::End(goodbye.bytes(self.framing))
    }

    /// Counts it among the live for as long as the mark is kept: after [`Next::Wait`].
    pub(crate) fn live(&mut self) -> Mark {
        self.was_live = true;
        if std::mem::take(&mut self.behind) {
            self.hub.metrics.catch_ups.inc();
        }
        self.hub.metrics.mark_live()
    }

    /// Waits, after [`Next::Wait`], until there may be more. What it returns is to be sent then: if
    /// there was nothing for as long as the heartbeat, a sign of life.
    pub(crate) async fn wait(&mut self) -> Result<Option<Bytes>, BroadcasterGone> {
        let _live = self.live();
        // Events that are not for it do not keep it from its sign of life.
        let until_heartbeat = self.until_heartbeat();
        if until_heartbeat.is_zero() {
            self.quiet_since = None;
            return Ok(Some(self.keep_alive().bytes(self.framing)));
        }
        let patience = self.patience(until_heartbeat);
        match timeout(patience, self.state.changed()).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(_)) => Err(BroadcasterGone),
            Err(_) => Ok(None),
        }
    }

    /// How long it may still be sent nothing.
    fn until_heartbeat(&mut self) -> Duration {
        let heartbeat = self.state.borrow().heartbeat;
        let quiet_since = *self.quiet_since.get_or_insert_with(Instant::now);
        heartbeat.saturating_sub(quiet_since.elapsed())
    }

    /// How long it may wait for something: so long at most, and until it is due to be told something.
    fn patience(&self, most: Duration) -> Duration {
        let until = |due: Instant| due.saturating_duration_since(Instant::now());
        self.due().map_or(most, |due| until(due).min(most))
    }

    /// A checkpoint, if the last id that it knows may soon be evicted, or else a comment.
    fn keep_alive(&mut self) -> Frame {
        let cursor = self.place.cursor;
        let log = &self.hub.log;
        let newer_half = log.newer_half(Instant::now());
        let is_at_risk = self.place.is_at_risk(cursor, newer_half);
        let id = log.id_before(cursor).filter(|_| is_at_risk);
        match id.filter(|_| self.state.borrow().checkpoints) {
            Some(id) => {
                self.place.announced = cursor;
                wire::checkpoint(id)
            }
            None => wire::heartbeat(),
        }
    }
}

/// The last event id to announce: that of the archive cursor, or else of the event before `cursor`.
fn last_id(hub: &Hub, cursor: u64, older: Option<&Older>) -> Option<EventId> {
    let older = older.and_then(Older::after);
    older.or_else(|| hub.log.id_before(cursor))
}

fn join(first: &Bytes, second: &Bytes) -> Bytes {
    [&**first, &**second].concat().into()
}
