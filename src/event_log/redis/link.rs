//! The connection to Redis that a node writes by, and whether it can.

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
    },
    error::{Lost, reason},
    process::Process,
    scripts::{Head, Pulse, Scripts},
};
use crate::event::EventId;

/// How long Redis may take to be found, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same where Sentinels have to be asked first.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// How many reasons are logged from one failure of Redis to its end.
const MAX_REASONS: usize = 8;

/// What the tasks of a node share.
pub(super) struct Link {
    url: RedisUrl,
    finder: Mutex<Finder>,
    pub(super) scripts: Scripts,
    connection: RefCell<Option<MultiplexedConnection>>,
    /// How often there was a new one.
    connections: Cell<u64>,
    process: RefCell<String>,
    epoch: Cell<u64>,
    /// The newest event that was acknowledged, if any was.
    acknowledged: Cell<Option<EventId>>,
    /// How many numbered messages there were, as far as is known.
    pub(super) ticks: Cell<u64>,
    /// Wakes whoever looks after the connection.
    pub(super) lost: Notify,
    is_writable: Arc<AtomicBool>,
    /// Why Redis could not be used since it last could, as far as that was logged.
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
            reasons: RefCell::default(),
        }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// The epoch that the log is in, as far as is known; 0: not known yet.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// True while Redis can be written, as far as is known.
    pub(super) fn is_writable(&self) -> Arc<AtomicBool> {
        self.is_writable.clone()
    }

    /// Changes when another connection is there, to another Redis, maybe.
    pub(super) fn connections(&self) -> u64 {
        self.connections.get()
    }

    pub(super) fn can_write(&self) -> bool {
        self.is_writable.load(Ordering::Relaxed)
    }

    /// A connection of its own to the master.
    pub(super) async fn connect(
        &self,
        patience: Duration,
    ) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(patience));
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

    /// Connects, and says that this node is there.
    pub(super) async fn open(&self, memory: Option<&MemoryLog>) -> Result<Pulse, String> {
        let mut connection = self.connect(RESPONSE_TIMEOUT).await?;
        let process = Process::of(&mut connection).await?;
        process.check()?;
        self.process.replace(process.identity());
        let pulse = self.pulse_by(&mut connection, memory).await;
        let pulse = pulse.map_err(|err| reason(&err))?;
        self.connections.set(self.connections.get() + 1);
        self.connection.replace(Some(connection));
        self.is_writable.store(true, Ordering::Relaxed);
        if !self.reasons.take().is_empty() {
            log::info!("the log in {} can be written again", self.url);
        }
        Ok(pulse)
    }

    /// The newest id that this node has read or was acknowledged.
    fn last_known(&self, memory: Option<&MemoryLog>) -> Option<EventId> {
        let read = memory.and_then(|memory| memory.id_before(memory.next()));
        read.max(self.acknowledged.get())
    }

    /// Notes that the log has an event of this id.
    pub(super) fn note_acknowledged(&self, id: EventId) {
        let newest = self.acknowledged.get().max(Some(id));
        self.acknowledged.set(newest);
    }

    fn head(&self, memory: &MemoryLog) -> Head {
        let epoch = self.epoch();
        let last = self.last_known(Some(memory));
        let seq = last.filter(|id| id.epoch == epoch).map_or(0, |id| id.seq);
        Head { epoch, seq }
    }

    async fn pulse_by(
        &self,
        connection: &mut MultiplexedConnection,
        memory: Option<&MemoryLog>,
    ) -> Result<Pulse, RedisError> {
        let last = self.last_known(memory);
        let last = last.map_or_else(|| "0-0".to_owned(), EventId::bare);
        let process = self.process.borrow().clone();
        let call = self
            .scripts
            .pulse(&process, (self.epoch(), &last), self.ticks.get());
        let answer = call.invoke_async(connection).await?;
        let pulse = Pulse::read(answer).ok_or_else(unexpected)?;
        let before = self.epoch.replace(pulse.epoch);
        if before != pulse.epoch && before != 0 {
            log::warn!(
                "the log in {} goes on in epoch {}: Redis was restarted, replaced or emptied, or its keys \
                 were changed by somebody else; subscribers that may have lost events receive a gap",
                self.url,
                pulse.epoch
            );
        }
        Ok(pulse)
    }

    /// Says that this node is there.
    pub(super) async fn pulse(&self, memory: &MemoryLog) -> Result<Pulse, Lost> {
        let (number, mut connection) = self.connected()?;
        let pulse = self.pulse_by(&mut connection, Some(memory)).await;
        pulse.map_err(|err| self.lose(number, &err))
    }

    fn connected(&self) -> Result<(u64, MultiplexedConnection), Lost> {
        let connection = self.connection.borrow().clone();
        Ok((self.connections.get(), connection.ok_or(Lost)?))
    }

    /// Has Redis do something in one step, in the epoch that there is, should that be another than was
    /// thought.
    pub(super) async fn call<'a>(
        &self,
        memory: &MemoryLog,
        script: impl Fn(Head) -> ScriptInvocation<'a>,
    ) -> Result<Value, Lost> {
        let mut is_known = false;
        loop {
            let (number, mut connection) = self.connected()?;
            let answer = script(self.head(memory))
                .invoke_async(&mut connection)
                .await;
            match answer {
                Err(err) if err.code() == Some("STALE") && !is_known => {
                    self.pulse(memory).await?;
                    is_known = true;
                }
                // That it changed again is no reason to leave this Redis.
                Err(err) if err.code() == Some("STALE") => return Err(Lost),
                answer => return answer.map_err(|err| self.lose(number, &err)),
            }
        }
    }

    pub(super) async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Lost> {
        let (number, mut connection) = self.connected()?;
        let answer = cmd.query_async(&mut connection).await;
        answer.map_err(|err| self.lose(number, &err))
    }

    /// Gives a connection up that failed, or whose Redis does. The next is to another, maybe.
    fn lose(&self, number: u64, err: &RedisError) -> Lost {
        if number == self.connections.get() && self.connection.take().is_some() {
            self.is_writable.store(false, Ordering::Relaxed);
            self.say(&reason(err));
            self.lost.notify_one();
        }
        Lost
    }

    /// Says why Redis cannot be used: each reason once, however often it is tried.
    pub(super) fn say(&self, reason: &str) {
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
        "an answer that a script does not give",
    )
        .into()
}
