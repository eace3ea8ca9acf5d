//! Carries out the commands of a node (one of the servers that share the log) in Redis: appends events,
//! announces subscriptions, ends the subscriptions of dead nodes. Commands that are already queued form a
//! batch. In a batch, all events are appended first, then all changes of subscriptions are announced.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};

use super::{
    super::{
        append::Append, appender::Listener, error::LogUnavailable, memory::MemoryLog,
        revocations::RevocationChange,
    },
    error::Lost,
    link::Link,
    reader::Reader,
    revocations::SharedRevocations,
    scripts,
    subscriptions::{Subscriptions, documents},
};
use crate::{
    event::{EventId, PresenceChange},
    matching::Reservation,
};

/// Maximum number of events in a batch. A batch also ends when its events need about `BATCH_BYTES` bytes of
/// memory. The limits are low because Redis does nothing else while a script runs. Later events go into the
/// next batch.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// Maximum number of subscription changes in a batch, and in one call of announce.lua.
const BATCH_CHANGES: usize = 256;

/// A command to the [`LogWriter`].
#[derive(Debug)]
pub(super) enum Command {
    /// Append an event, unless it is in the log already, and send the answer to its `ack`.
    Append(Append),
    /// Store the start or end of an active subscription of this node. If Redis did not have this change yet,
    /// append the presence event about it.
    Announce(PresenceChange, Reservation),
    Do(Task),
}

/// A task for [`Command::Do`]. It starts after all events and changes that were queued before it are appended
/// or refused.
#[derive(Debug)]
pub(super) enum Task {
    /// Correct the subscriptions of this node in Redis, so that they equal its active subscriptions.
    Reconcile,
    /// End the subscriptions of these dead nodes.
    ExpireNodes(Vec<String>),
    /// Send the active subscriptions of all nodes, as paths and JSON documents. If they cannot be read, the
    /// sender is dropped without a value.
    List(oneshot::Sender<Vec<(String, String)>>),
    /// Change the list of revoked tokens.
    Revoke(RevocationChange),
    /// Send a signal when all events and changes that were queued before are appended or refused.
    Flush(oneshot::Sender<()>),
}

/// The task that carries out the commands.
pub(super) struct LogWriter {
    pub(super) link: Rc<Link>,
    pub(super) reader: Rc<Reader>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// The active subscriptions of this node.
    pub(super) subscriptions: Rc<Subscriptions>,
    pub(super) revocations: Rc<SharedRevocations>,
}

impl LogWriter {
    pub(super) async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            let mut events = Vec::new();
            let mut changes = Vec::new();
            let mut announced = Vec::new();
            let mut task = None;
            let mut bytes = 0;
            let mut next = Some(command);
            while let Some(command) = next {
                match command {
                    Command::Append(append) => {
                        bytes += append.event.bytes();
                        events.push(append);
                    }
                    Command::Announce(change, queued) => {
                        changes.push(change);
                        announced.push(queued);
                    }
                    Command::Do(what) => {
                        task = Some(what);
                        break;
                    }
                }
                let is_full = events.len() >= BATCH_EVENTS
                    || bytes >= BATCH_BYTES
                    || changes.len() >= BATCH_CHANGES;
                next = if is_full {
                    None
                } else {
                    commands.try_recv().ok()
                };
            }
            self.append(events).await;
            self.announce_own(changes).await;
            drop(announced);
            if let Some(task) = task {
                self.carry_out(task).await;
            }
        }
    }

    async fn carry_out(&self, task: Task) {
        match task {
            Task::Reconcile => {
                self.reconcile().await;
                self.subscriptions.is_busy.set(false);
            }
            Task::ExpireNodes(nodes) => {
                for node in nodes {
                    self.expire_node(&node).await;
                }
                self.subscriptions.is_busy.set(false);
            }
            Task::List(done) => {
                let reader = self.reader.clone();
                tokio::task::spawn_local(async move {
                    if let Ok(all) = reader.subscriptions(|| done.is_closed()).await {
                        done.send(all).ok();
                    }
                });
            }
            Task::Revoke(change) => {
                let changed = self.revocations.change(&self.link, &self.memory, change);
                changed.await;
            }
            Task::Flush(done) => {
                done.send(()).ok();
            }
        }
    }

    async fn append(&self, appends: Vec<Append>) {
        if appends.is_empty() {
            return;
        }
        let began = Instant::now();
        let call = |head| self.link.scripts.append(head, &appends);
        let answer = self.link.call(&self.memory, call).await;
        if answer.is_ok() {
            self.listener.metrics.observe_commit(began.elapsed());
        }
        let answers = answer
            .ok()
            .and_then(|answers| redis::from_redis_value::<Vec<String>>(answers).ok());
        let mut answers = answers.unwrap_or_default().into_iter();
        for append in appends {
            let result = answers.next().map_or(Err(LogUnavailable.into()), |answer| {
                scripts::append_result(&answer)
            });
            match result {
                Ok(appended) if appended.is_replay => drop(self.listener.metrics.replays.inc()),
                Ok(appended) => self.link.note_acknowledged(appended.id),
                Err(_) => {}
            }
            append.answer(result);
        }
    }

    /// Announces changes of this node's subscriptions. If that fails, [`Task::Reconcile`] is started after a
    /// later heartbeat, and corrects what Redis has.
    async fn announce_own(&self, changes: Vec<PresenceChange>) {
        for change in &changes {
            self.subscriptions.change(change);
        }
        let node = self.link.scripts.node();
        if !changes.is_empty() && self.announce(node, &changes).await.is_err() {
            self.subscriptions.doubt();
        }
    }

    async fn announce(&self, node: &str, changes: &[PresenceChange]) -> Result<(), Lost> {
        for changes in changes.chunks(BATCH_CHANGES) {
            let announce = |head| self.link.scripts.announce(head, node, changes);
            let answer = self.link.call(&self.memory, announce).await?;
            let last = redis::from_redis_value::<String>(answer).ok();
            if let Some(last) = last.and_then(|id| EventId::parse(&id).ok()) {
                self.link.note_acknowledged(last);
            }
        }
        Ok(())
    }

    /// Announces the difference between this node's subscriptions and those that Redis has stored for it. If
    /// that fails, this task is started again after a later heartbeat.
    async fn reconcile(&self) {
        self.subscriptions.doubt();
        let node = self.link.scripts.node();
        let Ok(known) = of_node(&self.link, node).await else {
            return;
        };
        let changes = self.subscriptions.changes_from(known);
        if self.announce(node, &changes).await.is_ok() {
            self.subscriptions.unsure.set(false);
        }
    }

    async fn expire_node(&self, node: &str) {
        let Ok(known) = of_node(&self.link, node).await else {
            return;
        };
        let ended = known
            .into_iter()
            .filter_map(|(_, document)| PresenceChange::of_text(&document, false));
        let ended: Vec<_> = ended.collect();
        log::warn!("a node is gone: {} subscriptions end", ended.len());
        // If this announcement fails, the subscriptions not yet removed stay in Redis, so later heartbeats
        // report the node as dead again.
        self.announce(node, &ended).await.ok();
    }
}

/// Reads the subscriptions of a node from Redis, as paths and JSON documents. Deletes invalid fields, which
/// another program must have written.
async fn of_node(link: &Link, node: &str) -> Result<Vec<(String, String)>, Lost> {
    let name = link.scripts.names().subscriptions(node);
    let mut all = redis::cmd("HGETALL");
    all.arg(&name);
    let known: Vec<(String, String)> = link.query(&all).await?;
    let (known, invalid) = documents(known);
    if !invalid.is_empty() {
        let mut remove = redis::cmd("HDEL");
        remove.arg(&name).arg(invalid);
        link.query::<usize>(&remove).await?;
    }
    Ok(known)
}
