//! The actor's messages for subscribers: register one, remove one, list active subscriptions.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{actor::Broadcaster, client_registry::ClientId, presence::Presence};
use crate::{
    auth::Access,
    event::EventId,
    event_log::LogUnavailable,
    matching::Selection,
    metrics::{GaugeGuard, Metrics, Rejection},
};

/// Message to the actor: register a subscriber. The reply is its permit, or why it is rejected.
#[derive(Debug, Message)]
#[rtype(result = "Result<Permit, Rejection>")]
pub(crate) struct Subscribe {
    pub(crate) selection: Arc<Selection>,
    /// What the subscriber's access token allows. `None`: the subscriber has no token.
    pub(crate) access: Option<Arc<Access>>,
}

/// Keeps a subscriber registered until the permit is dropped. If the requester leaves before the actor
/// replies, the reply is dropped with the permit in it, which removes the subscriber again.
#[derive(Debug)]
pub(crate) struct Permit {
    broadcaster: Addr<Broadcaster>,
    metrics: Arc<Metrics>,
    client: ClientId,
    replaced: Option<oneshot::Receiver<()>>,
}

impl Permit {
    /// Resolves when a newer stream with the same token takes the place of this one. `None`: that cannot
    /// happen, or this method was called before.
    pub(crate) fn take_replaced(&mut self) -> Option<oneshot::Receiver<()>> {
        self.replaced.take()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let _waiting = self.metrics.mark_message();
        self.broadcaster.do_send(Leave {
            client: self.client,
            _waiting,
        });
    }
}

impl Handler<Subscribe> for Broadcaster {
    type Result = Result<Permit, Rejection>;

    fn handle(&mut self, message: Subscribe, ctx: &mut Self::Context) -> Self::Result {
        let Subscribe { selection, access } = message;
        let is_log_full = self.appender.is_full();
        let access = access.as_deref();
        let registered = self.clients.register(&selection, access, is_log_full);
        let registered = registered.inspect_err(|rejection| {
            self.metrics.count_rejection(*rejection);
        })?;
        self.announce_all(registered.changes);
        Ok(Permit {
            broadcaster: ctx.address(),
            metrics: self.metrics.clone(),
            client: registered.id,
            replaced: registered.replaced,
        })
    }
}

/// Message to the actor: remove the subscriber whose [`Permit`] was dropped.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Leave {
    client: ClientId,
    _waiting: GaugeGuard,
}

impl Handler<Leave> for Broadcaster {
    type Result = ();

    fn handle(&mut self, Leave { client, .. }: Leave, _: &mut Self::Context) {
        let changes = self.clients.unregister(client);
        self.announce_all(changes);
    }
}

/// Message to the actor: return the active subscriptions at a path. If servers share the log, those of all
/// servers.
#[derive(Debug, Message)]
#[rtype(result = "Result<SubscriptionList, LogUnavailable>")]
pub(crate) struct List {
    pub(crate) path: String,
    /// Whether paths in the format of older protocol versions are answered too.
    pub(crate) legacy: bool,
}

/// The reply to [`List`]: the active subscriptions at a path, and an id from which to follow their changes.
#[derive(Debug)]
pub(crate) struct SubscriptionList {
    /// The subscriptions as a JSON document. `None`: there is no document at the requested path.
    pub(crate) document: Option<String>,
    /// The id of the newest event in memory when the list was requested. The list is at least as new, so a
    /// client that resumes after this id misses no change. `None`: no id is known.
    pub(crate) last: Option<EventId>,
}

impl Handler<List> for Broadcaster {
    type Result = ResponseFuture<Result<SubscriptionList, LogUnavailable>>;

    fn handle(&mut self, List { path, legacy }: List, _: &mut Self::Context) -> Self::Result {
        let last = self.log.id_before(self.log.next());
        let presence = self.clients.presence();
        let hub = presence.map(|presence| presence.hub().clone());
        match hub.zip(self.appender.subscriptions()) {
            Some((hub, everybodys)) => Box::pin(async move {
                let documents = everybodys.await.map_err(|_| LogUnavailable)?;
                let document = Presence::of(hub, documents).at(&path, legacy);
                Ok(SubscriptionList { document, last })
            }),
            None => {
                let document = presence.and_then(|presence| presence.at(&path, legacy));
                Box::pin(std::future::ready(Ok(SubscriptionList { document, last })))
            }
        }
    }
}
