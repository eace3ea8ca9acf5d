//! The active subscriptions of this node (one of the servers that share the log), and how they differ from
//! those that Redis has stored for it. Redis may have missed a change, or lost it in a failover. So the
//! difference is announced until there is none.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use crate::event::PresenceChange;

/// The active subscriptions of the clients of this node.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Maps the path of a subscription to its JSON document.
    active: RefCell<BTreeMap<String, String>>,
    /// Whether the subscriptions that Redis has stored for this node may differ from `active`, even if their
    /// number is the same. The heartbeat task then requests a correction.
    pub(super) unsure: Cell<bool>,
    /// Whether a task to reconcile subscriptions or to expire dead nodes is queued or running. Until it has
    /// finished, the heartbeat task requests no other task.
    pub(super) is_busy: Cell<bool>,
}

impl Subscriptions {
    /// Whether this node must correct its subscriptions in Redis. `known` is the number of them that Redis
    /// has stored.
    pub(super) fn must_reconcile(&self, known: usize) -> bool {
        self.unsure.get() || self.active.borrow().len() != known
    }

    /// Marks that Redis may have different subscriptions for this node, so that the heartbeat task soon
    /// requests a correction.
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

    /// The changes that must be announced so that Redis has the active subscriptions of this node. `known`
    /// has the paths and documents that Redis has now. Only paths are compared.
    pub(super) fn changes_from(&self, known: Vec<(String, String)>) -> Vec<PresenceChange> {
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

/// Splits the fields of a Redis hash into paths with valid documents, and names of invalid fields. A document
/// is valid if its `id` is the name of the field.
pub(super) fn documents(known: Vec<(String, String)>) -> (Vec<(String, String)>, Vec<String>) {
    let mut documents = Vec::new();
    let mut invalid = Vec::new();
    for (path, text) in known {
        match serde_json::from_str::<Value>(&text) {
            Ok(document) if document["id"] == *path => documents.push((path, text)),
            _ => invalid.push(path),
        }
    }
    (documents, invalid)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(path: &str) -> Value {
        json!({ "id": path, "active": true })
    }

    #[test]
    fn invalid_fields_are_separated_from_documents() {
        let field = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let a = document("/a");

        let (known, invalid) = documents(vec![
            field("/a", &a.to_string()),
            field("/b", &a.to_string()),
            field("/c", "1"),
            field("/d", "[]"),
            field("/e", "\"/e\""),
            field("/f", "{"),
        ]);

        assert_eq!(known, [("/a".to_owned(), a.to_string())]);
        assert_eq!(invalid, ["/b", "/c", "/d", "/e", "/f"]);
    }

    #[test]
    fn the_changes_turn_the_known_subscriptions_into_the_active_ones() {
        let own = Subscriptions::default();
        for path in ["/a", "/b"] {
            own.change(&PresenceChange::new(document(path), true));
        }
        own.change(&PresenceChange::new(document("/a"), false));
        assert!(own.must_reconcile(2) && !own.must_reconcile(1));

        let known = ["/b", "/c"].map(|path| (path.to_owned(), document(path).to_string()));
        let none = own.changes_from(known[..1].to_vec());
        let changes = own.changes_from(vec![known[1].clone()]);

        assert!(none.is_empty());
        let pairs = changes.iter().map(|it| (it.path(), it.is_active()));
        assert!(pairs.eq([("/b", true), ("/c", false)]));
    }
}
