//! Reports when a key is no longer trusted. The tokens that it signed are then invalid.

use std::collections::HashSet;

use tokio::sync::watch;

/// The fingerprints (`Key::fingerprint`) of all trusted keys.
pub(super) type Fingerprints = HashSet<u64>;

/// Watches whether the key that signed a token is still trusted.
#[derive(Debug)]
pub(crate) struct Revocation {
    key: u64,
    trusted: watch::Receiver<Fingerprints>,
}

impl Revocation {
    pub(super) fn new(key: u64, trusted: watch::Receiver<Fingerprints>) -> Self {
        Self { key, trusted }
    }

    /// Resolves when the key is no longer trusted, immediately if it is not trusted now. Never resolves if
    /// the verifier is dropped first.
    pub(crate) async fn happens(mut self) {
        let key = self.key;
        let is_revoked = |trusted: &Fingerprints| !trusted.contains(&key);
        if self.trusted.wait_for(is_revoked).await.is_err() {
            // The verifier was dropped, because the server is stopping. The key can no longer lose trust, so
            // this never resolves.
            std::future::pending().await
        }
    }
}
