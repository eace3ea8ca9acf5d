//! The Lua scripts: their arguments and their responses. Redis runs a script atomically, so no other server
//! can act between its steps. The order of keys and arguments in this file must match the comment at the top
//! of each script.

use std::time::Duration;

use redis::{Script, ScriptInvocation, Value};

use super::{
    super::{
        append::{Append, AppendResult, Appended, PublishSettings, Refusal},
        error::LogUnavailable,
        kind::RedisSettings,
        memory::MemoryLog,
        read::{Retention, ValueRetention},
        record::millis_since_1970,
        revocations::MAX_REVOCATIONS,
        stored_value::ValueState,
        ticker::{MAX_LATENESS, TickerSettings},
    },
    entry::written,
    names::Names,
};
use crate::event::{
    Event, EventId, Hash128, KeyedUpdate, PresenceChange, Since, content_hash, urn,
};

/// Version of the format in which Redis stores the log. A log with another format is refused and not changed.
const FORMAT: &str = "3";

/// The same as `LARGEST_EPOCH` in common.lua. An id with a larger epoch was written by another program,
/// unless that epoch is the current one.
pub(super) const MAX_EPOCH: u64 = 1 << 51;

/// A node (one of the servers that share the log) without a heartbeat for this many milliseconds is reported
/// as dead.
const NODE_TIMEOUT_MILLIS: u64 = 10_000;

/// Maximum number of ticker messages that one call of tick.lua appends. If more are due, the next call
/// appends them.
const MAX_TICKS: usize = 64;

/// Limits of one call of read.lua.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadLimits {
    /// Approximate maximum size of all entries together, in bytes. The first entry is read even if it is
    /// larger.
    pub(super) bytes: usize,
    pub(super) entries: usize,
}

/// The scripts, and the arguments that are the same in each call.
pub(super) struct Scripts {
    names: Names,
    events: usize,
    presence: usize,
    age: Option<Duration>,
    publishing: PublishSettings,
    values: ValueRetention,
    node: String,
    append: Script,
    announce: Script,
    heartbeat: Script,
    read: Script,
    revoke: Script,
    since: Script,
    tick: Script,
}

/// The epoch (first number of an event id) that this node considers current, and the newest seq (second
/// number) of this epoch that the node knows. A script appends nothing and returns the error `STALE` if Redis
/// has another epoch, or if the log in Redis ends before this seq. It ends too early if an older copy has
/// replaced it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogHead {
    pub(super) epoch: u64,
    /// The largest seq of this epoch that the node has read or that Redis has acknowledged to it; 0 if none.
    pub(super) seq: u64,
}

/// The response to a heartbeat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeartbeatResponse {
    pub(super) epoch: u64,
    /// The newest id of the log. Its entry may have been evicted.
    pub(super) last: EventId,
    /// Number of active subscriptions that Redis has stored for this node.
    pub(super) subscriptions: usize,
    /// The clock of Redis, in milliseconds since 1970.
    pub(super) now: u64,
    /// Number of idempotency keys in Redis.
    pub(super) keys: usize,
    /// When the oldest idempotency key was used, in milliseconds since 1970. `None`: there is no key.
    pub(super) oldest_key: Option<u64>,
    pub(super) value_state: ValueState,
    /// The version of the list of revoked tokens. Empty if there is none.
    pub(super) revocations: String,
    /// Nodes that are dead (they sent no heartbeat for [`NODE_TIMEOUT_MILLIS`]) and still have active
    /// subscriptions in Redis.
    pub(super) dead: Vec<String>,
}

/// The response of tick.lua, which appends the ticker messages that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TickResponse {
    /// Number of messages that this call appended.
    pub(super) appended: usize,
    /// Time until the next message is due, in microseconds. 0 if it is already due.
    pub(super) wait: u64,
    /// Lateness of the most delayed message of this call, which is the first one, in microseconds. 0 if no
    /// message was due.
    pub(super) late: u64,
    /// The id of the last entry of the log.
    pub(super) last: EventId,
}

impl Scripts {
    /// Of `retention`, Redis uses the limits of presence events (events about active subscriptions) and of the
    /// current values of topics. `node` identifies this server among those that share the log.
    pub(super) fn new(
        settings: &RedisSettings,
        publishing: PublishSettings,
        retention: Retention,
        node: String,
    ) -> Self {
        Self {
            names: Names::new(&settings.prefix),
            events: settings.events,
            presence: retention.presence,
            age: settings.age,
            publishing,
            values: retention.values,
            node,
            append: common(concat!(
                include_str!("scripts/values.lua"),
                include_str!("scripts/append.lua")
            )),
            announce: common(include_str!("scripts/announce.lua")),
            heartbeat: common(include_str!("scripts/pulse.lua")),
            read: Script::new(include_str!("scripts/read.lua")),
            revoke: Script::new(include_str!("scripts/revoke.lua")),
            since: Script::new(include_str!("scripts/since.lua")),
            tick: common(include_str!("scripts/tick.lua")),
        }
    }

    /// Tells `memory` how much of the log Redis retains, and returns it. The newer half of the history is
    /// then half of what both retain. If the last event id of an idle client is older, it may soon be
    /// evicted. The client then receives a checkpoint, an event that sets a newer id.
    pub(super) fn limit_newer_half(&self, memory: MemoryLog) -> MemoryLog {
        memory.with_archive_bounds(self.events, self.age)
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Prepares a call of a script, with the four keys that all scripts except read.lua and since.lua need.
    fn on_log<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(self.names.log()).key(self.names.about());
        call.key(self.names.given_ids()).key(self.names.presence());
        call
    }

    /// Prepares a call that appends events. The response has one text for each of them, in the same order,
    /// which [`append_result`] reads.
    pub(super) fn append(&self, head: LogHead, appends: &[Append]) -> ScriptInvocation<'_> {
        let mut call = self.on_log(&self.append);
        call.key(self.names.keys()).key(self.names.key_order());
        call.key(self.names.values()).key(self.names.value_order());
        call.arg(head.epoch).arg(head.seq).arg(self.events);
        let PublishSettings {
            unique_ids,
            idempotency_window,
            idempotency_keys,
        } = self.publishing;
        call.arg(idempotency_window.as_millis() as u64);
        call.arg(idempotency_keys).arg(u8::from(unique_ids));
        call.arg(self.values.topics).arg(self.values.bytes);
        for append in appends {
            let event = &append.event;
            let (record, data) = written(event);
            call.arg(record).arg(data);
            match event.given_id() {
                Some(given) => call.arg(given.as_str()).arg(hex(content_hash(event))),
                None => call.arg("").arg(""),
            };
            match append.keyed_update() {
                Some(KeyedUpdate { key, update }) => call.arg(hex(key)).arg(hex(update)),
                None => call.arg("").arg(""),
            };
            call.arg(scope(event));
        }
        call
    }

    /// Prepares a call that stores changes of the active subscriptions of a node. It appends a presence event
    /// for each change that is new to Redis. The response is the last id of the log.
    pub(super) fn announce(
        &self,
        head: LogHead,
        node: &str,
        changes: &[PresenceChange],
    ) -> ScriptInvocation<'_> {
        let mut call = self.on_log(&self.announce);
        call.key(self.names.subscriptions(node));
        call.arg(head.epoch).arg(head.seq);
        call.arg(self.events).arg(self.presence);
        for change in changes {
            let (record, data) = written(&change.event);
            // The data of a presence event is also the document of its subscription. An empty document means
            // that the subscription has ended.
            let document = if change.is_active() { data } else { "" };
            call.arg(change.path()).arg(document);
            call.arg(record).arg(data);
        }
        call
    }

    /// Prepares a heartbeat, which records that this node is alive. `process` is the `run_id` of the Redis
    /// process to which it is connected. `epoch`, `last` and `ticks` are the epoch, the last id and the
    /// number of ticker messages that the node knows (0, `0-0` and 0 if none). The response is a
    /// [`HeartbeatResponse`].
    pub(super) fn heartbeat(
        &self,
        process: &str,
        (epoch, last): (u64, &str),
        ticks: u64,
    ) -> ScriptInvocation<'_> {
        let mut call = self.on_log(&self.heartbeat);
        call.key(self.names.nodes()).key(self.names.times());
        call.key(self.names.keys()).key(self.names.key_order());
        call.key(self.names.values()).key(self.names.value_order());
        call.arg(FORMAT).arg(&self.node).arg(process);
        call.arg(last).arg(ticks).arg(NODE_TIMEOUT_MILLIS);
        let age = self.age.map_or(0, |age| age.as_millis() as u64);
        call.arg(self.events).arg(age);
        call.arg(self.names.subscriptions("")).arg(epoch);
        call
    }

    /// Prepares a call that reads entries in order. `from` is a lower bound in the syntax of `XRANGE`.
    pub(super) fn read(&self, from: &str, limits: ReadLimits) -> ScriptInvocation<'_> {
        let mut call = self.read.key(self.names.log());
        call.arg(from).arg(limits.bytes).arg(limits.entries);
        call
    }

    /// Prepares a call that changes the list of revoked tokens: what is revoked, and when, in milliseconds since
    /// 1970 (`None`: its revocation is lifted). The script describes its response.
    pub(super) fn revoke(
        &self,
        forget_before: u64,
        changes: &[(&str, Option<u64>)],
    ) -> ScriptInvocation<'_> {
        let mut call = self.revoke.key(self.names.about());
        call.key(self.names.revocations());
        call.arg(urn::random())
            .arg(forget_before)
            .arg(MAX_REVOCATIONS);
        for (tokens, at) in changes {
            let at = at.map_or_else(String::new, |at| at.to_string());
            call.arg(*tokens).arg(at);
        }
        call
    }

    /// Prepares a call that finds the first entry since a time. The script describes its response.
    pub(super) fn since(&self, since: Since) -> ScriptInvocation<'_> {
        let mut call = self.since.key(self.names.log());
        match since {
            Since::Age(age) => {
                let millis = u64::try_from(age.as_millis());
                call.arg("").arg(millis.unwrap_or(u64::MAX))
            }
            Since::Time(time) => call.arg(millis_since_1970(time)).arg(0),
        };
        call
    }

    /// Prepares a call that appends the ticker messages that are due. The response is a [`TickResponse`].
    pub(super) fn tick(&self, head: LogHead, settings: &TickerSettings) -> ScriptInvocation<'_> {
        let event = Event::message(settings.message.clone());
        let (record, message) = written(&event);
        let [interval, grace] =
            [settings.interval, MAX_LATENESS].map(|time| time.as_micros() as u64);
        let mut call = self.on_log(&self.tick);
        call.arg(head.epoch).arg(head.seq).arg(self.events);
        call.arg(interval).arg(grace);
        call.arg(MAX_TICKS).arg(record).arg(message);
        call
    }
}

/// `+` for a public event or `-` for a private one, followed by its topics, each after a line break, which a
/// topic cannot contain. Empty for an event that is no value of a topic.
fn scope(event: &Event) -> String {
    let Some(audience) = event.audience.as_ref().filter(|_| !event.is_presence()) else {
        return String::new();
    };
    let mut scope = String::from(if audience.private { '-' } else { '+' });
    for topic in &audience.topics {
        scope.push('\n');
        scope.push_str(topic.as_str());
    }
    scope
}

/// A hash as text, so that every value in Redis can be printed.
fn hex(hash: Hash128) -> String {
    format!("{:032x}", u128::from_be_bytes(hash.0))
}

/// Reads what append.lua returned for one event: an id, an id after `=` if the event was in the log already,
/// or the reason why it was refused.
pub(super) fn append_result(answer: &str) -> AppendResult {
    let appended = |id, is_replay| {
        let id = EventId::parse(id).map_err(|_| LogUnavailable)?;
        Ok(Appended { id, is_replay })
    };
    match (answer, answer.strip_prefix('=')) {
        ("KEY", _) => Err(Refusal::KeyReused),
        ("ID", _) => Err(Refusal::IdTaken),
        (_, Some(id)) => appended(id, true),
        (id, None) => appended(id, false),
    }
}

/// Creates a script from the functions in common.lua, followed by `code`.
fn common(code: &str) -> Script {
    Script::new(&format!("{}{code}", include_str!("scripts/common.lua")))
}

/// Reads the fields `values_dropped` and `values_lost_until` of the hash `about`; empty if they are absent.
pub(super) fn value_state(dropped: &str, lost_until: &str) -> ValueState {
    let mut state = ValueState {
        has_dropped: !dropped.is_empty(),
        lost_until: None,
    };
    if !lost_until.is_empty() {
        state.set_lost();
        // A text that is not an id was written by another program.
        state.lost_until = EventId::parse(lost_until).ok().or(state.lost_until);
    }
    state
}

impl HeartbeatResponse {
    pub(super) fn read(value: Value) -> Option<Self> {
        type OfValues = (String, String);
        type Response = (
            u64,
            String,
            usize,
            u64,
            Vec<String>,
            usize,
            u64,
            OfValues,
            String,
        );
        let (epoch, last, subscriptions, now, dead, keys, oldest_key, values, revocations) =
            redis::from_redis_value::<Response>(value).ok()?;
        Some(Self {
            epoch,
            last: EventId::parse(&last).ok()?,
            subscriptions,
            now,
            keys,
            oldest_key: (oldest_key > 0).then_some(oldest_key),
            value_state: value_state(&values.0, &values.1),
            revocations,
            dead,
        })
    }
}

impl TickResponse {
    pub(super) fn read(value: Value) -> Option<Self> {
        let (appended, wait, late, last) =
            redis::from_redis_value::<(usize, i64, u64, String)>(value).ok()?;
        let wait = u64::try_from(wait).unwrap_or(0);
        Some(Self {
            appended,
            wait,
            late,
            last: EventId::parse(&last).ok()?,
        })
    }
}
