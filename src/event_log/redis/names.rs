//! The names of the keys of a log in Redis. The prefix is a hash tag, so all keys of a log are in one slot
//! of a Redis Cluster, as scripts require.

/// The names of the keys of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    log: String,
    about: String,
    nodes: String,
    times: String,
    subscriptions: String,
    given_ids: String,
    presence: String,
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
        }
    }

    /// A stream: the events, and an entry at the start of each epoch.
    pub(super) fn log(&self) -> &str {
        &self.log
    }

    /// A hash with the state of the log:
    /// - `format`, and `process`, the `run_id` of Redis;
    /// - `epoch`, and `seq` of its last entry;
    /// - `others`: number of entries of the epoch that are not presence events;
    /// - `end:{epoch}`: the largest `seq` of an earlier epoch, lost events included;
    /// - `ticks`: number of the ticker's next message;
    /// - `last_tick`: the ticker's previous deadline, at first the time when it began, in µs since 1970.
    pub(super) fn about(&self) -> &str {
        &self.about
    }

    /// A sorted set: the nodes by the time of their last heartbeat, in milliseconds since 1970.
    pub(super) fn nodes(&self) -> &str {
        &self.nodes
    }

    /// A sorted set: ids by the time at which each was the last id of the log, in milliseconds since 1970.
    /// Eviction by age uses it.
    pub(super) fn times(&self) -> &str {
        &self.times
    }

    /// A hash for each node: path of an active subscription to its JSON document.
    pub(super) fn subscriptions(&self, node: &str) -> String {
        format!("{}{node}", self.subscriptions)
    }

    /// A list: the ids of the presence events, oldest first.
    pub(super) fn presence(&self) -> &str {
        &self.presence
    }

    /// A hash: given id to the id of the entry.
    pub(super) fn given_ids(&self) -> &str {
        &self.given_ids
    }
}
