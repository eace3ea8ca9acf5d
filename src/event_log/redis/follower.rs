//! Has what anybody appends to the log in Redis in this node's memory, in its order.

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
    scripts::{MAX_EPOCH, Most, Pulse},
};
use crate::event::{Event, EventId, Topic};

/// How long Redis waits for news before it says that there are none, in milliseconds.
const BLOCK: usize = 1000;
/// How long that may take until Redis is taken for gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// How often in a row it has to fail until that is said.
const FAILURES_TO_SAY: u32 = 4;

/// How much is read at once. What there is no room for waits in Redis.
const BATCH: Most = Most {
    bytes: 4 << 20,
    entries: 1000,
};

/// How many evicted presence events may be missing in a row. More are not ours.
const MAX_SKIPPED: u64 = 1 << 40;

/// How many entries are read at once at the start: what is large may come before what is small.
const PAGE: usize = 32;

/// The newest of the log, as much of it as memory retains, and the id up to which that is.
pub(super) async fn load(
    link: &Link,
    retention: Retention,
    topic: Topic,
    pulse: &Pulse,
) -> Result<(MemoryLog, Reached), String> {
    let mut newest = Vec::new();
    let mut connection = link.connect(PATIENCE).await?;
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
    // Where there is nothing, something may have been.
    let mut last = before.unwrap_or(pulse.last.into());
    let memory = MemoryLog::starting_at(after(last.id), retention, topic);
    let memory = link.scripts.limit_newer_half(memory);
    // The epoch that memory begins with needs no beginning.
    newest.retain(|entry| entry.item.id() != last.id);
    note_ticks(link, &newest);
    let moment = Instant::now();
    take(&memory, &mut last, newest, |at| {
        let age = Duration::from_millis(pulse.now.saturating_sub(at));
        moment.checked_sub(age).unwrap_or(moment)
    });
    Ok((memory, last))
}

/// Knows of the numbered messages among these.
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

/// Waits for an answer, and reads the entries in it; or says why that cannot be.
async fn read(
    answer: impl Future<Output = Result<Value, RedisError>>,
    entries: impl FnOnce(Value) -> Result<Vec<Entry>, Foreign>,
) -> Result<Vec<Entry>, String> {
    let answer = answer.await.map_err(|err| reason(&err))?;
    entries(answer).map_err(|Foreign(what)| {
        format!("what is there was not written by a broadcaster ({what}): use another log.prefix")
    })
}

fn size(entry: &Entry) -> usize {
    match &entry.item {
        Item::Event { event, .. } => 100 + event.bytes(),
        Item::Begins(..) | Item::Unreadable(_) => 100,
    }
}

/// Appends what comes after the item of this id, and says how many events that were.
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
                memory.go_on(after(id), follows);
            }
            Item::Event { id, event, .. } => {
                if !follows {
                    append(&mut run);
                    memory.go_on(id, false);
                }
                run.push((event, when(at)));
                taken += 1;
            }
        }
    }
    append(&mut run);
    taken
}

/// Reads on and on.
pub(super) struct Follower {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// Memory has everything up to here.
    pub(super) last: Reached,
    /// Whether that goes on.
    pub(super) is_reading: Arc<AtomicBool>,
}

impl Follower {
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let number = self.link.connections();
            let read = match self.link.connect(PATIENCE).await {
                Ok(connection) => self.follow(connection, number, &mut failures).await,
                Err(reason) => Err(reason),
            };
            let Err(failed) = read else { continue };
            failures += 1;
            self.is_reading.store(false, Ordering::Relaxed);
            // Where it cannot be written either, that is said.
            let is_to_say = failures == FAILURES_TO_SAY && self.link.can_write();
            let url = self.link.url();
            log::log!(
                once::level(is_to_say),
                "the log in {url} cannot be read, so nothing new is delivered: {failed}"
            );
            // Whoever writes may not have noticed.
            self.link.lost.notify_one();
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Reads until that fails, and says why; or until another Redis is written to, maybe.
    async fn follow(
        &mut self,
        mut connection: MultiplexedConnection,
        number: u64,
        failures: &mut u32,
    ) -> Result<(), String> {
        loop {
            // One alone, whatever its size: the script that reads the rest can say how much.
            let mut wait = redis::cmd("XREAD");
            wait.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK);
            wait.arg("STREAMS").arg(self.link.scripts.names().log());
            wait.arg(self.last.id.bare());
            let answer = wait.query_async(&mut connection);
            let first = read(answer, entries_of_only_stream).await?;
            self.is_reading.store(true, Ordering::Relaxed);
            if std::mem::take(failures) >= FAILURES_TO_SAY {
                log::info!("the log in {} is read again", self.link.url());
            }
            let mut more = !first.is_empty();
            if !more && self.last.id.epoch > MAX_EPOCH && self.link.epoch() <= MAX_EPOCH {
                // Another program wrote that id, and the stream was replaced. Its ids are smaller.
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

    /// Appends what was read, if that is anything.
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
