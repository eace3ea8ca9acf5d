//! The names of the keys in Redis. Those of one log are in one slot of a Redis Cluster.

/// The names of a log's keys.
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

    /// The stream of the events.
    pub(super) fn log(&self) -> &str {
        &self.log
    }

    /// A hash: format, process, epoch, the number of the last entry and how many of its epoch are not presence,
    /// where earlier epochs ended, and how far
    /// the ticker is.
    pub(super) fn about(&self) -> &str {
        &self.about
    }

    /// When each node was last there, a sorted set.
    pub(super) fn nodes(&self) -> &str {
        &self.nodes
    }

    /// Which id was the last at a time, a sorted set.
    pub(super) fn times(&self) -> &str {
        &self.times
    }

    /// A hash for each node: its active subscriptions by their paths.
    pub(super) fn subscriptions(&self, node: &str) -> String {
        format!("{}{node}", self.subscriptions)
    }

    /// The ids of the events that tell of active subscriptions, a list, oldest first.
    pub(super) fn presence(&self) -> &str {
        &self.presence
    }

    /// A hash: the ids that publishers gave, and those of their events.
    pub(super) fn given_ids(&self) -> &str {
        &self.given_ids
    }
}
