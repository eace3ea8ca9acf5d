//! Reports when a token that is in use is no longer valid: its key is no longer trusted, or it was revoked.

use std::collections::HashSet;

use tokio::sync::watch;

use super::revoked::TokenUse;

/// The fingerprints (`Key::fingerprint`) of all trusted keys.
pub(super) type Fingerprints = HashSet<u64>;

/// Watches whether a token is still valid, apart from its time.
#[derive(Debug)]
pub(crate) struct Revocation {
    key: u64,
    trusted: watch::Receiver<Fingerprints>,
    token_use: TokenUse,
}

impl Revocation {
    pub(super) fn new(
        key: u64,
        trusted: watch::Receiver<Fingerprints>,
        token_use: TokenUse,
    ) -> Self {
        Self {
            key,
            trusted,
            token_use,
        }
    }

    /// Resolves when the token is revoked or its key is no longer trusted, immediately if that is so now. Never
    /// resolves if the verifier is dropped first.
    pub(crate) async fn happens(mut self) {
        let key = self.key;
        let is_revoked = |trusted: &Fingerprints| !trusted.contains(&key);
        // An error means that the verifier was dropped, because the server is stopping. Then neither can happen
        // any more.
        tokio::select! {
            Ok(_) = self.trusted.wait_for(is_revoked) => {}
            Ok(()) = &mut self.token_use.revoked => {}
            else => std::future::pending().await,
        }
    }
}
