//! Copies the stream in Redis into the memory of this node, in order. Where events are missing in the
//! stream, memory records it, and subscribers that cross that point receive a gap.

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
    },
    entry::{Entry, Foreign, entries, entries_of_only_stream},
    error::reason,
    link::Link,
    scripts::{HeartbeatResponse, MAX_EPOCH, ReadLimits},
};
use crate::event::{Event, EventId, Topic};

/// How long an `XREAD` blocks when there is no new entry, in milliseconds.
const BLOCK: usize = 1000;
/// Response timeout. It must exceed [`BLOCK`]. After it, the follower reconnects.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause before a retry after a failure.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Number of failures in a row after which one is logged as an error. Others are logged as debug.
const FAILURES_BEFORE_ERROR: u32 = 4;

/// Limits of one read. Further entries are read in the next one.
const BATCH: ReadLimits = ReadLimits {
    bytes: 4 << 20,
    entries: 1000,
};

/// Maximum number of evicted presence events in a row. A larger jump of ids cannot come from a broadcaster,
/// so it is treated as a loss of any events.
const MAX_SKIPPED: u64 = 1 << 40;

/// Maximum number of entries of one read at start-up. It is small because `XREVRANGE` cannot limit bytes,
/// and large entries may precede small ones.
const PAGE: usize = 32;

/// Loads the newest part of the log, as much as memory retains. Also returns the position up to which
/// memory has the log.
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
    // An empty log may have had events, so memory continues after the last id.
    let mut last = before.unwrap_or(heartbeat.last.into());
    let memory = MemoryLog::starting_at(after(last.id), retention, topic);
    let memory = link.scripts.limit_newer_half(memory);
    // If the oldest entry is the start of an epoch, memory already starts there.
    newest.retain(|entry| entry.item.id() != last.id);
    note_ticks(link, &newest);
    let moment = Instant::now();
    take(&memory, &mut last, newest, |at| {
        let age = Duration::from_millis(heartbeat.now.saturating_sub(at));
        moment.checked_sub(age).unwrap_or(moment)
    });
    Ok((memory, last))
}

/// Updates the count of numbered messages from these entries.
fn note_ticks(link: &Link, entries: &[Entry]) {
    let newest = entries.iter().filter_map(|entry| entry.tick).max();
    let ticks = newest.map_or(0, |number| number.saturating_add(1));
    link.ticks.set(link.ticks.get().max(ticks));
}

/// The id of the event that follows in the same epoch.
fn after(id: EventId) -> EventId {
    EventId {
        seq: id.seq.saturating_add(1),
        ..id
    }
}

/// Awaits a response and decodes it with `entries`, or returns the reason why it cannot.
async fn read(
    answer: impl Future<Output = Result<Value, RedisError>>,
    entries: impl FnOnce(Value) -> Result<Vec<Entry>, Foreign>,
) -> Result<Vec<Entry>, String> {
    let answer = answer.await.map_err(|err| reason(&err))?;
    entries(answer).map_err(|Foreign(what)| {
        format!("the data there was not written by a broadcaster ({what}): use another log.prefix")
    })
}

/// Approximate size in bytes.
fn size(entry: &Entry) -> usize {
    match &entry.item {
        Item::Event { event, .. } => 100 + event.bytes(),
        Item::Begins(..) | Item::Unreadable(_) => 100,
    }
}

/// Appends entries to memory and returns the number of events. `last` is the position before them, and
/// afterwards that of the last entry. `when` converts the time of an entry.
fn take(
    memory: &MemoryLog,
    last: &mut Reached,
    entries: Vec<Entry>,
    when: impl Fn(u64) -> Instant,
) -> usize {
    let mut taken = 0;
    let mut run: Vec<(Event, Instant)> = Vec::new();
    let append = |run: &mut Vec<(Event, Instant)>| {
        memory.append_all(run.iter().map(|(event, at)| (event, *at)));
        run.clear();
    };
    for Entry { item, at, .. } in entries {
        let missing = item.missing_after(*last);
        // The last seq that may be missing: of the previous epoch if a new one begins.
        let until = match &item {
            Item::Begins(_, Some(after)) => after.id.seq,
            _ => item.before().id.seq,
        };
        let skipped = until.saturating_sub(last.id.seq);
        *last = item.reached();
        let is_presence = missing == Some(Missing::Presence) && skipped <= MAX_SKIPPED;
        if is_presence {
            append(&mut run);
            memory.skip_presence_until(memory.next().saturating_add(skipped));
        }
        let follows = missing.is_none() || is_presence;
        match item {
            Item::Begins(id, _) | Item::Unreadable(id) => {
                append(&mut run);
                memory.begin_span(after(id), follows);
            }
            Item::Event { id, event, .. } => {
                if !follows {
                    append(&mut run);
                    memory.begin_span(id, false);
                }
                run.push((event, when(at)));
                taken += 1;
            }
        }
    }
    append(&mut run);
    taken
}

/// The task that copies new entries.
pub(super) struct Follower {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// The position up to which memory has the log.
    pub(super) last: Reached,
    /// False after a failed read or connection, until a read succeeds.
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
            // If Redis cannot be written either, the link has already logged the reason.
            let is_to_say = failures == FAILURES_BEFORE_ERROR && self.link.can_write();
            let url = self.link.url();
            log::log!(
                once::level(is_to_say),
                "the log in {url} cannot be read, so nothing new is delivered: {failed}"
            );
            // The write connection may be broken too: let the heartbeat task check it.
            self.link.lost.notify_one();
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Reads until a failure, and returns the reason. Returns `Ok` if the link has reconnected since write
    /// connection `number`: the master may be a different one.
    async fn follow(
        &mut self,
        mut connection: MultiplexedConnection,
        number: u64,
        failures: &mut u32,
    ) -> Result<(), String> {
        loop {
            // One entry only, because `XREAD` cannot limit bytes. read.lua, which reads the rest, can.
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
            if !more && self.last.id.epoch > MAX_EPOCH && self.link.epoch() <= MAX_EPOCH {
                // Another program wrote the last id, and a new stream has replaced that one. The new ids
                // are smaller, so read from the beginning.
                self.last = EventId { epoch: 0, seq: 0 }.into();
            }
            self.take(first);
            while more {
                let from = format!("({}", self.last.id.bare());
                let call = self.link.scripts.read(&from, BATCH);
                let batch = read(call.invoke_async(&mut connection), entries).await?;
                let bytes: usize = batch.iter().map(size).sum();
                more = bytes >= BATCH.bytes / 2 || batch.len() >= BATCH.entries / 2;
                self.take(batch);
            }
            if self.link.connections() != number {
                return Ok(());
            }
        }
    }

    /// Appends entries to memory and signals that there are new events.
    fn take(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        note_ticks(&self.link, &entries);
        let now = Instant::now();
        let taken = take(&self.memory, &mut self.last, entries, |_| now);
        self.listener.appended(taken);
    }
}
