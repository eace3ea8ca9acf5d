//! What a node has to tell Redis, in its order and as much at once as there is.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Instant,
};

use redis::Value as Answer;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::link::{Failure, Link};
use crate::{
    event::{Event, EventId},
    event_log::{Done, Listener, LogUnavailable, MemoryLog},
    presence::Change,
};

/// How much is appended at once, in events and in bytes of their data, about. Redis does nothing else
/// meanwhile.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// How many subscriptions are told of at once.
const BATCH_CHANGES: usize = 256;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Order {
    Append(Event, Option<Done>),
    Announce(Change),
    /// To have Redis know the same subscriptions as this node.
    Reconcile,
    /// To end the subscriptions of a node that is gone.
    Bury(String),
    /// To be answered with everybody's subscriptions.
    List(oneshot::Sender<Vec<Value>>),
    /// To be answered when all before it is done.
    Flush(oneshot::Sender<()>),
}

/// Carries orders out.
pub(super) struct Clerk {
    pub(super) link: Rc<Link>,
    pub(super) memory: std::sync::Arc<MemoryLog>,
    pub(super) listener: std::sync::Arc<Listener>,
    /// This node's subscriptions, by their paths.
    pub(super) subscriptions: Rc<Subscriptions>,
}

/// The subscriptions of a node, as its clients have them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    active: std::cell::RefCell<BTreeMap<String, Value>>,
    /// Whether Redis may know others.
    unsure: std::cell::Cell<bool>,
}

impl Subscriptions {
    /// Whether Redis, which knows so many, is to be told anew.
    pub(super) fn are_other_than(&self, known: usize) -> bool {
        self.unsure.get() || self.active.borrow().len() != known
    }

    fn change(&self, change: &Change) {
        let mut active = self.active.borrow_mut();
        if change.is_active() {
            active.insert(change.path().to_owned(), change.document.clone());
        } else {
            active.remove(change.path());
        }
    }

    /// What makes of what Redis knows what there is.
    fn since(&self, known: Vec<(String, Value)>) -> Vec<Change> {
        let active = self.active.borrow();
        let paths: BTreeSet<_> = known.iter().map(|(path, _)| path.clone()).collect();
        let new = active.iter().filter(|(path, _)| !paths.contains(*path));
        let new = new.map(|(_, document)| Change::new(document.clone(), true));
        let ended = known
            .into_iter()
            .filter(|(path, _)| !active.contains_key(path));
        let ended = ended.map(|(_, document)| Change::new(document, false));
        new.chain(ended).collect()
    }
}

impl Clerk {
    pub(super) async fn run(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let mut events = Vec::new();
            let mut changes = Vec::new();
            let mut others = Vec::new();
            let mut bytes = 0;
            let mut next = Some(order);
            while let Some(order) = next {
                match order {
                    Order::Append(event, done) => {
                        bytes += event.data().len();
                        events.push((event, done));
                    }
                    Order::Announce(change) => changes.push(change),
                    other => {
                        others.push(other);
                        break;
                    }
                }
                let is_full = events.len() >= BATCH_EVENTS
                    || bytes >= BATCH_BYTES
                    || changes.len() >= BATCH_CHANGES;
                next = if is_full {
                    None
                } else {
                    orders.try_recv().ok()
                };
            }
            self.append(events).await;
            self.announce_own(changes).await;
            for order in others {
                self.carry_out(order).await;
            }
        }
    }

    async fn carry_out(&self, order: Order) {
        match order {
            Order::Reconcile => self.reconcile().await,
            Order::Bury(node) => self.bury(&node).await,
            Order::List(done) => {
                let link = self.link.clone();
                tokio::task::spawn_local(async move {
                    if let Ok(all) = everybodys(&link).await {
                        done.send(all).ok();
                    }
                });
            }
            Order::Flush(done) => {
                done.send(()).ok();
            }
            Order::Append(..) | Order::Announce(_) => {}
        }
    }

    /// Tries it in the epoch that there is, should that be another than was thought.
    async fn in_epoch(
        &self,
        call: impl AsyncFn(u64) -> Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        match call(self.link.epoch()).await {
            Err(Failure::Stale) => {
                self.link.pulse(&self.memory).await?;
                call(self.link.epoch()).await
            }
            called => called,
        }
    }

    async fn append(&self, events: Vec<(Event, Option<Done>)>) {
        if events.is_empty() {
            return;
        }
        let began = Instant::now();
        let answer = self
            .in_epoch(async |epoch| {
                let events = events.iter().map(|(event, _)| event);
                self.link
                    .call(&self.link.scripts.append(epoch, events))
                    .await
            })
            .await;
        let metrics = &self.listener.metrics;
        metrics.observe_commit(began.elapsed());
        let ids = answer
            .ok()
            .and_then(|ids| redis::from_redis_value::<Vec<String>>(ids).ok());
        let mut ids = ids.unwrap_or_default().into_iter();
        for (_, done) in events {
            let id = ids.next().and_then(|id| EventId::parse(&id).ok());
            let newest = self.link.acknowledged.get().max(id);
            self.link.acknowledged.set(newest);
            // Nobody may wait for it any more.
            done.map(|done| done.send(id.ok_or(LogUnavailable)));
        }
    }

    async fn announce_own(&self, changes: Vec<Change>) {
        for change in &changes {
            self.subscriptions.change(change);
        }
        let node = self.link.scripts.node();
        if !changes.is_empty() && self.announce(node, &changes).await.is_err() {
            self.subscriptions.unsure.set(true);
        }
    }

    async fn announce(&self, node: &str, changes: &[Change]) -> Result<(), Failure> {
        for changes in changes.chunks(BATCH_CHANGES) {
            self.in_epoch(async |epoch| {
                let scripts = &self.link.scripts;
                self.link
                    .call(&scripts.announce(epoch, node, changes))
                    .await
            })
            .await?;
        }
        Ok(())
    }

    async fn reconcile(&self) {
        self.subscriptions.unsure.set(true);
        let node = self.link.scripts.node();
        let Ok(known) = of_node(&self.link, node).await else {
            return;
        };
        let changes = self.subscriptions.since(known);
        if self.announce(node, &changes).await.is_ok() {
            self.subscriptions.unsure.set(false);
        }
    }

    async fn bury(&self, node: &str) {
        let Ok(known) = of_node(&self.link, node).await else {
            return;
        };
        let ended = known
            .into_iter()
            .map(|(_, document)| Change::new(document, false));
        let ended: Vec<_> = ended.collect();
        log::warn!("a node is gone: {} subscriptions end", ended.len());
        // What fails is tried again at the next pulse.
        self.announce(node, &ended).await.ok();
    }
}

/// The subscriptions that Redis knows of a node, by their paths.
async fn of_node(link: &Link, node: &str) -> Result<Vec<(String, Value)>, Failure> {
    let mut all = redis::cmd("HGETALL");
    all.arg(link.scripts.names().subscriptions(node));
    let known: Vec<(String, String)> = link.query(&all).await?;
    Ok(documents(known))
}

/// Those of all nodes.
async fn everybodys(link: &Link) -> Result<Vec<Value>, Failure> {
    let names = link.scripts.names();
    let mut nodes = redis::cmd("ZRANGE");
    nodes.arg(names.nodes()).arg(0).arg(-1);
    let nodes: Vec<String> = link.query(&nodes).await?;
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = redis::pipe();
    for node in nodes {
        all.cmd("HGETALL").arg(names.subscriptions(&node));
    }
    let all: Vec<Vec<(String, String)>> = link.query_all(&all).await?;
    let all = all.into_iter().flat_map(documents);
    Ok(all.map(|(_, document)| document).collect())
}

fn documents(known: Vec<(String, String)>) -> Vec<(String, Value)> {
    let read = |(path, text): (String, String)| Some((path, serde_json::from_str(&text).ok()?));
    known.into_iter().filter_map(read).collect()
}
