//! A thread that appends to a store, and to the memory that subscribers read once that is done. What
//! comes while it waits for the disk is appended together, at one wait for all of it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::oneshot;

mod reopening;

use super::{
    appender::{Appender, Listener, TICK_PAUSE},
    file::{About, Batch, FileStore},
    kind::LogSync,
    memory::MemoryLog,
    record::Record,
    waiting::{AckSender, LogUnavailable, Queue, Waiting, in_turn},
};
use crate::event::Event;

/// How much is appended at once, in events and in bytes of memory, about.
const BATCH_EVENTS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// How often a store that failed is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How much may be acknowledged and not synced, in bytes of memory: it is kept, should the store lose it.
const MAX_UNSYNCED_BYTES: usize = 8 << 20;

/// When there is nothing to wait for but an event.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

enum Command {
    Append(Waiting),
    /// To be answered when all before it is synced.
    Flush(oneshot::Sender<()>),
}

/// What the thread is told through. It ends when nobody has this any more.
#[derive(Clone)]
pub(crate) struct Writer {
    inbox: mpsc::Sender<Command>,
    queue: Queue,
    is_writable: Arc<AtomicBool>,
}

impl Writer {
    /// Starts the thread. The second value tells of its end.
    pub(super) fn start(
        path: &Path,
        (store, stored): (FileStore, Stored),
        memory: Arc<MemoryLog>,
        sync: LogSync,
        listener: Listener,
    ) -> std::io::Result<(Self, oneshot::Receiver<Infallible>)> {
        let (inbox, commands) = mpsc::channel();
        let (alive, gone) = oneshot::channel();
        let is_writable = Arc::new(AtomicBool::new(true));
        let thread = Thread {
            path: path.to_owned(),
            store: Some(store),
            stored,
            memory,
            sync,
            retry_at: Instant::now(),
            unsynced: Unsynced::default(),
            says_synced: true,
            is_failing: false,
            listener,
            is_writable: is_writable.clone(),
        };
        std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || {
                let _alive = alive;
                thread.run(&commands);
            })?;
        let writer = Self {
            inbox,
            queue: Queue::default(),
            is_writable,
        };
        Ok((writer, gone))
    }
}

impl Appender for Writer {
    fn append(&self, event: Event, done: Option<AckSender>) {
        let queued = self.queue.add(&event);
        let waiting = Waiting {
            event,
            done,
            _queued: queued,
        };
        // Where the thread is gone, `done` is dropped, which tells the publisher.
        self.inbox.send(Command::Append(waiting)).ok();
    }

    fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    fn tick_pause(&self) -> Duration {
        TICK_PAUSE
    }

    fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::Relaxed)
    }

    fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.inbox.send(Command::Flush(done)).ok();
        flushed
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

struct Thread {
    path: PathBuf,
    /// `None` since it failed.
    store: Option<FileStore>,
    /// When one that failed is tried again.
    retry_at: Instant,
    stored: Stored,
    memory: Arc<MemoryLog>,
    sync: LogSync,
    unsynced: Unsynced,
    /// Whether the store says that all is synced. Before it is not, the store says so.
    says_synced: bool,
    /// Whether it failed, and nothing was appended since.
    is_failing: bool,
    listener: Listener,
    is_writable: Arc<AtomicBool>,
}

/// Which events the store has.
#[derive(Debug)]
pub(super) struct Stored {
    /// None before this number.
    pub(super) from: u64,
    /// The numbers of its presence events, in ascending order.
    pub(super) presence: VecDeque<u64>,
}

impl Stored {
    /// The presence events from `oldest` on that are evicted, because they are before `oldest_presence`.
    fn evicted_presence(&self, oldest: u64, oldest_presence: u64) -> Vec<u64> {
        let numbers = self.presence.iter().copied();
        numbers
            .skip_while(|seq| *seq < oldest)
            .take_while(|seq| *seq < oldest_presence)
            .collect()
    }

    fn forget_before(&mut self, oldest: u64, oldest_presence: u64) {
        self.from = oldest;
        let evicted = |seq: &u64| *seq < oldest.max(oldest_presence);
        while self.presence.front().is_some_and(evicted) {
            self.presence.pop_front();
        }
    }

    /// Notes that an event of this number was added.
    pub(super) fn add(&mut self, seq: u64, record: &Record) {
        if record.is_presence() {
            self.presence.push_back(seq);
        }
    }

    /// Those that a store has.
    pub(super) fn of(about: About, records: &[(u64, Record)]) -> Self {
        let presence = records.iter().filter(|(_, record)| record.is_presence());
        Self {
            from: about.first,
            presence: presence.map(|(seq, _)| *seq).collect(),
        }
    }
}

/// What was acknowledged and is not synced, should the store lose it.
#[derive(Default)]
struct Unsynced {
    records: Vec<Record>,
    /// Size in memory, about.
    bytes: usize,
    since: Option<Instant>,
}

/// How safe all that was appended is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Sync,
    /// Synced, and nothing follows, for now.
    Rest,
}

impl Thread {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        loop {
            let command = match commands.recv_timeout(self.patience()) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit(Vec::new(), Need::Rest);
                    return;
                }
            };
            let mut waiting = Vec::new();
            let mut flushed = Vec::new();
            let mut bytes = 0;
            let more = std::iter::from_fn(|| commands.try_recv().ok());
            for command in command.into_iter().chain(more) {
                match command {
                    Command::Append(append) => {
                        bytes += append.event.bytes();
                        waiting.push(append);
                    }
                    Command::Flush(done) => flushed.push(done),
                }
                if waiting.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES {
                    break;
                }
            }
            if self.store.is_none() && self.retry_at <= Instant::now() {
                self.reopen();
            }
            let is_much = self.unsynced.bytes + bytes >= MAX_UNSYNCED_BYTES;
            let need = if !flushed.is_empty() {
                Need::Rest
            } else if self.sync == LogSync::Always || self.patience().is_zero() || is_much {
                Need::Sync
            } else {
                Need::Nothing
            };
            self.commit(waiting, need);
            for done in flushed {
                done.send(()).ok();
            }
        }
    }

    /// How long there is nothing to do unless something comes.
    fn patience(&self) -> Duration {
        match (self.sync, self.unsynced.since) {
            _ if self.store.is_none() => self.retry_at.saturating_duration_since(Instant::now()),
            (LogSync::Within(window), Some(since)) => window.saturating_sub(since.elapsed()),
            _ => IDLE_TIMEOUT,
        }
    }

    /// Appends to the store and, if that could be done, to memory.
    fn commit(&mut self, waiting: Vec<Waiting>, need: Need) {
        let unsynced = self.sync != LogSync::Always && need != Need::Rest;
        let synced = need != Need::Nothing || self.says_synced;
        let is_at_rest = self.unsynced.since.is_none() && (unsynced || self.says_synced);
        if waiting.is_empty() && (is_at_rest || !synced) {
            return;
        }
        let Some(store) = &mut self.store else {
            self.refuse(waiting);
            return;
        };
        let (waiting, out_of_turn, ticks) = in_turn(waiting, self.memory.ticks());
        let now = SystemTime::now();
        let records: Vec<_> = waiting
            .iter()
            .map(|waiting| Record::of(&waiting.event, now))
            .collect();
        let first = self.memory.next();
        let oldest = self.memory.extent().oldest;
        let oldest_presence = self.memory.oldest_presence();
        let batch = Batch {
            first,
            records: &records,
            evicted: self.stored.from..oldest,
            evicted_presence: &self.stored.evicted_presence(oldest, oldest_presence),
            ticks,
            unsynced,
        };
        let began = Instant::now();
        let committed = store.commit(batch, synced);
        if let Err(err) = committed {
            self.fail(&err);
            self.refuse(waiting);
            self.refuse(out_of_turn);
            return;
        }
        self.listener.metrics.observe_commit(began.elapsed());
        if std::mem::take(&mut self.is_failing) {
            log::info!("the log in {} can be written again", self.path.display());
        }
        self.stored.forget_before(oldest, oldest_presence);
        for (seq, record) in (first..).zip(&records) {
            self.stored.add(seq, record);
        }
        self.memory.set_ticks(ticks);
        if synced {
            self.unsynced = Unsynced::default();
            self.says_synced = !unsynced;
        } else {
            let bytes = waiting.iter().map(|waiting| waiting.event.bytes());
            self.unsynced.bytes += bytes.sum::<usize>();
            self.unsynced.records.extend(records);
            self.unsynced.since.get_or_insert_with(Instant::now);
        }
        let now = Instant::now();
        let events = waiting.iter().map(|waiting| (&waiting.event, now));
        let appended = self.memory.append_all(events);
        self.appended(waiting.len());
        for (id, Waiting { done, .. }) in appended.into_iter().zip(waiting) {
            // Nobody may wait for it any more.
            done.map(|done| done.send(Ok(id)));
        }
        self.refuse(out_of_turn);
    }

    /// So many events became readable; none where the store alone had something to do.
    fn appended(&self, events: usize) {
        if events > 0 {
            self.listener.appended(events);
        }
    }

    fn refuse(&self, waiting: Vec<Waiting>) {
        for Waiting { done, .. } in waiting {
            done.map(|done| done.send(Err(LogUnavailable)));
        }
    }
}
