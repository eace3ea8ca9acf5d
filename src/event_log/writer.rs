//! Appends events to a file on a separate thread, and then to memory, where subscribers read them. Events
//! that arrive while the thread writes to the disk form the next batch, so they need only one more write.

use std::{
    convert::Infallible,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

mod reopening;
mod revoking;
mod stored;
mod sync_state;

pub(super) use self::stored::Stored;
use self::sync_state::{Goal, SyncState};

use super::{
    append::Append,
    appender::{Appender, Listener, TICK_PAUSE},
    duplicates::Duplicates,
    error::LogUnavailable,
    file::{Batch, FileStore, KeyBatch, ValueBatch},
    key_index::UsedKey,
    memory::MemoryLog,
    record::{Record, millis_since_1970},
    revocations::{RevocationChange, RevocationList, Revocations},
    waiting::{Queue, in_turn},
};
use crate::event::Event;

/// A batch ends with the event that reaches one of two limits: this number of events, or the memory in bytes
/// in the next constant. Later events wait for the next batch.
const BATCH_EVENTS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// Pause between two attempts to reopen a log file after a failure.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Memory limit for acknowledged events that are not synced to disk yet, in bytes. They stay in memory so
/// that they can be written again if the file fails. A commit that would reach the limit is synced.
const MAX_UNSYNCED_BYTES: usize = 8 << 20;

/// How long the thread waits for a command while neither a sync nor an attempt to reopen the file is
/// scheduled. Then it starts to wait again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all commands append an event"
)]
enum Command {
    Append(Append),
    /// Sync all events of earlier commands, then reply. If the file cannot be written, reply without a sync.
    Flush(oneshot::Sender<()>),
    /// Change the list of revoked tokens.
    Revoke(RevocationChange),
}

/// Sends commands to the writer thread. When the last clone of this handle is dropped, the thread carries out
/// the commands that were sent, syncs the events if the file can be written, and ends.
#[derive(Clone)]
pub(crate) struct Writer {
    inbox: mpsc::Sender<Command>,
    queue: Queue,
    is_writable: Arc<AtomicBool>,
    /// [`Appender::remembered_keys`], as of the last commit.
    remembered_keys: Arc<Mutex<(usize, Option<u64>)>>,
    revocations: RevocationList,
}

/// An open log file, and what is known of its content.
pub(super) struct OpenFile {
    pub(super) store: FileStore,
    pub(super) stored: Stored,
    pub(super) duplicates: Duplicates,
    pub(super) revocations: RevocationList,
}

impl Writer {
    /// Starts the writer thread. The returned receiver resolves, with an error, when the thread has ended.
    pub(super) fn start(
        path: &Path,
        file: OpenFile,
        memory: Arc<MemoryLog>,
        sync_interval: Option<Duration>,
        listener: Listener,
    ) -> std::io::Result<(Self, oneshot::Receiver<Infallible>)> {
        let (inbox, commands) = mpsc::channel();
        let (alive, gone) = oneshot::channel();
        let is_writable = Arc::new(AtomicBool::new(true));
        let remembered_keys = Arc::new(Mutex::new(file.duplicates.keys.extent()));
        let thread = Thread {
            path: path.to_owned(),
            store: Some(file.store),
            stored: file.stored,
            duplicates: file.duplicates,
            revocations: file.revocations.clone(),
            remembered_keys: remembered_keys.clone(),
            memory,
            sync_interval,
            retry_at: Instant::now(),
            sync_state: SyncState::default(),
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
            remembered_keys,
            revocations: file.revocations,
        };
        Ok((writer, gone))
    }
}

impl Appender for Writer {
    fn append_all(&self, appends: Vec<Append>) {
        for mut append in appends {
            append.queued = Some(self.queue.add(&append.event));
            // If the thread has ended, sending fails and drops the append with its `ack`, so the publisher
            // gets an error.
            self.inbox.send(Command::Append(append)).ok();
        }
    }

    fn remembered_keys(&self) -> (usize, Option<u64>) {
        *self.remembered_keys.lock()
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

    fn revocations(&self) -> watch::Receiver<Arc<Revocations>> {
        self.revocations.subscribe()
    }

    fn revoke(&self, change: RevocationChange) {
        self.inbox.send(Command::Revoke(change)).ok();
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
    /// The open log file. `None` after a failure, until the file is reopened.
    store: Option<FileStore>,
    /// When to try again to open the log file. Used only while `store` is `None`.
    retry_at: Instant,
    stored: Stored,
    duplicates: Duplicates,
    revocations: RevocationList,
    remembered_keys: Arc<Mutex<(usize, Option<u64>)>>,
    memory: Arc<MemoryLog>,
    sync_interval: Option<Duration>,
    sync_state: SyncState,
    /// Whether a write failed and [`Thread::commit`] has not succeeded since. While true, failures are logged
    /// as debug, not as errors.
    is_failing: bool,
    listener: Listener,
    is_writable: Arc<AtomicBool>,
}

impl Thread {
    fn run(mut self, commands: &mpsc::Receiver<Command>) {
        loop {
            let command = match commands.recv_timeout(self.command_timeout()) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.commit(Vec::new(), Goal::Rest);
                    return;
                }
            };
            let mut waiting = Vec::new();
            let mut flushed = Vec::new();
            let mut revoked = Vec::new();
            let mut bytes = 0;
            let more = std::iter::from_fn(|| commands.try_recv().ok());
            for command in command.into_iter().chain(more) {
                match command {
                    Command::Append(append) => {
                        bytes += append.event.bytes();
                        waiting.push(append);
                    }
                    Command::Flush(done) => flushed.push(done),
                    Command::Revoke(change) => revoked.push(change),
                }
                if waiting.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES {
                    break;
                }
            }
            if self.store.is_none() && self.retry_at <= Instant::now() {
                self.reopen();
            }
            let is_limit_reached = self.sync_state.bytes() + bytes >= MAX_UNSYNCED_BYTES;
            let goal = if !flushed.is_empty() {
                Goal::Rest
            } else if self.sync_interval.is_none()
                || self.command_timeout().is_zero()
                || is_limit_reached
            {
                Goal::Sync
            } else {
                Goal::Append
            };
            self.commit(waiting, goal);
            for change in revoked {
                self.change_revocations(change);
            }
            for done in flushed {
                done.send(()).ok();
            }
        }
    }

    /// How long to wait for the next command: until a sync or an attempt to reopen the file is due, or
    /// [`IDLE_TIMEOUT`].
    fn command_timeout(&self) -> Duration {
        match (self.sync_interval, self.sync_state.since()) {
            _ if self.store.is_none() => self.retry_at.saturating_duration_since(Instant::now()),
            (Some(interval), Some(since)) => interval.saturating_sub(since.elapsed()),
            _ => IDLE_TIMEOUT,
        }
    }

    /// Appends events to the file, then to memory, and acknowledges them. If the file cannot be written,
    /// refuses them. Also refuses each ticker message whose number is not the next one. Without events, only
    /// carries out the sync that `goal` requires.
    fn commit(&mut self, waiting: Vec<Append>, goal: Goal) {
        if waiting.is_empty() && !self.sync_state.needs_commit(goal) {
            return;
        }
        let durability = self.sync_state.durability(goal, self.sync_interval);
        let Some(store) = &mut self.store else {
            refuse(waiting);
            return;
        };
        let (waiting, out_of_turn, ticks) = in_turn(waiting, self.memory.ticks());
        let plan = self.duplicates.plan(waiting, &self.memory);
        let now = SystemTime::now();
        let record = |event| Record::of(event, now);
        let records: Vec<_> = plan.events.iter().map(record).collect();
        let first = self.memory.next();
        let used = plan.used_keys(
            |index| self.memory.id(first + index as u64),
            millis_since_1970(now),
        );
        let oldest = self.memory.extent().oldest;
        let oldest_presence = self.memory.oldest_presence();
        let batch = Batch {
            first,
            records: &records,
            evicted: self.stored.from..oldest,
            evicted_presence: &self.stored.evicted_presence(oldest, oldest_presence),
            ticks,
            unsynced: durability.marked,
            keys: KeyBatch {
                first: self.duplicates.keys.next(),
                used: &used,
                forgotten: self.stored.keys_from..self.duplicates.keys.first(),
            },
            values: value_batch(&self.memory, self.stored.from..oldest),
            evicted_at: self.memory.newest_evicted_at(now),
        };
        let began = Instant::now();
        let committed = store.commit(batch, durability.synced);
        if let Err(err) = committed {
            self.fail(&err);
            plan.refuse();
            refuse(out_of_turn);
            return;
        }
        self.listener.metrics.observe_commit(began.elapsed());
        if std::mem::take(&mut self.is_failing) {
            log::info!("the log in {} can be written again", self.path.display());
        }
        self.stored.forget_before(oldest, oldest_presence);
        self.memory.set_values_stored_before(oldest);
        for (seq, record) in (first..).zip(&records) {
            self.stored.add(seq, record);
        }
        self.remember(used);
        self.memory.set_ticks(ticks);
        let now = Instant::now();
        let bytes = plan.events.iter().map(Event::bytes).sum();
        self.sync_state.committed(durability, records, bytes, now);
        let events = plan.events.iter().map(|event| (event, now));
        let appended = self.memory.append_all(events);
        self.appended(appended.len());
        self.listener.metrics.replays.inc_by(plan.replays() as u64);
        plan.acknowledge(&appended);
        refuse(out_of_turn);
    }

    /// Notes that these idempotency keys are in the file, and that the forgotten ones are not.
    fn remember(&mut self, used: Vec<UsedKey>) {
        self.stored.keys_from = self.duplicates.keys.first();
        for key in used {
            self.duplicates.keys.insert(key);
        }
        *self.remembered_keys.lock() = self.duplicates.keys.extent();
    }

    /// Reports that subscribers can read new events. Does nothing if there are none, as after a commit that
    /// only synced earlier events.
    fn appended(&self, events: usize) {
        if events > 0 {
            self.listener.appended(events);
        }
    }
}

/// The changes of the current values of topics that a commit makes, when it removes the events with these
/// numbers.
fn value_batch(memory: &MemoryLog, evicted: Range<u64>) -> ValueBatch {
    let (outdated, unused) = memory.take_outdated_values();
    let (has_dropped, uncertain_before) = memory.values_completeness();
    ValueBatch {
        kept: memory.values_in(evicted),
        outdated,
        unused,
        has_dropped,
        uncertain_before,
    }
}

fn refuse(appends: Vec<Append>) {
    for append in appends {
        append.answer(Err(LogUnavailable.into()));
    }
}
