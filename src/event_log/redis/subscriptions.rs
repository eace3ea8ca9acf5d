//! The active subscriptions of this node, and how they differ from those that Redis has. Redis may have
//! missed a change, or lost it in a failover, so the difference is announced until both are equal.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use crate::event::PresenceChange;

/// The active subscriptions of the clients of this node.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Path to document, as JSON text.
    active: RefCell<BTreeMap<String, String>>,
    /// Whether Redis may have different subscriptions, even if their number is the same.
    pub(super) unsure: Cell<bool>,
    /// Whether a task of the heartbeats is queued or runs. No other one is sent until it is done.
    pub(super) is_busy: Cell<bool>,
}

impl Subscriptions {
    /// Whether this node must reconcile with Redis, which has `known` of its subscriptions.
    pub(super) fn are_other_than(&self, known: usize) -> bool {
        self.unsure.get() || self.active.borrow().len() != known
    }

    /// Marks that Redis may have different subscriptions, so the next heartbeat reconciles.
    pub(super) fn doubt(&self) {
        self.unsure.set(true);
    }

    /// Records in this node's memory that a subscription began or ended. Sends nothing to Redis.
    pub(super) fn change(&self, change: &PresenceChange) {
        let mut active = self.active.borrow_mut();
        if change.is_active() {
            active.insert(change.path().to_owned(), change.document().to_owned());
        } else {
            active.remove(change.path());
        }
    }

    /// The changes that turn `known`, the paths and documents in Redis, into the active subscriptions of
    /// this node.
    pub(super) fn since(&self, known: Vec<(String, String)>) -> Vec<PresenceChange> {
        let active = self.active.borrow();
        let paths: BTreeSet<_> = known.iter().map(|(path, _)| path.clone()).collect();
        let new = active.iter().filter(|(path, _)| !paths.contains(*path));
        let new = new.filter_map(|(_, document)| PresenceChange::of_text(document, true));
        let ended = known
            .into_iter()
            .filter(|(path, _)| !active.contains_key(path));
        let ended = ended.filter_map(|(_, document)| PresenceChange::of_text(&document, false));
        new.chain(ended).collect()
    }
}

/// Separates the fields of a hash: valid documents with their paths, and the names of fields that hold no
/// document of their path.
pub(super) fn documents(known: Vec<(String, String)>) -> (Vec<(String, String)>, Vec<String>) {
    let mut documents = Vec::new();
    let mut strange = Vec::new();
    for (path, text) in known {
        match serde_json::from_str::<Value>(&text) {
            Ok(document) if document["id"] == *path => documents.push((path, text)),
            _ => strange.push(path),
        }
    }
    (documents, strange)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(path: &str) -> Value {
        json!({ "id": path, "active": true })
    }

    #[test]
    fn what_is_no_document_of_ours_is_told_from_what_is() {
        let field = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let a = document("/a");

        let (known, strange) = documents(vec![
            field("/a", &a.to_string()),
            field("/b", &a.to_string()),
            field("/c", "1"),
            field("/d", "[]"),
            field("/e", "\"/e\""),
            field("/f", "{"),
        ]);

        assert_eq!(known, [("/a".to_owned(), a.to_string())]);
        assert_eq!(strange, ["/b", "/c", "/d", "/e", "/f"]);
    }

    #[test]
    fn what_redis_knows_is_made_into_what_there_is() {
        let own = Subscriptions::default();
        for path in ["/a", "/b"] {
            own.change(&PresenceChange::new(document(path), true));
        }
        own.change(&PresenceChange::new(document("/a"), false));
        assert!(own.are_other_than(2) && !own.are_other_than(1));

        let known = ["/b", "/c"].map(|path| (path.to_owned(), document(path).to_string()));
        let none = own.since(known[..1].to_vec());
        let changes = own.since(vec![known[1].clone()]);

        assert!(none.is_empty());
        let notify = changes.iter().map(|it| (it.path(), it.is_active()));
        assert!(notify.eq([("/b", true), ("/c", false)]));
    }
}
