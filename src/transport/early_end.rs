//! Ends a stream early: its token is no longer valid, or a newer stream replaces it.

use futures_util::future::OptionFuture;
use tokio::sync::oneshot;

use crate::{auth::Revocation, metrics::Close};

/// What can end a stream early, even if bytes are unsent.
#[derive(Debug)]
pub(crate) struct EarlyEnd {
    /// Resolves when the access token is revoked, or when its key is no longer trusted. `None` if there is no
    /// access token.
    pub(crate) revocation: Option<Revocation>,
    /// Resolves when a newer stream with the same token takes the place of this one. `None`: that cannot
    /// happen.
    pub(crate) replaced: Option<oneshot::Receiver<()>>,
}

impl EarlyEnd {
    pub(super) fn is_possible(&self) -> bool {
        self.revocation.is_some() || self.replaced.is_some()
    }

    /// Resolves to the reason when the stream must end.
    pub(super) async fn happens(self) -> Close {
        let revoked = self.revocation.map(Revocation::happens);
        tokio::select! {
            Some(()) = OptionFuture::from(revoked) => Close::Revoked,
            Some(Ok(())) = OptionFuture::from(self.replaced) => Close::Replaced,
            else => std::future::pending().await,
        }
    }
}
