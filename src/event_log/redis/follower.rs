//! Copies the stream in Redis into the memory of this node (one of the servers that share the log), in order.
//! Where events are missing in the stream, memory records it. Subscribers that read past that point receive a
//! gap event, unless it is certain that they want none of the missing events.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::time::sleep;

use super::{
    super::{
        appender::Listener,
        archive::{Item, Missing, Reached},
        memory::MemoryLog,
        once,
        read::Retention,
        stored_value::LoadedValues,
    },
    entry::{Entry, Foreign, entries, entries_of_only_stream},
    error::reason,
    link::Link,
    scripts::{HeartbeatResponse, MAX_EPOCH, ReadLimits},
    values::load_values,
};
use crate::event::{Event, EventId, GapReason, Topic};

/// How long an `XREAD` waits for a new entry before it returns without one, in milliseconds.
const BLOCK: usize = 1000;
/// Response timeout of the follower's connection. After it, the follower reconnects. It must exceed
/// [`BLOCK`], because `XREAD` may wait that long for a new entry.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause before a retry after a failed read or connection.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// After this many failures in a row, the last one is logged as an error, unless Redis cannot be written
/// either: that is already logged. All other failures are logged as debug.
const FAILURES_BEFORE_ERROR: u32 = 4;

/// Limits of one read by the follower. Entries beyond a limit are read by the next call.
const BATCH: ReadLimits = ReadLimits {
    bytes: 4 << 20,
    entries: 1000,
};

/// Maximum jump of `seq` that is treated as missing presence events (events about active subscriptions, which
/// are evicted separately). Only subscribers that want presence events then receive a gap. At a larger jump,
/// every subscriber receives one.
const MAX_SKIPPED: u64 = 1 << 40;

/// Number of positions in memory before that of the first event, for the current values of topics whose events
/// are no longer in memory. There are never so many.
const ROOM_FOR_VALUES: u64 = 1 << 32;

/// Maximum number of entries of one read at start-up, which reads from the newest entry back. It is small
/// because `XREVRANGE` cannot limit bytes, and an older entry may be much larger than a newer one.
const PAGE: usize = 32;

/// Loads the newest part of the log from Redis, as much as `retention` allows in memory. Also returns the
/// position of the last entry, after which the follower continues. Fails with the reason as text.
pub(super) async fn load(
    link: &Link,
    retention: Retention,
    topic: Topic,
    heartbeat: &HeartbeatResponse,
) -> Result<(MemoryLog, Reached), String> {
    let mut newest = Vec::new();
    let mut connection = link.connect(RESPONSE_TIMEOUT).await?;
    let (mut to, mut bytes, mut count) = ("+".to_owned(), 0, 1);
    while newest.len() < retention.events && bytes < retention.bytes {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(link.scripts.names().log()).arg(&to).arg("-");
        range.arg("COUNT").arg(count);
        let page = read(range.query_async(&mut connection), entries).await?;
        let (Some(oldest), Some(largest)) = (page.last(), page.iter().map(size).max()) else {
            break;
        };
        to = format!("({}", oldest.item.id().bare());
        bytes += page.iter().map(size).sum::<usize>();
        count = (BATCH.bytes / largest).clamp(1, (2 * count).min(PAGE));
        newest.extend(page);
    }
    newest.reverse();
    let before = newest.first().map(|entry| entry.item.before());
    let values = load_values(link, &mut connection).await;
    let mut values = values.map_err(|err| reason(&err))?;
    // If there are no entries, all events may have been evicted. So memory continues after the last id of the
    // log.
    let mut last = before.unwrap_or(heartbeat.last.into());
    let first = after(last.id);
    let position = ROOM_FOR_VALUES + first.seq.min(u64::MAX / 2);
    let memory = MemoryLog::starting_at_position(position, first, retention, topic);
    let memory = link.scripts.limit_newer_half(memory);
    // If the oldest entry is not an event (but the start of an epoch, or unreadable), its id is `last`. Drop
    // it, because memory already starts after `last`.
    newest.retain(|entry| entry.item.id() != last.id);
    note_ticks(link, &newest);
    let moment = Instant::now();
    take(&memory, &mut last, newest, None, |at| {
        let age = Duration::from_millis(heartbeat.now.saturating_sub(at));
        moment.checked_sub(age).unwrap_or(moment)
    });
    values.state.lost_until = values
        .state
        .lost_until
        .max(heartbeat.value_state.lost_until);
    memory.load_values(&values);
    // Catch up with the values, because some may be of newer events.
    loop {
        let from = format!("({}", last.id.bare());
        let call = link.scripts.read(&from, BATCH);
        let batch = read(call.invoke_async(&mut connection), entries).await?;
        if batch.is_empty() {
            return Ok((memory, last));
        }
        note_ticks(link, &batch);
        take(&memory, &mut last, batch, None, |_| moment);
    }
}

/// Updates the count of the ticker's messages in `link` if these entries contain newer ones.
fn note_ticks(link: &Link, entries: &[Entry]) {
    let newest = entries.iter().filter_map(|entry| entry.tick).max();
    let ticks = newest.map_or(0, |number| number.saturating_add(1));
    link.ticks.set(link.ticks.get().max(ticks));
}

/// The next id in the same epoch.
fn after(id: EventId) -> EventId {
    EventId {
        seq: id.seq.saturating_add(1),
        ..id
    }
}

/// Awaits a response of Redis and decodes it with `entries`. Fails with the reason as text.
async fn read(
    answer: impl Future<Output = Result<Value, RedisError>>,
    entries: impl FnOnce(Value) -> Result<Vec<Entry>, Foreign>,
) -> Result<Vec<Entry>, String> {
    let answer = answer.await.map_err(|err| reason(&err))?;
    entries(answer).map_err(|Foreign(what)| {
        format!("the data there was not written by a broadcaster ({what}): use another log.prefix")
    })
}

/// Approximate size of an entry in bytes.
fn size(entry: &Entry) -> usize {
    match &entry.item {
        Item::Event { event, .. } => 100 + event.bytes(),
        Item::Begins(..) | Item::Unreadable(_) => 100,
    }
}

/// What is missing before an entry of the stream.
enum MissingBefore {
    Nothing,
    /// This number of presence events.
    Presence(u64),
    /// Any events, for this reason.
    Events(GapReason),
}

impl MissingBefore {
    /// What is missing between the position `last` and this item.
    fn of(item: &Item, last: Reached) -> Self {
        // The last seq that may be missing before this entry. If the entry starts an epoch that continues
        // another one, this is a seq of that other epoch.
        let until = match item {
            Item::Begins(_, Some(after)) => after.id.seq,
            _ => item.before().id.seq,
        };
        let skipped = until.saturating_sub(last.id.seq);
        match item.missing_after(last) {
            None => Self::Nothing,
            Some(Missing::Presence) if skipped <= MAX_SKIPPED => Self::Presence(skipped),
            Some(Missing::Presence) => Self::Events(GapReason::Evicted),
            Some(Missing::Events(reason)) => Self::Events(reason),
        }
    }

    /// Why events are missing before the first of these entries before which some are. `None`: none is missing.
    fn reason(entries: &[Entry], mut last: Reached) -> Option<GapReason> {
        entries.iter().find_map(|Entry { item, .. }| {
            let missing = Self::of(item, last);
            last = item.reached();
            match missing {
                Self::Events(reason) => Some(reason),
                _ => None,
            }
        })
    }
}

/// Appends entries to memory, and returns how many of them are events. Where events are missing between
/// entries, memory records it, and `values` replace the current values of topics. `last` is the position of the
/// last entry in memory, and is updated. `when` returns the `Instant` from which the age of an entry is
/// measured, given its time in milliseconds since 1970.
fn take(
    memory: &MemoryLog,
    last: &mut Reached,
    entries: Vec<Entry>,
    values: Option<&LoadedValues>,
    when: impl Fn(u64) -> Instant,
) -> usize {
    let mut taken = 0;
    let mut run: Vec<(Event, Instant)> = Vec::new();
    let append = |run: &mut Vec<(Event, Instant)>| {
        memory.append_all(run.iter().map(|(event, at)| (event, *at)));
        run.clear();
    };
    for Entry { item, at, .. } in entries {
        let missing = MissingBefore::of(&item, *last);
        *last = item.reached();
        if let MissingBefore::Presence(skipped) = missing {
            append(&mut run);
            let next = memory.next().saturating_add(skipped);
            memory.skip_presence_until(next, when(at));
        }
        let has_hole = matches!(missing, MissingBefore::Events(_));
        match item {
            Item::Begins(id, _) | Item::Unreadable(id) => {
                append(&mut run);
                if has_hole {
                    memory.begin_span_after_hole(after(id), values);
                } else {
                    memory.begin_span(after(id));
                }
            }
            Item::Event { id, event, .. } => {
                if has_hole {
                    append(&mut run);
                    memory.begin_span_after_hole(id, values);
                }
                run.push((event, when(at)));
                taken += 1;
            }
        }
    }
    append(&mut run);
    taken
}

/// The task that copies new entries from Redis to memory.
pub(super) struct Follower {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// The position of the last entry that was copied to memory.
    pub(super) last: Reached,
    /// Whether this node can read the log. False after a failed read or connection, until a read succeeds.
    pub(super) is_reading: Arc<AtomicBool>,
}

impl Follower {
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let number = self.link.connections();
            let read = match self.link.connect(RESPONSE_TIMEOUT).await {
                Ok(connection) => self.follow(connection, number, &mut failures).await,
                Err(reason) => Err(reason),
            };
            let Err(failed) = read else { continue };
            failures += 1;
            self.is_reading.store(false, Ordering::Relaxed);
            // If Redis cannot be written either, that is already logged as an error, so do not log a second
            // one.
            let is_error = failures == FAILURES_BEFORE_ERROR && self.link.can_write();
            let url = self.link.url();
            log::log!(
                once::level(is_error),
                "the log in {url} cannot be read, so nothing new is delivered: {failed}"
            );
            // The write connection may be broken too, so make the heartbeat task check it now.
            self.link.lost.notify_one();
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Reads new entries until a read fails, and returns the reason. Returns `Ok` when the link has replaced
    /// its write connection, whose number was `number`. Redis may then have another master, so the follower
    /// must reconnect.
    async fn follow(
        &mut self,
        mut connection: MultiplexedConnection,
        number: u64,
        failures: &mut u32,
    ) -> Result<(), String> {
        loop {
            // Wait for a single entry, because `XREAD` cannot limit bytes. The entries after it are read with
            // read.lua, which can.
            let mut wait = redis::cmd("XREAD");
            wait.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK);
            wait.arg("STREAMS").arg(self.link.scripts.names().log());
            wait.arg(self.last.id.bare());
            let answer = wait.query_async(&mut connection);
            let first = read(answer, entries_of_only_stream).await?;
            self.is_reading.store(true, Ordering::Relaxed);
            if std::mem::take(failures) >= FAILURES_BEFORE_ERROR {
                log::info!("the log in {} is read again", self.link.url());
            }
            let mut more = !first.is_empty();
            if !more && self.last.id.epoch > MAX_EPOCH && self.is_replaced(&mut connection).await? {
                self.last = EventId { epoch: 0, seq: 0 }.into();
            }
            self.take(first, &mut connection).await?;
            while more {
                let from = format!("({}", self.last.id.bare());
                let call = self.link.scripts.read(&from, BATCH);
                let batch = read(call.invoke_async(&mut connection), entries).await?;
                let bytes: usize = batch.iter().map(size).sum();
                more = bytes >= BATCH.bytes / 2 || batch.len() >= BATCH.entries / 2;
                self.take(batch, &mut connection).await?;
            }
            if self.link.connections() != number {
                return Ok(());
            }
        }
    }

    /// Whether the stream was replaced by another one with smaller ids, which must be read from its
    /// beginning. If another program appends an entry with too large an epoch, the next heartbeat replaces
    /// the stream. Until then, the stream still has an entry with the last id, and must not be read again.
    async fn is_replaced(&self, connection: &mut MultiplexedConnection) -> Result<bool, String> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(self.link.scripts.names().log());
        range.arg("+").arg("-").arg("COUNT").arg(1);
        let newest = read(range.query_async(connection), entries).await?;
        Ok(newest
            .first()
            .is_some_and(|newest| newest.item.id() < self.last.id))
    }

    /// Appends entries to memory, counts their events in the metrics, and wakes the subscribers. If events are
    /// missing before an entry, first reads the current values of topics from Redis, because the missing events
    /// may have changed them.
    async fn take(
        &mut self,
        entries: Vec<Entry>,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), String> {
        if entries.is_empty() {
            return Ok(());
        }
        let values = match MissingBefore::reason(&entries, self.last) {
            Some(missing) => {
                let values = load_values(&self.link, connection).await;
                let mut values = values.map_err(|err| reason(&err))?;
                if missing == GapReason::Epoch {
                    values.state.set_lost();
                }
                Some(values)
            }
            None => None,
        };
        note_ticks(&self.link, &entries);
        let now = Instant::now();
        let taken = take(
            &self.memory,
            &mut self.last,
            entries,
            values.as_ref(),
            |_| now,
        );
        self.listener.appended(taken);
        Ok(())
    }
}
