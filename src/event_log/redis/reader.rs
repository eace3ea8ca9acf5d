//! Reads events that are older than memory, looks up ids that publishers chose, and lists active
//! subscriptions. It uses a separate connection, so a slow read does not delay writes.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use redis::{RedisError, Value, aio::MultiplexedConnection};
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::{
    super::{
        archive::{ArchiveRequest, FirstSince, Item},
        error::LogUnavailable,
    },
    entry::{Entry, Foreign, entries},
    error::reason,
    link::Link,
    scripts::ReadLimits,
    subscriptions::documents,
};
use crate::event::{EventId, GapReason, Since};

/// Response timeout of the reader's connection. A request that exceeds it fails. A stream that is reading
/// older events then tries again. A request for a new stream that needs older events is refused, and so is a
/// request for the list of subscriptions.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of reads for subscribers that run at the same time. Later requests wait in a queue.
const MAX_READS: usize = 16;

/// Limits of one read for a subscriber. The events stay in this server's memory until the subscriber's socket
/// accepts them, so the limits are low.
const BATCH: ReadLimits = ReadLimits {
    bytes: 16 * 1024,
    entries: 500,
};
/// Limits of a read that needs only the first entry.
const FIRST: ReadLimits = ReadLimits {
    bytes: 1,
    entries: 1,
};

pub(super) struct Reader {
    link: Rc<Link>,
    /// The reader's connection, and [`Link::connections`] when it was opened. If that count has changed, the
    /// link has reconnected, perhaps to another master, so this connection is replaced too.
    connection: RefCell<Option<(u64, MultiplexedConnection)>>,
    /// Locked while connecting, so that only one task connects at a time.
    connecting: Mutex<()>,
    /// Locked while listing subscriptions, so that they are listed for one request at a time.
    listing: Mutex<()>,
}

impl Reader {
    pub(super) fn new(link: Rc<Link>) -> Self {
        Self {
            link,
            connection: RefCell::default(),
            connecting: Mutex::default(),
            listing: Mutex::default(),
        }
    }

    /// Answers requests of subscribers until all senders of requests are dropped.
    pub(super) async fn run(self: Rc<Self>, mut received: mpsc::UnboundedReceiver<ArchiveRequest>) {
        let permits = Arc::new(Semaphore::new(MAX_READS));
        while let Some(request) = received.recv().await {
            let Ok(permit) = permits.clone().acquire_owned().await else {
                return;
            };
            // Skip the request if the subscriber left while its request waited for a permit.
            if request.is_over() {
                continue;
            }
            let this = self.clone();
            tokio::task::spawn_local(async move {
                this.answer(request).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, request: ArchiveRequest) {
        // `send` fails if the requester no longer waits, which is not an error.
        match request {
            ArchiveRequest::Read { from, first, done } => {
                done.send(self.read(from, first).await).ok();
            }
            ArchiveRequest::UpTo { id, done } => {
                done.send(self.newest_up_to(id).await).ok();
            }
            ArchiveRequest::Since { since, done } => {
                done.send(self.first_since(since).await).ok();
            }
            ArchiveRequest::Given { id, done } => {
                let mut get = redis::cmd("HGET");
                get.arg(self.link.scripts.names().given_ids())
                    .arg(id.as_str());
                let known = self
                    .request(async |connection| get.query_async::<Option<String>>(connection).await)
                    .await;
                done.send(known.map(|id| EventId::parse(&id?).ok())).ok();
            }
        }
    }

    async fn read(&self, from: Option<EventId>, first: bool) -> Result<Vec<Item>, LogUnavailable> {
        let from = match from {
            None => "-".to_owned(),
            Some(id) if first => id.bare(),
            Some(id) => format!("({}", id.bare()),
        };
        let limits = if first { FIRST } else { BATCH };
        let call = self.link.scripts.read(&from, limits);
        let answer = self
            .request(async |connection| call.invoke_async::<Value>(connection).await)
            .await?;
        self.items(answer)
    }

    /// Reads the newest entry whose id is at most `id`. `None`: there is no such entry.
    async fn newest_up_to(&self, id: EventId) -> Result<Option<Item>, LogUnavailable> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(self.link.scripts.names().log());
        range.arg(id.bare()).arg("-").arg("COUNT").arg(1);
        let answer = self
            .request(async |connection| range.query_async::<Value>(connection).await)
            .await?;
        Ok(self.items(answer)?.pop())
    }

    /// Finds where a reader starts that wants the events since a time.
    async fn first_since(&self, since: Since) -> Result<FirstSince, LogUnavailable> {
        let call = self.link.scripts.since(since);
        let answer = self
            .request(async |connection| call.invoke_async::<Value>(connection).await)
            .await?;
        let answer = redis::from_redis_value::<(Value, Value, u64, u64)>(answer);
        let (first, newest, begin, is_oldest) = answer.map_err(|_| LogUnavailable)?;
        let first = self.entries(first)?.pop();
        let newest = self.entries(newest)?.pop();
        let Some(first) = first else {
            return Ok(FirstSince {
                before: newest.map(|newest| newest.item.reached()),
                missing: None,
            });
        };
        let missing = match first.item {
            // Events may have been lost before the epoch began.
            Item::Begins(_, None) => Some(GapReason::Epoch),
            _ if is_oldest == 0 => None,
            // The first event of the log has no event before it, and so no pause.
            Item::Event { id, .. } if id.seq == 1 && first.pause.is_none() => None,
            // The events before the oldest one were evicted. The newest of them was appended at this time.
            _ => {
                let before = first.pause.map(|pause| first.at.saturating_sub(pause));
                let is_missing = before.is_none_or(|before| before >= begin);
                is_missing.then_some(GapReason::Evicted)
            }
        };
        Ok(FirstSince {
            before: Some(first.item.before()),
            missing,
        })
    }

    fn items(&self, answer: Value) -> Result<Vec<Item>, LogUnavailable> {
        let read = self.entries(answer)?;
        Ok(read.into_iter().map(|entry| entry.item).collect())
    }

    fn entries(&self, answer: Value) -> Result<Vec<Entry>, LogUnavailable> {
        entries(answer).map_err(|Foreign(what)| {
            log::error!("the log in {} has {what}", self.link.url());
            LogUnavailable
        })
    }

    /// The active subscriptions of all servers that share the log, as paths and JSON documents. Omits invalid
    /// documents. `is_over` returns true if nobody waits for the list any more. Reading then stops, and the
    /// result is an empty list.
    pub(super) async fn subscriptions(
        &self,
        is_over: impl Fn() -> bool,
    ) -> Result<Vec<(String, String)>, LogUnavailable> {
        let _alone = self.listing.lock().await;
        let names = self.link.scripts.names();
        let mut nodes = redis::cmd("ZRANGE");
        nodes.arg(names.nodes()).arg(0).arg(-1);
        let nodes = self
            .request(async |connection| nodes.query_async::<Vec<String>>(connection).await)
            .await?;
        let mut all = Vec::new();
        for node in nodes {
            if is_over() {
                return Ok(Vec::new());
            }
            let mut of_node = redis::cmd("HGETALL");
            of_node.arg(names.subscriptions(&node));
            let known = self
                .request(async |connection| of_node.query_async(connection).await)
                .await?;
            let (known, _) = documents(known);
            all.extend(known);
        }
        Ok(all)
    }

    /// Runs a query on the reader's connection and returns the response. Opens a connection if necessary.
    async fn request<T>(
        &self,
        request: impl AsyncFn(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, LogUnavailable> {
        let mut connection = self.connect().await?;
        request(&mut connection).await.map_err(|err| {
            let url = self.link.url();
            log::debug!(
                "older events of the log in {url} cannot be read: {}",
                reason(&err)
            );
            // An error with a code is a response of Redis, so the connection works. After any other error,
            // drop the connection.
            if err.code().is_none() {
                self.connection.take();
            }
            LogUnavailable
        })
    }

    /// The current connection. Opens a new one if there is none, or if the link has reconnected. If Redis
    /// cannot be written, fails instead of opening one.
    async fn connect(&self) -> Result<MultiplexedConnection, LogUnavailable> {
        let connected = || {
            let connection = self.connection.borrow();
            let current = connection
                .as_ref()
                .filter(|(of, _)| *of == self.link.connections());
            current.map(|(_, connection)| connection.clone())
        };
        if let Some(connection) = connected() {
            return Ok(connection);
        }
        let _alone = self.connecting.lock().await;
        if let Some(connection) = connected() {
            return Ok(connection);
        }
        // If Redis cannot be written, it is probably unreachable. Fail immediately, so that requests do not
        // each wait for the connection timeout.
        if !self.link.can_write() {
            return Err(LogUnavailable);
        }
        let number = self.link.connections();
        let connection = self.link.connect(RESPONSE_TIMEOUT).await;
        let connection = connection.map_err(|_| LogUnavailable)?;
        self.connection.replace(Some((number, connection.clone())));
        Ok(connection)
    }
}
