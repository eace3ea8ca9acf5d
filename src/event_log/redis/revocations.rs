//! The list of revoked tokens in Redis, of which all nodes (the servers that share the log) have a copy.

use std::cell::RefCell;

use super::{
    super::{
        memory::MemoryLog,
        revocations::{RevocationChange, RevocationList, RevocationRefusal, Revocations},
    },
    error::Lost,
    link::Link,
};

/// Maximum number of changes in one call of revoke.lua.
const CHUNK: usize = 1000;

/// The list in Redis, with the copy of this node.
#[derive(Debug)]
pub(super) struct SharedRevocations {
    list: RevocationList,
    /// The version of the list in Redis when it was read.
    version: RefCell<Version>,
}

/// The version of the list, which revoke.lua describes. Empty if there is no list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Version {
    name: String,
    changes: u64,
    /// The name of the last change.
    last: String,
}

impl Version {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(' ').map(str::to_owned);
        let mut parsed = || {
            Some(Self {
                name: parts.next()?,
                changes: parts.next()?.parse().ok()?,
                last: parts.next()?,
            })
        };
        parsed().unwrap_or_default()
    }

    /// Whether a list with this version has all changes that one with the version `known` has.
    fn continues(&self, known: &Self) -> bool {
        known.name.is_empty()
            || self == known
            || (self.name == known.name && self.changes > known.changes)
    }
}

impl SharedRevocations {
    pub(super) fn new() -> Self {
        Self {
            list: RevocationList::new(Revocations::new()),
            version: RefCell::default(),
        }
    }

    pub(super) fn list(&self) -> RevocationList {
        self.list.clone()
    }

    /// Reads the list again if a heartbeat has found another version in Redis. If that version lacks changes,
    /// because Redis has lost them, writes the revocations that this node knows.
    pub(super) async fn follow(
        &self,
        link: &Link,
        memory: Option<&MemoryLog>,
        version: &str,
    ) -> Result<(), Lost> {
        let found = Version::parse(version);
        let known = self.version.borrow().clone();
        if found == known {
            return Ok(());
        }
        let known_here = self.list.current();
        if let Some(memory) = memory.filter(|_| !known_here.is_empty() && !found.continues(&known))
        {
            log::warn!(
                "the log in {} has lost revocations of tokens: writing the {} that this server knows",
                link.url(),
                known_here.len()
            );
            let known_here: Vec<_> = known_here
                .iter()
                .map(|(tokens, at)| (&**tokens, Some(*at)))
                .collect();
            for chunk in known_here.chunks(CHUNK) {
                // 0: forget nothing. If there is no more room, newer revocations fill it.
                let call = |_| link.scripts.revoke(0, chunk);
                link.call(memory, call).await?;
            }
        }
        let mut get = redis::cmd("HGET");
        get.arg(link.scripts.names().about()).arg("revocations");
        let version: Option<String> = link.query(&get).await?;
        // The list is at least as new as this version.
        let list = read(link).await?;
        self.version
            .replace(Version::parse(&version.unwrap_or_default()));
        self.list.replace(list);
        Ok(())
    }

    /// Changes the list in Redis and here, and answers the request.
    pub(super) async fn change(&self, link: &Link, memory: &MemoryLog, change: RevocationChange) {
        let changes = [(&*change.tokens, change.revoked_at)];
        let call = |_| link.scripts.revoke(change.forget_before, &changes);
        let answer = link.call(memory, call).await.ok();
        let answer = answer.and_then(|answer| redis::from_redis_value::<String>(answer).ok());
        let stored = match answer.as_deref() {
            Some("UNKNOWN") => Err(RevocationRefusal::Unknown),
            Some("MANY") => Err(RevocationRefusal::TooMany),
            // The next heartbeat notices the new version, and reads what other nodes have changed.
            Some(_) => Ok(()),
            None => Err(RevocationRefusal::Unavailable),
        };
        if stored.is_ok() {
            let mut list = Revocations::clone(&self.list.current());
            match change.revoked_at {
                Some(at) => list.insert(change.tokens, at),
                None => list.remove(&change.tokens),
            };
            self.list.replace(list);
        }
        // The requester may be gone.
        change.done.send(stored).ok();
    }
}

async fn read(link: &Link) -> Result<Revocations, Lost> {
    let mut all = redis::cmd("ZRANGE");
    all.arg(link.scripts.names().revocations());
    all.arg(0).arg(-1).arg("WITHSCORES");
    let all: Vec<(Vec<u8>, f64)> = link.query(&all).await?;
    let known = all.into_iter().filter_map(|(tokens, at)| {
        // Another program may have written something else.
        let tokens = String::from_utf8(tokens).ok()?;
        Some((tokens, at as u64))
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_continues_another_if_it_has_all_of_its_changes() {
        let continues =
            |one: &str, other: &str| Version::parse(one).continues(&Version::parse(other));

        assert!(continues("a 5 x", "") && continues("", "") && continues("x", "many"));
        assert!(continues("a 5 x", "a 5 x") && continues("a 6 y", "a 5 x"));
        assert!(!continues("a 5 y", "a 5 x") && !continues("a 4 x", "a 5 x"));
        assert!(!continues("b 9 x", "a 5 x") && !continues("", "a 5 x"));
        assert!(!continues("a many x", "a 5 x") && !continues("a -1 x", "a 5 x"));
    }
}
