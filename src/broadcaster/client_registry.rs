//! The registry of connected subscribers, with the access token and the active subscriptions of each. It
//! limits the number of subscribers, in total and for each token. It also sends the [`HubState`] to all
//! worker threads. Cursors and sockets are not here: they stay on the worker threads.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use slab::Slab;
use tokio::sync::{oneshot, watch};

use super::{hub_state::HubState, presence::Presence};
use crate::{auth::Access, event::PresenceChange, matching::Selection, metrics::Rejection};

/// What the registry stores about a connected subscriber.
#[derive(Debug)]
struct Client {
    /// Identifies the subscriber's access token. `None`: the subscriber has no token.
    token: Option<u64>,
    /// The subscriber's name in the list of active subscriptions. `None`: the server does not publish active
    /// subscriptions.
    presence: Option<String>,
    /// Ends the stream when a newer one with the same token takes its place. `None`: that cannot happen.
    replace: Option<oneshot::Sender<()>>,
}

/// What happens when a token has its maximum number of streams and opens another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtTokenLimit {
    /// The new stream is rejected. Written `oldest` in the config.
    #[default]
    KeepOldest,
    /// The oldest stream ends. Written `newest` in the config.
    KeepNewest,
}

/// Limits on subscribers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientLimits {
    pub(super) max: usize,
    pub(super) max_with_token: usize,
    pub(super) at_token_limit: AtTokenLimit,
}

/// A subscriber that was registered.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) id: ClientId,
    /// The presence events to publish, one for each subscription that became active.
    pub(super) changes: Vec<PresenceChange>,
    /// Resolves when a newer stream with the same token takes its place. `None`: that cannot happen.
    pub(super) replaced: Option<oneshot::Receiver<()>>,
}

/// Identifies a connected subscriber in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientId(usize);

/// All connected subscribers, and the sender of the state that worker threads follow.
#[derive(Debug)]
pub(crate) struct ClientRegistry {
    /// Sends the [`HubState`] to the worker threads. Every fan-out, every stream and every
    /// [`Hub`](super::Hub) has a receiver. The log uses the same channel to signal new events.
    state_sender: Arc<watch::Sender<HubState>>,
    clients: Slab<Client>,
    limits: ClientLimits,
    /// Number of connected subscribers for each access token. A token is removed when its last subscriber
    /// leaves.
    with_token: HashMap<u64, usize>,
    /// With [`AtTokenLimit::KeepNewest`]: the connected subscribers of each access token, oldest first.
    by_age: HashMap<u64, VecDeque<ClientId>>,
    /// The active subscriptions of all connected subscribers. `None`: the server does not publish active
    /// subscriptions.
    presence: Option<Presence>,
}

impl ClientRegistry {
    pub(crate) fn new(
        state_sender: Arc<watch::Sender<HubState>>,
        limits: ClientLimits,
        presence: Option<Presence>,
    ) -> Self {
        Self {
            state_sender,
            clients: Slab::new(),
            limits,
            with_token: HashMap::new(),
            by_age: HashMap::new(),
            presence,
        }
    }

    pub(super) fn max_clients(&self) -> usize {
        self.limits.max
    }

    /// Number of connected subscribers.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn presence(&self) -> Option<&Presence> {
        self.presence.as_ref()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.state_sender.borrow().draining
    }

    /// Changes the state that every worker thread reads, and wakes the threads.
    pub(super) fn send(&self, change: impl FnOnce(&mut HubState)) {
        self.state_sender.send_modify(change);
    }

    /// Registers a subscriber. Returns the reason if it is rejected.
    pub(super) fn register(
        &mut self,
        selection: &Selection,
        access: Option<&Access>,
        is_log_full: bool,
    ) -> Result<Registered, Rejection> {
        if self.is_draining() {
            return Err(Rejection::Draining);
        }
        // If active subscriptions are published, each new subscriber appends presence events. Reject new
        // subscribers while the log's queue is full, because these events would make it grow further.
        let cannot_announce = self.presence.is_some() && is_log_full;
        if cannot_announce || self.clients.len() >= self.limits.max {
            return Err(Rejection::Full);
        }
        let token = access.map(|access| access.token);
        let keeps_newest = self.limits.at_token_limit == AtTokenLimit::KeepNewest;
        if !keeps_newest && token.is_some_and(|token| self.is_at_limit(token)) {
            return Err(Rejection::Token);
        }
        let joined = match &mut self.presence {
            Some(presence) => Some(
                presence
                    .join(&selection.written(), access)
                    .map_err(|_| Rejection::Matchers)?,
            ),
            None => None,
        };
        let (presence, changes) = joined.unzip();
        let ends_early = keeps_newest && token.is_some();
        let (replace, replaced) = ends_early.then(oneshot::channel).unzip();
        let client = Client {
            token,
            presence,
            replace,
        };
        let id = ClientId(self.clients.insert(client));
        if let Some(token) = token {
            if keeps_newest {
                while self.is_at_limit(token) {
                    self.replace_oldest(token);
                }
                self.by_age.entry(token).or_default().push_back(id);
            }
            *self.with_token.entry(token).or_default() += 1;
        }
        Ok(Registered {
            id,
            changes: changes.unwrap_or_default(),
            replaced,
        })
    }

    fn is_at_limit(&self, token: u64) -> bool {
        let count = self.with_token.get(&token).copied();
        count.is_some_and(|count| count >= self.limits.max_with_token)
    }

    /// Ends the oldest stream of a token. It no longer counts for the limit.
    fn replace_oldest(&mut self, token: u64) {
        let of_token = self.by_age.get(&token);
        let Some(oldest) = of_token.and_then(|of_token| of_token.front().copied()) else {
            return;
        };
        self.forget_token(oldest);
        let client = self.clients.get_mut(oldest.0);
        if let Some(replace) = client.and_then(|client| client.replace.take()) {
            // An error means that the stream has ended, and will be unregistered.
            replace.send(()).ok();
        }
    }

    /// Stops counting a subscriber for the limit of its token.
    fn forget_token(&mut self, id: ClientId) {
        let client = self.clients.get_mut(id.0);
        let Some(token) = client.and_then(|client| client.token.take()) else {
            return;
        };
        if let Some(of_token) = self.by_age.get_mut(&token) {
            of_token.retain(|other| *other != id);
            if of_token.is_empty() {
                self.by_age.remove(&token);
            }
        }
        if let Some(count) = self.with_token.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                self.with_token.remove(&token);
            }
        }
    }

    /// Removes a subscriber. Returns the presence events to publish, one for each of its subscriptions that
    /// ended.
    pub(super) fn unregister(&mut self, id: ClientId) -> Vec<PresenceChange> {
        self.forget_token(id);
        let Some(Client { presence, .. }) = self.clients.try_remove(id.0) else {
            return Vec::new();
        };
        match (&mut self.presence, presence) {
            (Some(known), Some(name)) => known.leave(&name),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::matching::HubUrl;

    fn registry(at_token_limit: AtTokenLimit) -> ClientRegistry {
        let (state_sender, _) = watch::channel(HubState {
            heartbeat: Duration::from_secs(1),
            checkpoints: false,
            draining: false,
        });
        let limits = ClientLimits {
            max: 3,
            max_with_token: 2,
            at_token_limit,
        };
        ClientRegistry::new(Arc::new(state_sender), limits, None)
    }

    fn register(
        registry: &mut ClientRegistry,
        token: Option<u64>,
    ) -> Result<Registered, Rejection> {
        let hub = HubUrl::parse("http://localhost/.well-known/mercure").unwrap();
        let selection = Selection::new(hub, Vec::new(), Vec::new());
        let with_token = |token| {
            let mut access = Access::default();
            access.token = token;
            access
        };
        let access = token.map(with_token);
        registry.register(&selection, access.as_ref(), false)
    }

    #[test]
    fn subscribers_are_limited_in_total_and_per_token_and_leaving_frees_a_place() {
        let mut registry = registry(AtTokenLimit::KeepOldest);

        let ids: Vec<_> = [Some(1), Some(1), Some(1), None, Some(2)]
            .map(|token| register(&mut registry, token).map(|registered| registered.id))
            .into();
        let refused: Vec<_> = ids.iter().map(|id| id.err()).collect();
        assert_eq!(
            refused,
            [
                None,
                None,
                Some(Rejection::Token),
                None,
                Some(Rejection::Full)
            ]
        );
        registry.unregister(ids[0].unwrap());
        let again = register(&mut registry, Some(1)).unwrap().id;
        for id in [again, ids[1].unwrap(), ids[3].unwrap()] {
            registry.unregister(id);
        }
        assert_eq!(registry.len(), 0);
        assert!(registry.with_token.is_empty());
    }

    #[test]
    fn the_newest_streams_of_a_token_replace_the_oldest() {
        let mut registry = registry(AtTokenLimit::KeepNewest);
        let mut join = |token| register(&mut registry, Some(token)).unwrap();
        let [first, second, third] = [1, 1, 1].map(&mut join);
        let is_replaced = |registered: Registered| {
            let mut replaced = registered.replaced.unwrap();
            (registered.id, replaced.try_recv().is_ok())
        };
        let [
            (first, was_replaced),
            (second, is_second),
            (third, is_third),
        ] = [first, second, third].map(is_replaced);

        assert_eq!([was_replaced, is_second, is_third], [true, false, false]);
        // The replaced stream still counts for the total until it has ended.
        assert_eq!(
            register(&mut registry, Some(2)).err(),
            Some(Rejection::Full)
        );
        registry.unregister(first);
        let other = register(&mut registry, Some(2)).unwrap().id;
        assert!(register(&mut registry, None).is_err());
        for id in [second, third, other] {
            registry.unregister(id);
        }
        assert!(registry.with_token.is_empty() && registry.by_age.is_empty());
    }
}
