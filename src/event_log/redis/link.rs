//! The write connection of a node (one of the servers that share the log) to Redis, and what the node knows
//! of the log: epoch, last id, number of ticker messages. If a call fails, the connection is dropped, and the
//! heartbeat task opens another one. A script that returns `STALE` (the log has another epoch, or was
//! replaced) does not drop the connection.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, ScriptInvocation, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::{Mutex, Notify},
    time::timeout,
};

use super::{
    super::{
        memory::MemoryLog,
        once,
        redis_url::{Finder, RedisUrl},
        stored_value::ValueState,
    },
    error::{Lost, reason},
    process::Process,
    scripts::{HeartbeatResponse, LogHead, Scripts},
};
use crate::event::EventId;

/// Timeout of one connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of each response on the write connection.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for finding the Redis server and connecting to it. If there are Sentinels, includes the time to
/// ask them.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of different reasons that are logged as errors during one outage. Other reasons are logged
/// as debug.
const MAX_REASONS: usize = 8;

/// The write connection and the state that the tasks of a node share.
pub(super) struct Link {
    url: RedisUrl,
    finder: Mutex<Finder>,
    pub(super) scripts: Scripts,
    connection: RefCell<Option<MultiplexedConnection>>,
    /// Number of write connections opened so far, which is also the number of the current one.
    connections: Cell<u64>,
    /// The `run_id` of the Redis process to which the node is or was last connected.
    process: RefCell<String>,
    epoch: Cell<u64>,
    /// The id of the newest entry that Redis has acknowledged to this node. `None`: no entry yet.
    acknowledged: Cell<Option<EventId>>,
    /// How many messages of the ticker the log has had, as far as this node knows.
    pub(super) ticks: Cell<u64>,
    /// Wakes the heartbeat task, so that it checks the write connection immediately.
    pub(super) lost: Notify,
    is_writable: Arc<AtomicBool>,
    /// Number of idempotency keys in Redis, and when the oldest was used, in milliseconds since 1970.
    remembered_keys: Arc<parking_lot::Mutex<(usize, Option<u64>)>>,
    value_state: Cell<ValueState>,
    /// The reasons that were logged as errors during the current outage of Redis. Empty when there is no
    /// outage.
    reasons: RefCell<BTreeSet<String>>,
}

impl Link {
    pub(super) fn new(url: RedisUrl, finder: Finder, scripts: Scripts) -> Self {
        Self {
            url,
            finder: Mutex::new(finder),
            scripts,
            connection: RefCell::default(),
            connections: Cell::new(0),
            process: RefCell::default(),
            epoch: Cell::new(0),
            acknowledged: Cell::default(),
            ticks: Cell::new(0),
            lost: Notify::new(),
            is_writable: Arc::default(),
            remembered_keys: Arc::default(),
            value_state: Cell::default(),
            reasons: RefCell::default(),
        }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// The current epoch, according to the last heartbeat. 0 before the first heartbeat.
    fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// A shared flag that is true while there is a write connection on which no call has failed. A script
    /// that returns `STALE`, for example because of a new epoch, does not count as failed.
    pub(super) fn is_writable(&self) -> Arc<AtomicBool> {
        self.is_writable.clone()
    }

    /// The shared figures about idempotency keys, as of the last heartbeat.
    pub(super) fn remembered_keys(&self) -> Arc<parking_lot::Mutex<(usize, Option<u64>)>> {
        self.remembered_keys.clone()
    }

    /// Number of write connections opened so far. If it changes, the link has reconnected, perhaps to another
    /// master. Tasks with their own connection must then reconnect.
    pub(super) fn connections(&self) -> u64 {
        self.connections.get()
    }

    pub(super) fn can_write(&self) -> bool {
        self.is_writable.load(Ordering::Relaxed)
    }

    /// Opens another connection to Redis, with this response timeout. With Sentinels, it is to the current
    /// master, otherwise to the configured server, which may be a replica. Fails with the reason as text.
    pub(super) async fn connect(
        &self,
        response_timeout: Duration,
    ) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        let connecting = async {
            match &mut *self.finder.lock().await {
                Finder::At(client) => {
                    client
                        .get_multiplexed_async_connection_with_config(&config)
                        .await
                }
                Finder::BySentinels(sentinels) => {
                    sentinels.get_async_connection_with_config(&config).await
                }
            }
        };
        match timeout(FIND_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|err| reason(&err)),
            Err(_) => Err("it was not found in time".to_owned()),
        }
    }

    /// Opens the write connection, checks that this Redis can be used, sends a heartbeat, and returns the
    /// response. Fails with the reason as text.
    pub(super) async fn open(
        &self,
        memory: Option<&MemoryLog>,
    ) -> Result<HeartbeatResponse, String> {
        let mut connection = self.connect(RESPONSE_TIMEOUT).await?;
        let process = Process::of(&mut connection).await?;
        process.check()?;
        self.process.replace(process.identity());
        let heartbeat = self.heartbeat_by(&mut connection, memory).await;
        let heartbeat = heartbeat.map_err(|err| reason(&err))?;
        self.connections.set(self.connections.get() + 1);
        self.connection.replace(Some(connection));
        self.is_writable.store(true, Ordering::Relaxed);
        if !self.reasons.take().is_empty() {
            log::info!("the log in {} can be written again", self.url);
        }
        Ok(heartbeat)
    }

    /// The newest id that this node has read from the log or that Redis has acknowledged to it. `None`: no id
    /// yet.
    fn last_known(&self, memory: Option<&MemoryLog>) -> Option<EventId> {
        let read = memory.and_then(|memory| memory.id_before(memory.next()));
        read.max(self.acknowledged.get())
    }

    /// Records that Redis has acknowledged the entry with this id.
    pub(super) fn note_acknowledged(&self, id: EventId) {
        let newest = self.acknowledged.get().max(Some(id));
        self.acknowledged.set(newest);
    }

    /// The epoch that this node considers current, and the newest seq of this epoch that it knows; 0 if none.
    fn head(&self, memory: &MemoryLog) -> LogHead {
        let epoch = self.epoch();
        let last = self.last_known(Some(memory));
        let seq = last.filter(|id| id.epoch == epoch).map_or(0, |id| id.seq);
        LogHead { epoch, seq }
    }

    async fn heartbeat_by(
        &self,
        connection: &mut MultiplexedConnection,
        memory: Option<&MemoryLog>,
    ) -> Result<HeartbeatResponse, RedisError> {
        let last = self.last_known(memory);
        let last = last.map_or_else(|| "0-0".to_owned(), EventId::bare);
        let process = self.process.borrow().clone();
        let call = self
            .scripts
            .heartbeat(&process, (self.epoch(), &last), self.ticks.get());
        let answer = call.invoke_async(connection).await?;
        let heartbeat = HeartbeatResponse::read(answer).ok_or_else(unexpected)?;
        *self.remembered_keys.lock() = (heartbeat.keys, heartbeat.oldest_key);
        let value_state = self.value_state.replace(heartbeat.value_state);
        if let Some(memory) = memory.filter(|_| value_state != heartbeat.value_state) {
            Self::note_value_state(memory, heartbeat.value_state);
        }
        let before = self.epoch.replace(heartbeat.epoch);
        if before != heartbeat.epoch && before != 0 {
            log::warn!(
                "the log in {} continues in epoch {}: Redis was restarted, replaced or emptied, or its keys \
                 were changed by somebody else; subscribers that may have lost events receive a gap",
                self.url,
                heartbeat.epoch
            );
        }
        Ok(heartbeat)
    }

    /// Notes in memory which values may be missing or outdated in Redis.
    fn note_value_state(memory: &MemoryLog, state: ValueState) {
        if state.has_dropped {
            memory.set_values_dropped();
        }
        if state.lost_until.is_some() {
            memory.set_values_uncertain_before(memory.next());
        }
    }

    /// Sends a heartbeat on the write connection.
    pub(super) async fn heartbeat(&self, memory: &MemoryLog) -> Result<HeartbeatResponse, Lost> {
        let (number, mut connection) = self.connected()?;
        let heartbeat = self.heartbeat_by(&mut connection, Some(memory)).await;
        heartbeat.map_err(|err| self.lose(number, &err))
    }

    /// The write connection and its number. Fails if there is no write connection.
    fn connected(&self) -> Result<(u64, MultiplexedConnection), Lost> {
        let connection = self.connection.borrow().clone();
        Ok((self.connections.get(), connection.ok_or(Lost)?))
    }

    /// Runs a script and returns its response. The script returns `STALE` if this node has another epoch than
    /// the log, or if the log was replaced or changed by another program. This function then sends a
    /// heartbeat and runs the script once more. The heartbeat returns the current epoch, or begins a new one.
    pub(super) async fn call<'a>(
        &self,
        memory: &MemoryLog,
        script: impl Fn(LogHead) -> ScriptInvocation<'a>,
    ) -> Result<Value, Lost> {
        let mut is_known = false;
        loop {
            let (number, mut connection) = self.connected()?;
            let answer = script(self.head(memory))
                .invoke_async(&mut connection)
                .await;
            match answer {
                Err(err) if err.code() == Some("STALE") && !is_known => {
                    self.heartbeat(memory).await?;
                    is_known = true;
                }
                // The script returned `STALE` again. The connection works, so keep it.
                Err(err) if err.code() == Some("STALE") => return Err(Lost),
                answer => return answer.map_err(|err| self.lose(number, &err)),
            }
        }
    }

    /// Runs a command on the write connection and returns the response.
    pub(super) async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Lost> {
        let (number, mut connection) = self.connected()?;
        let answer = cmd.query_async(&mut connection).await;
        answer.map_err(|err| self.lose(number, &err))
    }

    /// Drops the write connection with this number after an error, unless a newer connection has already
    /// replaced it. The heartbeat task then opens another one, possibly to a new master.
    fn lose(&self, number: u64, err: &RedisError) -> Lost {
        if number == self.connections.get() && self.connection.take().is_some() {
            self.is_writable.store(false, Ordering::Relaxed);
            self.log_failure(&reason(err));
            self.lost.notify_one();
        }
        Lost
    }

    /// Logs why Redis cannot be written. During an outage, each reason is logged as an error once.
    /// Repetitions, and all reasons after the first [`MAX_REASONS`], are logged as debug.
    pub(super) fn log_failure(&self, reason: &str) {
        let mut reasons = self.reasons.borrow_mut();
        let is_new = reasons.len() < MAX_REASONS && reasons.insert(reason.to_owned());
        log::log!(
            once::level(is_new),
            "the log in {} cannot be written, so publishing is refused until it can: {reason}",
            self.url
        );
    }
}

fn unexpected() -> RedisError {
    (
        redis::ErrorKind::UnexpectedReturnType,
        "a heartbeat response in another format than that of the script",
    )
        .into()
}
