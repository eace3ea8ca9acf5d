//! The heartbeat task: reports every second that this node (one of the servers that share the log) is alive,
//! and reconnects after a failure. The response shows what needs repair: subscriptions of this node that
//! differ from those in Redis, and nodes that are dead.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::{
    super::memory::MemoryLog,
    link::Link,
    log_writer::{Command, Task},
    revocations::SharedRevocations,
    scripts::HeartbeatResponse,
    subscriptions::Subscriptions,
};

/// Interval between heartbeats.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Pause between attempts to reconnect to Redis.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// If this many heartbeat responses in a row report a node as dead, the subscriptions of the dead node are
/// ended. One report is not enough: after an outage of Redis, every node looks dead until it has sent a
/// heartbeat.
const DEAD_REPORTS_TO_EXPIRE: u32 = 3;

pub(super) struct Heartbeats {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) subscriptions: Rc<Subscriptions>,
    pub(super) commands: mpsc::WeakUnboundedSender<Command>,
    pub(super) revocations: Rc<SharedRevocations>,
}

impl Heartbeats {
    /// Sends heartbeats until the log is closed, that is, until all senders of commands are dropped.
    pub(super) async fn run(self) {
        let mut dead = HashMap::new();
        let mut epoch = None;
        loop {
            tokio::select! {
                () = sleep(HEARTBEAT_INTERVAL) => {}
                () = self.link.lost.notified() => {}
            }
            let heartbeat = match self.link.heartbeat(&self.memory).await {
                Ok(heartbeat) => heartbeat,
                Err(_) => {
                    dead.clear();
                    match self.reopen().await {
                        Some(heartbeat) => heartbeat,
                        None => continue,
                    }
                }
            };
            // If this fails, the next heartbeat finds the same difference.
            let followed =
                self.revocations
                    .follow(&self.link, Some(&self.memory), &heartbeat.revocations);
            followed.await.ok();
            let Some(commands) = self.commands.upgrade() else {
                return;
            };
            if epoch
                .replace(heartbeat.epoch)
                .is_some_and(|before| before != heartbeat.epoch)
            {
                // A new epoch means that Redis may have lost data, perhaps also changes of subscriptions that
                // this node announced. So mark the subscriptions as unsure, which makes this node compare
                // them with Redis.
                self.subscriptions.doubt();
            }
            dead = dead_reports(&dead, heartbeat.dead);
            let gone = dead
                .iter()
                .filter(|(_, times)| **times >= DEAD_REPORTS_TO_EXPIRE);
            let gone: Vec<_> = gone.map(|(node, _)| node.clone()).collect();
            let task = if self.subscriptions.must_reconcile(heartbeat.subscriptions) {
                Task::Reconcile
            } else if !gone.is_empty() {
                Task::ExpireNodes(gone)
            } else {
                continue;
            };
            if !self.subscriptions.is_busy.replace(true) {
                commands.send(Command::Do(task)).ok();
            }
        }
    }

    /// Tries once to reconnect to Redis, and returns the response to the first heartbeat. If that fails,
    /// pauses and returns `None`; [`Self::run`] then tries again immediately.
    async fn reopen(&self) -> Option<HeartbeatResponse> {
        match self.link.open(Some(&self.memory)).await {
            Ok(heartbeat) => Some(heartbeat),
            Err(reason) => {
                self.link.log_failure(&reason);
                sleep(RETRY_INTERVAL).await;
                self.link.lost.notify_one();
                None
            }
        }
    }
}

/// Returns, for each dead node, how many heartbeat responses in a row have reported it. `before` has the
/// counts up to the previous response. `now` lists the nodes in the current response; all other nodes are no
/// longer counted.
fn dead_reports(before: &HashMap<String, u32>, now: Vec<String>) -> HashMap<String, u32> {
    let count = |node: String| {
        let times = before.get(&node).map_or(1, |times| times + 1);
        (node, times)
    };
    now.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_returns_is_no_longer_counted_as_dead() {
        let dead = |nodes: &[&str]| nodes.iter().map(ToString::to_string).collect();
        let once = dead_reports(&HashMap::new(), dead(&["a", "b"]));
        let twice = dead_reports(&once, dead(&["b", "c"]));

        assert_eq!((once["a"], once["b"]), (1, 1));
        assert_eq!((twice.get("a"), twice["b"], twice["c"]), (None, 2, 1));
    }
}
