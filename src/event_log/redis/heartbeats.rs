//! Keeps a connection to Redis, and says every second that the node is there.

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::{
    super::memory::MemoryLog,
    link::Link,
    log_writer::{Command, Task},
    scripts::Pulse,
    subscriptions::Subscriptions,
};

/// How often a node says that it is there.
pub(super) const PULSE: Duration = Duration::from_secs(1);

/// How often Redis is tried again that is not there.
const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// How often in a row a node has to be taken for dead: after Redis was away all are, until they had
/// their turn.
const TIMES_DEAD: u32 = 3;

pub(super) struct Heartbeats {
    pub(super) link: Rc<Link>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) subscriptions: Rc<Subscriptions>,
    pub(super) commands: mpsc::WeakUnboundedSender<Command>,
}

impl Heartbeats {
    /// Goes on for as long as somebody gives commands.
    pub(super) async fn run(self) {
        let mut dead = HashMap::new();
        let mut epoch = None;
        loop {
            tokio::select! {
                () = sleep(PULSE) => {}
                () = self.link.lost.notified() => {}
            }
            let pulse = match self.link.pulse(&self.memory).await {
                Ok(pulse) => pulse,
                Err(_) => {
                    dead.clear();
                    match self.reopen().await {
                        Some(pulse) => pulse,
                        None => continue,
                    }
                }
            };
            let Some(commands) = self.commands.upgrade() else {
                return;
            };
            if epoch
                .replace(pulse.epoch)
                .is_some_and(|before| before != pulse.epoch)
            {
                // What was lost with the last epoch may be a subscription that came, or one that went.
                self.subscriptions.doubt();
            }
            dead = times(&dead, pulse.dead);
            let gone = dead.iter().filter(|(_, times)| **times >= TIMES_DEAD);
            let gone: Vec<_> = gone.map(|(node, _)| node.clone()).collect();
            let task = if self.subscriptions.are_other_than(pulse.subscriptions) {
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

    async fn reopen(&self) -> Option<Pulse> {
        match self.link.open(Some(&self.memory)).await {
            Ok(pulse) => Some(pulse),
            Err(reason) => {
                self.link.say(&reason);
                sleep(RETRY_INTERVAL).await;
                self.link.lost.notify_one();
                None
            }
        }
    }
}

/// How often in a row each of these was taken for dead, as it was before for others.
fn times(before: &HashMap<String, u32>, now: Vec<String>) -> HashMap<String, u32> {
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
    fn who_is_there_again_is_not_dead_any_more() {
        let dead = |nodes: &[&str]| nodes.iter().map(ToString::to_string).collect();
        let once = times(&HashMap::new(), dead(&["a", "b"]));
        let twice = times(&once, dead(&["b", "c"]));

        assert_eq!((once["a"], once["b"]), (1, 1));
        assert_eq!((twice.get("a"), twice["b"], twice["c"]), (None, 2, 1));
    }
}
