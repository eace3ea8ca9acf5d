//! Keys that are trusted no more, and with them the tokens that they signed.

use std::collections::HashSet;

use tokio::sync::watch;

/// The marks of all keys that are trusted.
pub(super) type Marks = HashSet<u64>;

/// Tells when the key that signed a token is trusted no more.
#[derive(Debug)]
pub(crate) struct Revocation {
    key: u64,
    trusted: watch::Receiver<Marks>,
}

impl Revocation {
    pub(super) fn new(key: u64, trusted: watch::Receiver<Marks>) -> Self {
        Self { key, trusted }
    }

    /// Waits until then, which may be at once.
    pub(crate) async fn happens(mut self) {
        let key = self.key;
        let is_revoked = |trusted: &Marks| !trusted.contains(&key);
        if self.trusted.wait_for(is_revoked).await.is_err() {
            // The server is about to end; nobody changes keys any more.
            std::future::pending().await
        }
    }
}
