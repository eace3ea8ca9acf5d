//! The active subscriptions of a node: what its clients have, and what Redis knows of it.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

use crate::event::PresenceChange;

/// The subscriptions of a node, as its clients have them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Documents as JSON text, by path.
    active: RefCell<BTreeMap<String, String>>,
    /// Whether Redis may know others.
    pub(super) unsure: Cell<bool>,
    /// Whether an order of the heartbeats's is not carried out yet: another would wait behind it.
    pub(super) is_busy: Cell<bool>,
}

impl Subscriptions {
    /// Whether Redis, which knows so many, is to be told anew.
    pub(super) fn are_other_than(&self, known: usize) -> bool {
        self.unsure.get() || self.active.borrow().len() != known
    }

    /// Has Redis be told anew, whatever it knows.
    pub(super) fn doubt(&self) {
        self.unsure.set(true);
    }

    pub(super) fn change(&self, change: &PresenceChange) {
        let mut active = self.active.borrow_mut();
        if change.is_active() {
            active.insert(change.path().to_owned(), change.document().to_owned());
        } else {
            active.remove(change.path());
        }
    }

    /// What makes of what Redis knows what there is.
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

/// The documents among these, by their paths, and the names of what is none.
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
        let told = changes.iter().map(|it| (it.path(), it.is_active()));
        assert!(told.eq([("/b", true), ("/c", false)]));
    }
}
