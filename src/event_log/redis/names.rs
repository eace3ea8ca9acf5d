//! The names of the keys of a log in Redis. The prefix is a hash tag, so all keys of a log are in one slot
//! of a Redis Cluster, as scripts require.

/// The names of the Redis keys of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    log: String,
    about: String,
    nodes: String,
    times: String,
    subscriptions: String,
    given_ids: String,
    presence: String,
    keys: String,
    key_order: String,
    values: String,
    value_order: String,
    revocations: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        let name = |what: &str| format!("{{{prefix}}}:{what}");
        Self {
            log: name("log"),
            about: name("about"),
            nodes: name("nodes"),
            times: name("times"),
            subscriptions: name("subscriptions:"),
            given_ids: name("ids"),
            presence: name("presence"),
            keys: name("keys"),
            key_order: name("key-order"),
            values: name("values"),
            value_order: name("value-order"),
            revocations: name("revocations"),
        }
    }

    /// Key of a stream: the events, and an entry at the start of each epoch.
    pub(super) fn log(&self) -> &str {
        &self.log
    }

    /// Key of a hash with the state of the log:
    /// - `format`: version of the format, and `process`: the `run_id` of Redis;
    /// - `epoch`: the current epoch, and `seq`: the seq of its last entry;
    /// - `at`: when the newest event was appended, or when a loss was noticed if that is later, in milliseconds
    ///   since 1970;
    /// - `others`: number of events of the current epoch that are not presence events (events about active
    ///   subscriptions);
    /// - `end:{epoch}`: the largest `seq` of an earlier epoch, even if its event was lost;
    /// - `values`: four numbers about [`values`](Self::values): how many there are, their bytes, how many are
    ///   private, and the largest score in [`value_order`](Self::value_order). `off` if values are not kept;
    /// - `values_dropped`: 1 if values were dropped at a limit, otherwise absent;
    /// - `values_lost_until`: values of events up to this id may be missing or outdated, because of a loss.
    ///   Absent until something is lost;
    /// - `revocations`: the version of [`revocations`](Self::revocations), which revoke.lua describes;
    /// - `ticks`: number of the ticker's next message;
    /// - `last_tick`: the ticker's last deadline, or when its schedule began if that is later, in µs since
    ///   1970.
    pub(super) fn about(&self) -> &str {
        &self.about
    }

    /// Key of a sorted set: the nodes (servers that share the log), by the time of their last heartbeat in
    /// milliseconds since 1970.
    pub(super) fn nodes(&self) -> &str {
        &self.nodes
    }

    /// Key of a sorted set: some ids, by the time at which each was the last id of the log, in milliseconds
    /// since 1970. Eviction by age uses it to find the ids of events that are too old. Not used if `log.age`
    /// is off.
    pub(super) fn times(&self) -> &str {
        &self.times
    }

    /// Key of a hash, one for each node: maps the path of an active subscription to its JSON document.
    pub(super) fn subscriptions(&self, node: &str) -> String {
        format!("{}{node}", self.subscriptions)
    }

    /// Key of a list: the ids of the presence events (events about active subscriptions), oldest first. May
    /// begin with ids of events that are already evicted.
    pub(super) fn presence(&self) -> &str {
        &self.presence
    }

    /// Key of a hash: finds entries of the stream by the ids that publishers chose.
    /// - `{id that a publisher chose}`: the oldest entry with this id;
    /// - `#{entry}`: the next newer entry with the same id, if there is one;
    /// - `#{id that a publisher chose}`: the newest entry with this id, if there are or were several;
    /// - `##{entry}`: a hash of the content of the entry;
    /// - an id that a publisher chose, a line break and a hash of a content: the newest entry with both.
    pub(super) fn given_ids(&self) -> &str {
        &self.given_ids
    }

    /// Key of a hash: maps a hash of an idempotency key to the update that it came with (a hash of it), the
    /// time of its first use in milliseconds since 1970, and the id of the event.
    pub(super) fn keys(&self) -> &str {
        &self.keys
    }

    /// Key of a list: the fields of [`keys`](Self::keys), oldest first.
    pub(super) fn key_order(&self) -> &str {
        &self.key_order
    }

    /// Key of a hash: the current values of topics. A field is a topic after `+` for its newest public event,
    /// or after `-` for a newer private one. A value is the id of the event, its time in milliseconds since
    /// 1970, the length of its record, all three followed by a space, its record and its data. A private value
    /// without data hides the public one.
    pub(super) fn values(&self) -> &str {
        &self.values
    }

    /// Key of a sorted set: the fields of [`values`](Self::values), by a number that grows with each update.
    pub(super) fn value_order(&self) -> &str {
        &self.value_order
    }

    /// Key of a sorted set: what is revoked, by the time in milliseconds since 1970.
    pub(super) fn revocations(&self) -> &str {
        &self.revocations
    }
}
