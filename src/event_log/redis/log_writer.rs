//! What a node has to tell Redis, in its order and as much at once as there is.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};

use super::{
    super::{
        appender::Listener,
        memory::MemoryLog,
        waiting::{AckSender, LogUnavailable},
    },
    error::Lost,
    link::Link,
    reader::Reader,
    subscriptions::{Subscriptions, documents},
};
use crate::{
    event::{Event, EventId, PresenceChange},
    matching::Reservation,
};

/// How much is appended at once, in events and in bytes of memory, about. Redis does nothing else
/// meanwhile.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// How many subscriptions are told of at once.
const BATCH_CHANGES: usize = 256;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Command {
    Append(Event, Option<AckSender>, Reservation),
    Announce(PresenceChange, Reservation),
    Do(Task),
}

/// What is not done together with others of its kind.
#[derive(Debug)]
pub(super) enum Task {
    /// To have Redis know the same subscriptions as this node.
    Reconcile,
    /// To end the subscriptions of nodes that are gone.
    ExpireNodes(Vec<String>),
    /// To be answered with everybody's subscriptions.
    List(oneshot::Sender<Vec<(String, String)>>),
    /// To be answered when all before it is done.
    Flush(oneshot::Sender<()>),
}

/// Carries commands out.
pub(super) struct LogWriter {
    pub(super) link: Rc<Link>,
    pub(super) reader: Rc<Reader>,
    pub(super) memory: Arc<MemoryLog>,
    pub(super) listener: Arc<Listener>,
    /// This node's subscriptions, by their paths.
    pub(super) subscriptions: Rc<Subscriptions>,
}

impl LogWriter {
    pub(super) async fn run(self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(order) = commands.recv().await {
            let mut events = Vec::new();
            let mut changes = Vec::new();
            let mut announced = Vec::new();
            let mut task = None;
            let mut bytes = 0;
            let mut next = Some(order);
            while let Some(order) = next {
                match order {
                    Command::Append(event, done, queued) => {
                        bytes += event.bytes();
                        events.push((event, done, queued));
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
            Task::Flush(done) => {
                done.send(()).ok();
            }
        }
    }

    async fn append(&self, events: Vec<(Event, Option<AckSender>, Reservation)>) {
        if events.is_empty() {
            return;
        }
        let began = Instant::now();
        let append = |head| {
            let events = events.iter().map(|(event, ..)| event);
            self.link.scripts.append(head, events)
        };
        let answer = self.link.call(&self.memory, append).await;
        if answer.is_ok() {
            self.listener.metrics.observe_commit(began.elapsed());
        }
        let ids = answer
            .ok()
            .and_then(|ids| redis::from_redis_value::<Vec<String>>(ids).ok());
        let mut ids = ids.unwrap_or_default().into_iter();
        for (_, done, _) in events {
            let id = ids.next().and_then(|id| EventId::parse(&id).ok());
            if let Some(id) = id {
                self.link.note_acknowledged(id);
            }
            // Nobody may wait for it any more.
            done.map(|done| done.send(id.ok_or(LogUnavailable)));
        }
    }

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
            if let Ok(seq) = redis::from_redis_value::<u64>(answer) {
                let epoch = self.link.epoch();
                self.link.note_acknowledged(EventId { epoch, seq });
            }
        }
        Ok(())
    }

    async fn reconcile(&self) {
        self.subscriptions.doubt();
        let node = self.link.scripts.node();
        let Ok(known) = of_node(&self.link, node).await else {
            return;
        };
        let changes = self.subscriptions.since(known);
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
        // What fails is tried again at the next pulse.
        self.announce(node, &ended).await.ok();
    }
}

/// The subscriptions that Redis knows of a node, by their paths. What else there is is removed.
async fn of_node(link: &Link, node: &str) -> Result<Vec<(String, String)>, Lost> {
    let name = link.scripts.names().subscriptions(node);
    let mut all = redis::cmd("HGETALL");
    all.arg(&name);
    let known: Vec<(String, String)> = link.query(&all).await?;
    let (known, strange) = documents(known);
    if !strange.is_empty() {
        let mut remove = redis::cmd("HDEL");
        remove.arg(&name).arg(strange);
        link.query::<usize>(&remove).await?;
    }
    Ok(known)
}
