//! A log in Redis, which any number of nodes share: a stream that all of them append to, and that each
//! has the newest part of in memory. Everything that has to happen in one step is a script.

mod entry;
mod follower;
mod link;
mod names;
mod orders;
mod process;
mod scripts;
mod ticking;
mod url;

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

use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::LocalSet,
    time::sleep,
};

pub use self::url::{InvalidRedisUrl, RedisUrl};
use self::{
    entry::{Foreign, entries},
    follower::{Follower, load},
    link::{Failure, Link},
    orders::{Clerk, Order, Subscriptions as Own},
    scripts::{Pulse, Scripts},
    ticking::Ticking,
};
use super::{
    Appender, Archive, Done, Item, Listener, LogError, LogUnavailable, MemoryLog, Numbering,
    Opened, RedisSettings, Retention, Subscriptions, archive::Ask,
};
use crate::{
    auth::random_urn,
    event::{Event, EventId},
    presence::Change,
    topic::Topic,
};

/// How long Redis is waited for at the start: it may be starting, too.
const START: Duration = Duration::from_secs(10);

/// How often a node says that it is there.
const PULSE: Duration = Duration::from_secs(1);

/// How often Redis is tried again that is not there.
const RETRY: Duration = Duration::from_millis(300);

/// How many read older events at the same time.
const READERS: usize = 16;

/// Connects, and reads the newest part of the log.
pub(super) fn open(
    settings: RedisSettings,
    retention: Retention,
    topic: Topic,
    listener: Listener,
) -> Result<Opened, LogError> {
    let url = settings.url.clone();
    let (opened, opening) = std_mpsc::sync_channel(1);
    let node = Node {
        settings,
        retention,
        topic,
        listener: Arc::new(listener),
    };
    let started = std::thread::Builder::new()
        .name("event-log".to_owned())
        .spawn(move || node.run(&opened));
    started.map_err(|err| LogError::in_redis(&url, format!("has no thread to use it: {err}")))?;
    let opened = opening
        .recv()
        .unwrap_or_else(|_| Err("its thread has died".to_owned()));
    opened.map_err(|reason| LogError::in_redis(&url, format!("cannot be used: {reason}")))
}

/// What others in this process tell the log by.
struct RedisLog {
    orders: mpsc::UnboundedSender<Order>,
    is_writable: Arc<AtomicBool>,
}

impl RedisLog {
    fn order(&self, order: Order) {
        // Where the thread is gone, whoever waits is told so.
        self.orders.send(order).ok();
    }
}

impl Appender for RedisLog {
    fn append(&self, event: Event, waits: Option<Done>) {
        self.order(Order::Append(event, waits));
    }

    fn announce(&self, change: Change) {
        self.order(Order::Announce(change));
    }

    fn subscriptions(&self) -> Option<Subscriptions> {
        let (done, listed) = oneshot::channel();
        self.order(Order::List(done));
        Some(listed)
    }

    fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::Relaxed)
    }

    fn flush(&self) -> oneshot::Receiver<()> {
        let (done, flushed) = oneshot::channel();
        self.order(Order::Flush(done));
        flushed
    }
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisLog")
    }
}

/// One of those who share a log.
struct Node {
    settings: RedisSettings,
    retention: Retention,
    topic: Topic,
    listener: Arc<Listener>,
}

impl Node {
    /// Runs it on this thread, and says once whether that could be begun.
    fn run(self, opened: &std_mpsc::SyncSender<Result<Opened, String>>) {
        // The crate looks for it there.
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
                Ok((link, memory, last)) => self.work(link, (memory, last), opened).await,
                Err(reason) => {
                    opened.send(Err(reason)).ok();
                }
            }
        });
    }

    async fn begin(&self) -> Result<(Link, MemoryLog, EventId), String> {
        let node = random_urn();
        let scripts = Scripts::new(&self.settings, node);
        let finder = self
            .settings
            .url
            .finder()
            .map_err(|err| link::reason(&err))?;
        let link = Link::new(self.settings.url.clone(), finder, scripts);
        let began = Instant::now();
        loop {
            let loaded = match link.open(None).await {
                Ok(Pulse { now, .. }) => load(&link, self.retention, self.topic.clone(), now).await,
                Err(reason) => Err(reason),
            };
            match loaded {
                Ok((memory, last)) => return Ok((link, memory, last)),
                Err(reason) if began.elapsed() > START => return Err(reason),
                Err(reason) => log::warn!("the log in {} cannot be used yet: {reason}", link.url()),
            }
            sleep(PULSE).await;
        }
    }

    /// Does a node's work until nobody gives it any.
    async fn work(
        self,
        link: Link,
        (memory, last): (MemoryLog, EventId),
        opened: &std_mpsc::SyncSender<Result<Opened, String>>,
    ) {
        let (link, memory) = (Rc::new(link), Arc::new(memory));
        let (orders, ordered) = mpsc::unbounded_channel();
        let (archive, asked) = Archive::new();
        let (tell, told) = watch::channel(None);
        let listener = self.listener;
        let subscriptions = Rc::new(Own::default());
        let is_writable = link.is_writable();
        let log = RedisLog {
            orders: orders.clone(),
            is_writable,
        };
        let ready = Opened {
            memory: memory.clone(),
            appender: Arc::new(log),
            numbering: Numbering::ByLog(tell),
            archive: Some(archive),
        };
        if opened.send(Ok(ready)).is_err() {
            return;
        }
        let clerk = Clerk {
            link: link.clone(),
            memory: memory.clone(),
            listener: listener.clone(),
            subscriptions: subscriptions.clone(),
        };
        let follower = Follower {
            link: link.clone(),
            memory: memory.clone(),
            listener: listener.clone(),
            last,
        };
        let ticking = Ticking {
            link: link.clone(),
            memory: memory.clone(),
            listener,
            settings: told,
        };
        tokio::task::spawn_local(follower.run());
        tokio::task::spawn_local(ticking.run());
        tokio::task::spawn_local(keep(
            link.clone(),
            memory,
            subscriptions,
            orders.downgrade(),
        ));
        tokio::task::spawn_local(answer_all(link, asked));
        drop(orders);
        clerk.run(ordered).await;
    }
}

/// Keeps a connection, and says every second that the node is there.
async fn keep(
    link: Rc<Link>,
    memory: Arc<MemoryLog>,
    subscriptions: Rc<Own>,
    orders: mpsc::WeakUnboundedSender<Order>,
) {
    loop {
        tokio::select! {
            () = sleep(PULSE) => {}
            () = link.lost.notified() => {}
        }
        let pulse = match link.pulse(&memory).await {
            Ok(pulse) => pulse,
            Err(_) => match reopen(&link, &memory).await {
                Some(pulse) => pulse,
                None => continue,
            },
        };
        let Some(orders) = orders.upgrade() else {
            return;
        };
        if subscriptions.are_other_than(pulse.subscriptions) {
            orders.send(Order::Reconcile).ok();
        }
        for node in pulse.dead {
            orders.send(Order::Bury(node)).ok();
        }
    }
}

async fn reopen(link: &Link, memory: &MemoryLog) -> Option<Pulse> {
    match link.open(Some(memory)).await {
        Ok(pulse) => Some(pulse),
        Err(reason) => {
            link.say(&reason);
            sleep(RETRY).await;
            link.lost.notify_one();
            None
        }
    }
}

/// Reads older events for whoever asks.
async fn answer_all(link: Rc<Link>, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let readers = Arc::new(Semaphore::new(READERS));
    while let Some(ask) = asked.recv().await {
        let Ok(reader) = readers.clone().acquire_owned().await else {
            return;
        };
        let link = link.clone();
        tokio::task::spawn_local(async move {
            match ask {
                Ask::Read { from, first, done } => {
                    done.send(read(&link, from, first).await).ok();
                }
                Ask::Given { id, done } => {
                    let mut get = redis::cmd("GET");
                    get.arg(format!(
                        "{}{}",
                        link.scripts.names().given_ids(),
                        id.as_str()
                    ));
                    let known = link.query::<Option<String>>(&get).await;
                    let known = known.map_err(|_| LogUnavailable);
                    let known = known.map(|id| EventId::parse(&id?).ok());
                    done.send(known).ok();
                }
            }
            drop(reader);
        });
    }
}

async fn read(
    link: &Link,
    from: Option<EventId>,
    first: bool,
) -> Result<Vec<Item>, LogUnavailable> {
    let from = match from {
        None => "-".to_owned(),
        Some(id) if first => id.to_string(),
        Some(id) => format!("({id}"),
    };
    let answer = link.call(&link.scripts.read(&from, first)).await;
    let read = answer.map(entries).map_err(|_: Failure| LogUnavailable)?;
    let read = read.map_err(|Foreign(what)| {
        log::error!("the log in {} has {what}", link.url());
        LogUnavailable
    })?;
    Ok(read.into_iter().map(|entry| entry.item).collect())
}
