//! What Redis does in one step, so that no other node comes in between.

use std::time::Duration;

use redis::{Script, ScriptInvocation, Value};

use super::{
    super::{
        kind::RedisSettings,
        memory::MemoryLog,
        ticker::{GRACE, TickerSettings},
    },
    entry::written,
    names::Names,
};
use crate::event::{Event, EventId, PresenceChange};

/// How entries are kept. A log of another format is not touched.
const FORMAT: &str = "3";

/// The largest epoch that the scripts take for one of theirs; see common.lua.
pub(super) const MAX_EPOCH: u64 = 1 << 52;

/// A node that said nothing for this long is taken for dead, in milliseconds.
const DEAD_AFTER: u64 = 10_000;

/// How many numbered messages are appended at once.
const MAX_TICKS: usize = 64;

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Bytes, about, unless one entry has more.
    pub(super) bytes: usize,
    pub(super) entries: usize,
}

/// The scripts, and what they are told that is always the same.
pub(super) struct Scripts {
    names: Names,
    events: usize,
    presence: usize,
    age: Option<Duration>,
    node: String,
    append: Script,
    announce: Script,
    pulse: Script,
    read: Script,
    tick: Script,
}

/// How far a node knows the log. A script that finds it shorter appends nothing: an older copy was put in
/// its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) epoch: u64,
    /// The largest number of this epoch that the node has read or was acknowledged; 0: none.
    pub(super) seq: u64,
}

/// What a node hears when it says that it is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) epoch: u64,
    /// The last id that was given.
    pub(super) last: EventId,
    /// How many of its subscriptions are known.
    pub(super) subscriptions: usize,
    /// Redis' time, in milliseconds since 1970.
    pub(super) now: u64,
    /// Nodes that are gone, with subscriptions.
    pub(super) dead: Vec<String>,
}

/// What became of numbered messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticked {
    pub(super) appended: usize,
    /// Until the next is due, in microseconds.
    pub(super) wait: u64,
    /// How late the latest was, in microseconds.
    pub(super) late: u64,
    /// The last number of the epoch.
    pub(super) seq: u64,
}

impl Scripts {
    /// `presence`: how many events are kept that tell of active subscriptions.
    pub(super) fn new(settings: &RedisSettings, presence: usize, node: String) -> Self {
        Self {
            names: Names::new(&settings.prefix),
            events: settings.events,
            presence,
            age: settings.age,
            node,
            append: common(include_str!("scripts/append.lua")),
            announce: common(include_str!("scripts/announce.lua")),
            pulse: common(include_str!("scripts/pulse.lua")),
            read: Script::new(include_str!("scripts/read.lua")),
            tick: common(include_str!("scripts/tick.lua")),
        }
    }

    /// Bounds the newer half of `memory` by half of what this log retains, where that is smaller.
    pub(super) fn limit_newer_half(&self, memory: MemoryLog) -> MemoryLog {
        memory.with_archive_bounds(self.events, self.age)
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    fn on_log<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(self.names.log()).key(self.names.about());
        call.key(self.names.given_ids()).key(self.names.presence());
        call
    }

    /// Answers with the ids, in their order.
    pub(super) fn append<'a>(
        &self,
        head: Head,
        events: impl Iterator<Item = &'a Event>,
    ) -> ScriptInvocation<'_> {
        let mut call = self.on_log(&self.append);
        call.arg(head.epoch).arg(head.seq).arg(self.events);
        for event in events {
            let (record, data) = written(event);
            let given = event.given_id().map_or("", |given| given.as_str());
            call.arg(record).arg(data).arg(given);
        }
        call
    }

    /// Tells of changes among a node's subscriptions.
    pub(super) fn announce(
        &self,
        head: Head,
        node: &str,
        changes: &[PresenceChange],
    ) -> ScriptInvocation<'_> {
        let mut call = self.on_log(&self.announce);
        call.key(self.names.subscriptions(node));
        call.arg(head.epoch).arg(head.seq);
        call.arg(self.events).arg(self.presence);
        for change in changes {
            let (record, data) = written(&change.event);
            // What is told is the document.
            let document = if change.is_active() { data } else { "" };
            call.arg(change.path()).arg(document);
            call.arg(record).arg(data);
        }
        call
    }

    /// Says that this node is there, connected to this process, and which epoch and last id it knows.
    pub(super) fn pulse(
        &self,
        process: &str,
        (epoch, last): (u64, &str),
        ticks: u64,
    ) -> ScriptInvocation<'_> {
        let mut call = self.on_log(&self.pulse);
        call.key(self.names.nodes()).key(self.names.times());
        call.arg(FORMAT).arg(&self.node).arg(process);
        call.arg(last).arg(ticks).arg(DEAD_AFTER);
        let age = self.age.map_or(0, |age| age.as_millis() as u64);
        call.arg(self.events).arg(age);
        call.arg(self.names.subscriptions("")).arg(epoch);
        call
    }

    /// Reads from an id on, as XRANGE takes it.
    pub(super) fn read(&self, from: &str, most: Most) -> ScriptInvocation<'_> {
        let mut call = self.read.key(self.names.log());
        call.arg(from).arg(most.bytes).arg(most.entries);
        call
    }

    /// Appends the numbered messages that are due.
    pub(super) fn tick(&self, head: Head, settings: &TickerSettings) -> ScriptInvocation<'_> {
        let event = Event::message(settings.message.clone());
        let (record, message) = written(&event);
        let [interval, grace] = [settings.interval, GRACE].map(|time| time.as_micros() as u64);
        let mut call = self.on_log(&self.tick);
        call.arg(head.epoch).arg(head.seq).arg(self.events);
        call.arg(interval).arg(grace);
        call.arg(MAX_TICKS).arg(record).arg(message);
        call
    }
}

/// A script that begins with what several need.
fn common(code: &str) -> Script {
    Script::new(&format!("{}{code}", include_str!("scripts/common.lua")))
}

impl Pulse {
    pub(super) fn read(value: Value) -> Option<Self> {
        let (epoch, last, subscriptions, now, dead) =
            redis::from_redis_value::<(u64, String, usize, u64, Vec<String>)>(value).ok()?;
        Some(Self {
            epoch,
            last: EventId::parse(&last).ok()?,
            subscriptions,
            now,
            dead,
        })
    }
}

impl Ticked {
    pub(super) fn read(value: Value) -> Option<Self> {
        let (appended, wait, late, seq) =
            redis::from_redis_value::<(usize, i64, u64, u64)>(value).ok()?;
        let wait = u64::try_from(wait).unwrap_or(0);
        Some(Self {
            appended,
            wait,
            late,
            seq,
        })
    }
}
