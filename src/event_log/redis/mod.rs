//! The Redis log: one Redis stream to which any number of nodes (server processes) append. Each node has a
//! copy of the newest part in memory, which its subscribers read; older events are read from Redis. Every
//! step that must be atomic is a Lua script in `scripts/`.

mod entry;
mod error;
mod follower;
mod heartbeats;
mod link;
mod log_writer;
mod names;
mod process;
mod reader;
mod revocations;
mod scripts;
mod subscriptions;
mod ticking;
mod values;

use std::{
    fmt,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinSet, LocalSet},
    time::sleep,
};

use super::{
    append::{Append, PublishSettings},
    appender::{Appender, Listener, Opened, Subscriptions},
    archive::{Archive, Reached},
    error::LogError,
    kind::RedisSettings,
    memory::MemoryLog,
    read::Retention,
    redis::{
        follower::{Follower, load},
        heartbeats::{HEARTBEAT_INTERVAL, Heartbeats},
        link::Link,
        log_writer::{Command, LogWriter, Task},
        reader::Reader,
        revocations::SharedRevocations,
        scripts::Scripts,
        subscriptions::Subscriptions as Own,
        ticking::Ticking,
    },
    revocations::{RevocationChange, RevocationList, Revocations},
    waiting::Queue,
};
use crate::event::{PresenceChange, Topic, urn};

/// The start retries for this long, because Redis may be starting at the same time. If an attempt fails after
/// this time, the start fails.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the thread of the log, and waits until it has loaded the newest events from Redis. Returns the open
/// log, or why it cannot be used.
pub(super) fn open(
    settings: RedisSettings,
    retention: Retention,
    topic: Topic,
    publishing: PublishSettings,
    listener: Listener,
) -> Result<Opened, LogError> {
    let url = settings.url.clone();
    let (opened, opening) = std_mpsc::sync_channel(1);
    let node = Node {
        settings,
        retention,
        topic,
        publishing,
        listener: Arc::new(listener),
    };
    let started = std::thread::Builder::new()
        .name("event-log".to_owned())
        .spawn(move || node.run(&opened));
    started.map_err(|err| {
        LogError::in_redis(
            &url,
            format!("cannot be used: its thread cannot start: {err}"),
        )
    })?;
    let opened = opening
        .recv()
        .unwrap_or_else(|_| Err("its thread has ended unexpectedly".to_owned()));
    opened.map_err(|reason| LogError::in_redis(&url, format!("cannot be used: {reason}")))
}

/// Appends to the log, by commands to the log's thread. Reads do not use this handle, but [`MemoryLog`] and
/// [`Archive`].
struct RedisLog {
    commands: mpsc::UnboundedSender<Command>,
    queue: Queue,
    is_writable: Arc<AtomicBool>,
    is_reading: Arc<AtomicBool>,
    /// [`Appender::remembered_keys`], as of the last heartbeat.
    remembered_keys: Arc<Mutex<(usize, Option<u64>)>>,
    revocations: RevocationList,
}

impl RedisLog {
    /// Creates the handle, and the receiver of the commands that it sends.
    fn new(
        link: &Link,
        revocations: &SharedRevocations,
        is_reading: Arc<AtomicBool>,
    ) -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, received) = mpsc::unbounded_channel();
        let log = Self {
            commands,
            queue: Queue::default(),
            is_writable: link.is_writable(),
            is_reading,
            remembered_keys: link.remembered_keys(),
            revocations: revocations.list(),
        };
        (log, received)
    }

    fn send(&self, command: Command) {
        // If the thread of the log has ended, the command is dropped with the reply channel in it. So the
        // requester receives an error.
        self.commands.send(command).ok();
    }
}

impl Appender for RedisLog {
    fn append_all(&self, appends: Vec<Append>) {
        for mut append in appends {
            append.queued = Some(self.queue.add(&append.event));
            self.send(Command::Append(append));
        }
    }

    fn remembered_keys(&self) -> (usize, Option<u64>) {
        *self.remembered_keys.lock()
    }

    fn announce(&self, change: PresenceChange) {
        let queued = self.queue.add(&change.event);
        self.send(Command::Announce(change, queued));
    }

    fn subscriptions(&self) -> Option<Subscriptions> {
        let (done, listed) = oneshot::channel();
        self.send(Command::Do(Task::List(done)));
        Some(listed)
    }

    fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    fn is_writable(&self) -> bool {
        // A node reads its own events back from Redis before it delivers them. If it accepted events while it
        // cannot read, its own subscribers would not receive them.
        self.is_writable.load(Ordering::Relaxed) && self.is_reading.load(Ordering::Relaxed)
    }

    fn revocations(&self) -> watch::Receiver<Arc<Revocations>> {
        self.revocations.subscribe()
    }

    fn revoke(&self, change: RevocationChange) {
        self.send(Command::Do(Task::Revoke(change)));
    }

    fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.send(Command::Do(Task::Flush(done)));
        flushed
    }
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLog")
    }
}

/// What a node needs to start. A node is one of the servers that share the log.
struct Node {
    settings: RedisSettings,
    retention: Retention,
    topic: Topic,
    publishing: PublishSettings,
    listener: Arc<Listener>,
}

/// What a node has loaded from Redis.
struct Loaded {
    link: Link,
    memory: MemoryLog,
    /// The position of the last entry that was loaded.
    last: Reached,
    revocations: SharedRevocations,
}

impl Node {
    /// Runs the node on this thread until the log is closed. Sends one result to `opened`: the loaded log, or
    /// why the log cannot be used. In the second case, returns at once.
    fn run(self, opened: &std_mpsc::SyncSender<Result<Opened, String>>) {
        // The redis crate uses the default crypto provider of the process. If one is already installed, this
        // call fails and changes nothing.
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(err) => {
                opened.send(Err(err.to_string())).ok();
                return;
            }
        };
        LocalSet::new().block_on(&runtime, async {
            match self.begin().await {
                Ok(loaded) => self.work(loaded, opened).await,
                Err(reason) => {
                    opened.send(Err(reason)).ok();
                }
            }
        });
    }

    /// Connects to Redis and loads the newest part of the log into memory. After a failed attempt, pauses for
    /// [`HEARTBEAT_INTERVAL`] and tries again. If an attempt fails after [`START_TIMEOUT`], returns its reason.
    async fn begin(&self) -> Result<Loaded, String> {
        let node = urn::random();
        let scripts = Scripts::new(&self.settings, self.publishing, self.retention, node);
        let finder = self
            .settings
            .url
            .finder()
            .map_err(|err| error::reason(&err))?;
        let link = Link::new(self.settings.url.clone(), finder, scripts);
        let revocations = SharedRevocations::new();
        let began = Instant::now();
        loop {
            let loaded = async {
                let heartbeat = link.open(None).await?;
                let followed = revocations
                    .follow(&link, None, &heartbeat.revocations)
                    .await;
                followed.map_err(|_| "the connection was lost".to_owned())?;
                load(&link, self.retention, self.topic.clone(), &heartbeat).await
            };
            match loaded.await {
                Ok((memory, last)) => {
                    return Ok(Loaded {
                        link,
                        memory,
                        last,
                        revocations,
                    });
                }
                Err(reason) if began.elapsed() > START_TIMEOUT => return Err(reason),
                Err(reason) => log::warn!("the log in {} cannot be used yet: {reason}", link.url()),
            }
            sleep(HEARTBEAT_INTERVAL).await;
        }
    }

    /// Runs the tasks of the node until the log is closed, that is, until all senders of commands are
    /// dropped.
    async fn work(self, loaded: Loaded, opened: &std_mpsc::SyncSender<Result<Opened, String>>) {
        let (link, memory) = (Rc::new(loaded.link), Arc::new(loaded.memory));
        let revocations = Rc::new(loaded.revocations);
        let (archive, archive_requests) = Archive::new();
        let (ticking, ticker_settings) = watch::channel(None);
        let (_alive, gone) = oneshot::channel();
        let is_reading = Arc::new(AtomicBool::new(true));
        let (log, received_commands) = RedisLog::new(&link, &revocations, is_reading.clone());
        let commands = log.commands.downgrade();
        let ready = Opened {
            memory: memory.clone(),
            appender: Arc::new(log),
            ticking: Some(ticking),
            archive: Some(archive),
            gone: Some(gone),
        };
        if opened.send(Ok(ready)).is_err() {
            return;
        }
        let listener = self.listener;
        let subscriptions = Rc::new(Own::default());
        let reader = Rc::new(Reader::new(link.clone()));
        let log_writer = LogWriter {
            link: link.clone(),
            reader: reader.clone(),
            memory: memory.clone(),
            listener: listener.clone(),
            subscriptions: subscriptions.clone(),
            revocations: revocations.clone(),
        };
        let follower = Follower {
            link: link.clone(),
            memory: memory.clone(),
            listener: listener.clone(),
            last: loaded.last,
            is_reading,
        };
        let ticking = Ticking {
            link: link.clone(),
            memory: memory.clone(),
            listener,
            settings: ticker_settings,
        };
        let heartbeats = Heartbeats {
            link,
            memory,
            subscriptions,
            commands,
            revocations,
        };
        let mut others = JoinSet::new();
        others.spawn_local(follower.run());
        others.spawn_local(ticking.run());
        others.spawn_local(heartbeats.run());
        others.spawn_local(reader.run(archive_requests));
        run_with_others(log_writer.run(received_commands), others).await;
    }
}

/// Waits until `main` has ended. If one of the `others` panics first, the log no longer works. This function
/// then panics too, which ends the thread of the log. So the `Broadcaster` learns that the log is gone. The
/// `others` end without a panic only when the log is closed.
async fn run_with_others(main: impl Future<Output = ()>, mut others: JoinSet<()>) {
    tokio::select! {
        () = main => {}
        Some(Err(failed)) = others.join_next() => {
            if let Ok(panic) = failed.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
