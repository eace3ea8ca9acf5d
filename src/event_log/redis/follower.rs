//! Has what anybody appends to the log in Redis in this node's memory, in its order.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{Value, aio::MultiplexedConnection};
use tokio::time::sleep;

use super::{
    entry::{Entry, Foreign, entries, entries_of_only_stream},
    link::{Link, reason},
};
use crate::{
    event::{Event, EventId},
    event_log::{Item, Listener, MemoryLog, Retention},
    topic::Topic,
};

/// How long Redis waits for news before it says that there are none, in milliseconds.
const BLOCK: usize = 1000;
/// How long that may take until Redis is taken for gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// How much is read at once, about; and between how many entries that may be.
const READ_BYTES: usize = 4 << 20;
const READ_ENTRIES: std::ops::RangeInclusive<usize> = 16..=1000;

/// The newest of the log, as much of it as memory retains, and the id up to which that is.
pub(super) async fn load(
    link: &Link,
    retention: Retention,
    topic: Topic,
    now: u64,
) -> Result<(MemoryLog, EventId), String> {
    let mut newest = Vec::new();
    let mut connection = link.connect(PATIENCE).await?;
    let (mut to, mut bytes) = ("+".to_owned(), 0);
    while newest.len() < retention.events && bytes < retention.bytes {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(link.scripts.names().log()).arg(&to).arg("-");
        range.arg("COUNT").arg(*READ_ENTRIES.start());
        let page: Value = range
            .query_async(&mut connection)
            .await
            .map_err(|err| reason(&err))?;
        let page = entries(page).map_err(|Foreign(what)| foreign(&what))?;
        let Some(oldest) = page.last() else {
            break;
        };
        to = format!("({}", oldest.item.id());
        bytes += page.iter().map(size).sum::<usize>();
        newest.extend(page);
    }
    newest.reverse();
    let epoch = link.epoch();
    let before = newest.first().map(|entry| entry.item.before());
    let mut last = before.unwrap_or(EventId { epoch, seq: 0 });
    let memory = MemoryLog::starting_at(after(last), retention, topic);
    // The epoch that memory begins with needs no beginning.
    newest.retain(|entry| entry.item.id() != last);
    let moment = Instant::now();
    take(&memory, &mut last, newest, |at| {
        let age = Duration::from_millis(now.saturating_sub(at));
        moment.checked_sub(age).unwrap_or(moment)
    });
    Ok((memory, last))
}

/// The id of the event that follows in the same epoch.
fn after(id: EventId) -> EventId {
    EventId {
        seq: id.seq + 1,
        ..id
    }
}

fn foreign(what: &str) -> String {
    format!("what is there was not written by a broadcaster ({what}): use another log.prefix")
}

fn size(entry: &Entry) -> usize {
    match &entry.item {
        Item::Event(_, event) => 100 + event.data().len(),
        Item::Begins(..) => 0,
    }
}

/// Appends what comes after the item of this id, and says how many events that were.
fn take(
    memory: &MemoryLog,
    last: &mut EventId,
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
        let follows = item.missing_after(*last).is_none();
        *last = item.id();
        match item {
            Item::Begins(id, _) => {
                append(&mut run);
                memory.go_on(after(id), follows);
            }
            Item::Event(id, event) => {
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
    /// Memory has everything up to this id.
    pub(super) last: EventId,
}

impl Follower {
    pub(super) async fn run(mut self) {
        loop {
            let failed = match self.link.connect(PATIENCE).await {
                Ok(connection) => self.follow(connection).await,
                Err(reason) => reason,
            };
            log::debug!("the log in {} cannot be read: {failed}", self.link.url());
            // Whoever writes may not have noticed.
            self.link.lost.notify_one();
            sleep(RETRY).await;
        }
    }

    /// Reads until that fails, and says why.
    async fn follow(&mut self, mut connection: MultiplexedConnection) -> String {
        let mut most = *READ_ENTRIES.start();
        loop {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT")
                .arg(most)
                .arg("BLOCK")
                .arg(BLOCK)
                .arg("STREAMS");
            read.arg(self.link.scripts.names().log())
                .arg(self.last.to_string());
            let answer: Value = match read.query_async(&mut connection).await {
                Ok(answer) => answer,
                Err(err) => return reason(&err),
            };
            let entries = match entries_of_only_stream(answer) {
                Ok(entries) => entries,
                Err(Foreign(what)) => return foreign(&what),
            };
            let Some(largest) = entries.iter().map(size).max() else {
                continue;
            };
            most = (READ_BYTES / largest.max(1)).clamp(*READ_ENTRIES.start(), *READ_ENTRIES.end());
            let ticks = entries.iter().filter_map(|entry| entry.tick).max();
            if let Some(ticks) = ticks.map(|number| number + 1) {
                self.link.ticks.set(self.link.ticks.get().max(ticks));
            }
            let now = Instant::now();
            let taken = take(&self.memory, &mut self.last, entries, |_| now);
            self.listener.appended(taken);
            // Others have their turn, however much there is.
            tokio::task::yield_now().await;
        }
    }
}
