//! The list of revoked tokens, which a log stores beside its events, so that it survives restarts and is the
//! same on all servers that share the log.

use std::{collections::BTreeMap, sync::Arc};

use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// What is revoked, and when, in milliseconds since 1970. The log does not look into the text that names the
/// tokens.
pub(crate) type Revocations = BTreeMap<String, u64>;

/// Maximum number of revocations. More are refused.
pub(crate) const MAX_REVOCATIONS: usize = 100_000;

/// A request to change the list.
#[derive(Debug)]
pub(crate) struct RevocationChange {
    /// Names the tokens.
    pub(crate) tokens: String,
    /// When they are revoked, in milliseconds since 1970. `None`: the revocation is lifted.
    pub(crate) revoked_at: Option<u64>,
    /// Revocations before this time are forgotten.
    pub(crate) forget_before: u64,
    /// Receives the result when the change is stored.
    pub(crate) done: oneshot::Sender<Result<(), RevocationRefusal>>,
}

/// Why the list was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum RevocationRefusal {
    #[error("there is no such revocation")]
    Unknown,
    #[error("there are {MAX_REVOCATIONS} revocations")]
    TooMany,
    #[error("the log is temporarily unavailable")]
    Unavailable,
}

/// The list as this server knows it.
#[derive(Debug, Clone)]
pub(super) struct RevocationList(Arc<watch::Sender<Arc<Revocations>>>);

impl RevocationList {
    pub(super) fn new(known: Revocations) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(known))))
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Revocations>> {
        self.0.subscribe()
    }

    pub(super) fn current(&self) -> Arc<Revocations> {
        self.0.borrow().clone()
    }

    /// Replaces the list, and tells all receivers.
    pub(super) fn replace(&self, list: Revocations) {
        self.0.send_replace(Arc::new(list));
    }

    /// The list after a change.
    pub(super) fn changed(
        &self,
        change: &RevocationChange,
    ) -> Result<Revocations, RevocationRefusal> {
        let mut list = Revocations::clone(&self.current());
        list.retain(|_, at| *at >= change.forget_before);
        match change.revoked_at {
            None => {
                list.remove(&change.tokens)
                    .ok_or(RevocationRefusal::Unknown)?;
            }
            Some(at) => {
                list.insert(change.tokens.clone(), at);
                if list.len() > MAX_REVOCATIONS {
                    return Err(RevocationRefusal::TooMany);
                }
            }
        }
        Ok(list)
    }

    /// Stores the changed list with `store`, then makes it current, and answers the request. If storing fails, the
    /// list stays.
    pub(super) fn change(
        &self,
        change: RevocationChange,
        store: impl FnOnce(&Revocations) -> Result<(), RevocationRefusal>,
    ) {
        let changed = self
            .changed(&change)
            .and_then(|list| store(&list).map(|()| list));
        // The requester may be gone.
        change
            .done
            .send(changed.map(|list| self.replace(list)))
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(tokens: &str, revoked_at: Option<u64>) -> RevocationChange {
        RevocationChange {
            tokens: tokens.to_owned(),
            revoked_at,
            forget_before: 100,
            done: oneshot::channel().0,
        }
    }

    #[test]
    fn the_list_is_bounded_and_forgets_what_is_too_old() {
        let list = RevocationList::new(Revocations::from([
            ("old".to_owned(), 99),
            ("a".to_owned(), 100),
        ]));

        list.change(change("b", Some(200)), |_| Ok(()));
        assert_eq!(
            *list.current(),
            Revocations::from([("a".to_owned(), 100), ("b".to_owned(), 200)])
        );
        assert_eq!(
            list.changed(&change("old", None)),
            Err(RevocationRefusal::Unknown)
        );
        list.change(change("a", None), |_| Err(RevocationRefusal::Unavailable));
        assert_eq!(list.current().len(), 2);
        list.change(change("a", None), |_| Ok(()));
        assert_eq!(list.current().len(), 1);

        list.replace((0..MAX_REVOCATIONS).map(|n| (n.to_string(), 100)).collect());
        let refused = list.changed(&change("new", Some(100)));
        assert_eq!(refused, Err(RevocationRefusal::TooMany));
        // Revoking the same tokens again needs no room.
        assert!(list.changed(&change("7", Some(300))).is_ok());
    }
}
