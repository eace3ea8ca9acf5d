//! The log in memory. Subscribers of every log kind read events from it. It is bounded by its [`Retention`]
//! and lost when the process ends. A read-write lock serializes appends and lets subscribers read in
//! parallel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;

mod resuming;
mod times;
mod values;

use super::{
    given_ids::GivenUse,
    lane::{Bounds, Lane},
    read::{Entry, Extent, Portion, Read, ReadFrom, Retention},
    retained::Retained,
    stored_value::LoadedValues,
};
use crate::event::{Audience, Event, EventId, Frame, GivenId, Hash128, Topic, content_hash, wire};

/// Approximate memory of an entry without its content, in bytes: the struct itself, and the overhead of the
/// allocator and of reference counts. The content is the encoded event, its topics, its name, and the id that
/// its publisher chose.
const ENTRY_BYTES: usize = 192;

/// An event log in memory.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    retention: Retention,
    /// Half of the limits for the number, memory and age of events. The newest events that fit into it (the
    /// newer half of the history) will not be evicted soon.
    half: Bounds,
    /// The audience of events without a topic: everybody who selects the log's own topic. Such events are
    /// public.
    own: Arc<Audience>,
    retained: RwLock<Retained>,
    /// The number of the ticker's next message, starting at 0. Not maintained for a log in Redis, which
    /// counts these messages itself.
    ticks: AtomicU64,
}

impl MemoryLog {
    /// Creates an empty log. `epoch`, the first number of each event id, is the log's creation time in
    /// milliseconds since 1970. It must be greater than every epoch that clients have seen, so that no id is
    /// assigned twice. Events without a topic are on `topic`.
    pub(crate) fn new(epoch: u64, retention: Retention, topic: Topic) -> Self {
        Self::starting_at(EventId { epoch, seq: 1 }, retention, topic)
    }

    /// Creates an empty log whose first event will have the id `first`. The position of this event is the
    /// `seq` of its id, but at most half of `u64::MAX`, so that counting up cannot overflow. Events without a
    /// topic are on `topic`.
    pub(crate) fn starting_at(first: EventId, retention: Retention, topic: Topic) -> Self {
        Self::starting_at_position(first.seq.min(u64::MAX / 2), first, retention, topic)
    }

    /// Creates an empty log whose first event will have the id `first` and this position.
    pub(super) fn starting_at_position(
        position: u64,
        first: EventId,
        retention: Retention,
        topic: Topic,
    ) -> Self {
        Self {
            retention,
            half: retention.bounds().halved(),
            own: Arc::new(Audience {
                topics: vec![topic],
                private: false,
            }),
            retained: RwLock::new(Retained::starting_at(position, first, retention.values)),
            ticks: AtomicU64::new(0),
        }
    }

    /// The number of the ticker's next message, starting at 0. Always 0 for a log in Redis, which counts
    /// these messages itself.
    pub(crate) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Acquire)
    }

    pub(super) fn set_ticks(&self, ticks: u64) {
        self.ticks.store(ticks, Ordering::Release);
    }

    /// Applies the limits of the log in Redis, `events` and `age`, to the newer half of the history (the
    /// events that will not be evicted soon). For each limit, half of the lower value applies: that of Redis
    /// or that of memory.
    pub(super) fn with_archive_bounds(mut self, events: usize, age: Option<Duration>) -> Self {
        let Bounds {
            events: own_events,
            bytes,
            age: own_age,
        } = self.retention.bounds();
        let bounds = Bounds {
            events: own_events.min(events),
            bytes,
            age: own_age.into_iter().chain(age).min(),
        };
        self.half = bounds.halved();
        self
    }

    /// The current epoch: the first number in the id of the next event.
    pub(crate) fn epoch(&self) -> u64 {
        self.retained.read().epoch_history.epoch()
    }

    /// Sets the id of the next event to `first`. The ids of later events count up from `first`.
    pub(crate) fn begin_span(&self, first: EventId) {
        let mut retained = self.retained.write();
        let next = retained.next;
        retained.epoch_history.begin_span(next, first, true);
    }

    /// Like [`Self::begin_span`], but events before `first` may be missing. The next position then becomes a
    /// hole, an entry without an event, unless the newest entry already is a hole. A subscriber that reads a
    /// hole receives a gap. `values` replace the current values of topics; `None`: the values may be outdated.
    pub(super) fn begin_span_after_hole(&self, first: EventId, values: Option<&LoadedValues>) {
        let mut retained = self.retained.write();
        let retained = &mut *retained;
        let next = retained.next;
        let newest = retained.events.newest();
        let is_at_hole = newest.is_some_and(|entry| entry.is_hole() && entry.position + 1 == next);
        if !is_at_hole {
            let hole = Entry {
                position: next,
                frame: Frame::default(),
                appended: Instant::now(),
                audience: self.own.clone(),
                bytes: ENTRY_BYTES,
            };
            retained.push(hole, false);
            retained.unknown_audience_before = retained.next;
        }
        let next = retained.next;
        retained.epoch_history.begin_span(next, first, false);
        match values {
            Some(values) => self.replace_values(retained, values, next, first),
            None => retained.values.set_uncertain_before(next),
        }
    }

    /// Advances the position of the next event to `next`. The skipped positions belong to presence events
    /// (events about active subscriptions) that the file or Redis has evicted. Also removes all presence
    /// events from memory: they are older than the skipped ones, so the file or Redis has evicted them too.
    /// Does nothing if `next` is not ahead. `before`: the skipped events were appended before this time.
    pub(crate) fn skip_presence_until(&self, next: u64, before: Instant) {
        let mut retained = self.retained.write();
        if next <= retained.next {
            return;
        }
        retained.next = next;
        retained.presence = Lane::starting_at(next);
        retained.presence_evicted_at = Some(before);
        retained.unknown_audience_before = next;
    }

    /// Encodes an event, appends it, and evicts the oldest events if the log exceeds its bounds. Returns the
    /// id of the appended event. The age of the event is measured from `now`.
    pub(crate) fn append(&self, event: &Event, now: Instant) -> EventId {
        self.append_to(&mut self.retained.write(), event, now)
    }

    /// Encodes events, appends them in order, and evicts the oldest events if the log exceeds its bounds.
    /// Returns the ids of the appended events. The age of each event is measured from its `Instant`.
    pub(crate) fn append_all<'a>(
        &self,
        events: impl IntoIterator<Item = (&'a Event, Instant)>,
    ) -> Vec<EventId> {
        let mut retained = self.retained.write();
        let append = |(event, appended)| self.append_to(&mut retained, event, appended);
        events.into_iter().map(append).collect()
    }

    /// The audience of an event: its topics, and whether it is private. An event without a topic is public
    /// and on the log's own topic.
    pub(crate) fn audience(&self, event: &Event) -> Arc<Audience> {
        let audience = event.audience.clone().map(Arc::new);
        audience.unwrap_or_else(|| self.own.clone())
    }

    fn append_to(&self, retained: &mut Retained, event: &Event, now: Instant) -> EventId {
        // A clock that was set back must not make an event older than the one before it.
        let newest = retained.events.newest();
        let now = newest.map_or(now, |newest| newest.appended.max(now));
        let position = retained.next;
        let id = retained.epoch_history.id(position);
        let entry = self.entry(position, id, event, now);
        if let Some(given) = event.given_id() {
            retained
                .given
                .add(given.clone(), position, content_hash(event));
        }
        if event.audience.is_some() && !event.is_presence() {
            retained.values.update(&entry, event, id);
        }
        retained.push(entry, event.is_presence());
        retained.evict_beyond(self.retention, &self.own, now);
        id
    }

    /// Encodes an event that has this position and id, and was appended at this time.
    fn entry(&self, position: u64, id: EventId, event: &Event, appended: Instant) -> Entry {
        let frame = wire::event(id, event);
        Entry {
            position,
            bytes: ENTRY_BYTES + frame.len() + event.bytes_beside_data(),
            frame,
            appended,
            audience: self.audience(event),
        }
    }

    /// The position that the next appended event will have.
    pub(crate) fn next(&self) -> u64 {
        self.retained.read().next
    }

    /// Whether a retained event has this id, which its publisher chose, and whether its content is the same.
    pub(super) fn given_use(&self, id: &GivenId, content: Hash128) -> GivenUse {
        let retained = self.retained.read();
        match retained.given.with_content(id, content) {
            (_, Some(position)) => GivenUse::Same(retained.epoch_history.id(position)),
            (true, None) => GivenUse::Other,
            (false, None) => GivenUse::New,
        }
    }

    /// Positions, memory and age of the log in memory at this moment.
    pub(crate) fn extent(&self) -> Extent {
        let retained = self.retained.read();
        Extent {
            oldest: retained.oldest(),
            next: retained.next,
            events: retained.events.retained() + retained.presence.retained(),
            bytes: retained.bytes(),
            values: retained.values.extent(),
            since: retained
                .events
                .oldest_retained()
                .map(|entry| entry.appended),
        }
    }

    /// The position from which on all presence events (events about active subscriptions) are retained.
    pub(crate) fn oldest_presence(&self) -> u64 {
        self.retained.read().presence.first_retained()
    }

    /// The bounds of this log in memory.
    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    /// The id of the event at this position.
    pub(crate) fn id(&self, position: u64) -> EventId {
        self.retained.read().epoch_history.id(position)
    }

    /// The id right before this position: the last event id of a subscriber whose cursor is at this position.
    /// There need not be an event with this id: before the first event of a log, the number in the id is
    /// usually 0. `None` if no lower number exists, or if the id was forgotten.
    pub(crate) fn id_before(&self, position: u64) -> Option<EventId> {
        self.retained.read().epoch_history.id_before(position)
    }

    /// The position from which on no event will be evicted soon: where the newer half of the history begins.
    pub(crate) fn newer_half(&self, now: Instant) -> u64 {
        let mut retained = self.retained.write();
        retained.newer_half(self.half, self.retention.presence, now)
    }

    /// Reads events from a cursor until the head, a hole, or a limit of `portion`. Calls `accept` with each
    /// event. If it returns false, the event does not count towards `portion.bytes`. Keep `accept` quick:
    /// appends wait meanwhile.
    pub(crate) fn read(
        &self,
        from: ReadFrom,
        portion: Portion,
        mut accept: impl FnMut(&Entry) -> bool,
    ) -> Read {
        let retained = self.retained.read();
        let ReadFrom { cursor, presence } = from;
        if cursor >= retained.next {
            return Read::Head;
        }
        let oldest = retained.events.first_held();
        if cursor < oldest {
            return Read::Evicted { oldest };
        }
        if retained.is_hole(cursor) {
            return Read::Missing;
        }
        let before = retained.presence.first_held();
        if cursor < before && presence < before {
            return Read::PresenceEvicted { before };
        }
        let mut bytes = 0;
        let mut topics = 0;
        let mut events = retained.events.from(cursor).peekable();
        let mut of_presence = retained.presence.from(cursor).peekable();
        loop {
            let is_presence = match (events.peek(), of_presence.peek()) {
                (Some(event), Some(presence)) => presence.position < event.position,
                (event, _) => event.is_none(),
            };
            let next = if is_presence {
                of_presence.next()
            } else {
                events.next()
            };
            let Some(entry) = next else {
                // No entry is left, so the next read continues at the head. The head may be several positions
                // after the last entry, because evicted presence events leave none.
                return Read::Events { end: retained.next };
            };
            let is_too_much = bytes > 0 && bytes + entry.frame.len() > portion.bytes;
            if is_too_much || topics >= portion.topics || entry.is_hole() {
                return Read::Events {
                    end: entry.position,
                };
            }
            topics += entry.audience.topics.len();
            if accept(entry) {
                bytes += entry.frame.len();
            }
        }
    }
}
