//! The registry of connected subscribers, with the access token and the active subscriptions of each. It
//! limits the number of subscribers, in total and for each token. It also sends the [`HubState`] to all
//! worker threads. Cursors and sockets are not here: they stay on the worker threads.

use std::{collections::HashMap, sync::Arc};

use slab::Slab;
use tokio::sync::watch;

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
    max_clients: usize,
    /// Number of connected subscribers for each access token. A token is removed when its last subscriber
    /// leaves.
    with_token: HashMap<u64, usize>,
    max_with_token: usize,
    /// The active subscriptions of all connected subscribers. `None`: the server does not publish active
    /// subscriptions.
    presence: Option<Presence>,
}

impl ClientRegistry {
    pub(crate) fn new(
        state_sender: Arc<watch::Sender<HubState>>,
        max_clients: usize,
        max_with_token: usize,
        presence: Option<Presence>,
    ) -> Self {
        Self {
            state_sender,
            clients: Slab::new(),
            max_clients,
            with_token: HashMap::new(),
            max_with_token,
            presence,
        }
    }

    pub(super) fn max_clients(&self) -> usize {
        self.max_clients
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

    /// Registers a subscriber. Returns its id and the presence events to publish, one for each subscription
    /// that became active. Returns the reason if the subscriber is rejected.
    pub(super) fn register(
        &mut self,
        selection: &Selection,
        access: Option<&Access>,
        is_log_full: bool,
    ) -> Result<(ClientId, Vec<PresenceChange>), Rejection> {
        if self.is_draining() {
            return Err(Rejection::Draining);
        }
        // If active subscriptions are published, each new subscriber appends presence events. Reject new
        // subscribers while the log's queue is full, because these events would make it grow further.
        let cannot_announce = self.presence.is_some() && is_log_full;
        if cannot_announce || self.clients.len() >= self.max_clients {
            return Err(Rejection::Full);
        }
        let token = access.map(|access| access.token);
        let with_token = token.and_then(|token| self.with_token.get(&token));
        if with_token.is_some_and(|count| *count >= self.max_with_token) {
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
        if let Some(token) = token {
            *self.with_token.entry(token).or_default() += 1;
        }
        let id = ClientId(self.clients.insert(Client { token, presence }));
        Ok((id, changes.unwrap_or_default()))
    }

    /// Removes a subscriber. Returns the presence events to publish, one for each of its subscriptions that
    /// ended.
    pub(super) fn unregister(&mut self, id: ClientId) -> Vec<PresenceChange> {
        let Some(Client { token, presence }) = self.clients.try_remove(id.0) else {
            return Vec::new();
        };
        if let Some(token) = token
            && let Some(count) = self.with_token.get_mut(&token)
        {
            *count -= 1;
            if *count == 0 {
                self.with_token.remove(&token);
            }
        }
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

    #[test]
    fn subscribers_are_limited_in_total_and_per_token_and_leaving_frees_a_permit() {
        let (state_sender, _) = watch::channel(HubState {
            heartbeat: Duration::from_secs(1),
            checkpoints: false,
            draining: false,
        });
        let mut registry = ClientRegistry::new(Arc::new(state_sender), 3, 2, None);
        let hub = HubUrl::parse("http://localhost/.well-known/mercure").unwrap();
        let selection = Selection::new(hub, Vec::new(), Vec::new());
        let with_token = |token| {
            let mut access = Access::default();
            access.token = token;
            access
        };
        let register = |registry: &mut ClientRegistry, token: Option<u64>| {
            let access = token.map(with_token);
            let registered = registry.register(&selection, access.as_ref(), false);
            registered.map(|(id, _)| id)
        };

        let ids: Vec<_> = [Some(1), Some(1), Some(1), None, Some(2)]
            .map(|token| register(&mut registry, token))
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
        let again = register(&mut registry, Some(1)).unwrap();
        for id in [again, ids[1].unwrap(), ids[3].unwrap()] {
            registry.unregister(id);
        }
        assert_eq!(registry.len(), 0);
        assert!(registry.with_token.is_empty());
    }
}
