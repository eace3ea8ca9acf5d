//! Changes the list of revoked tokens in the file.

use super::{
    super::revocations::{RevocationChange, RevocationRefusal},
    Thread,
};

impl Thread {
    /// Stores a change of the list, then makes it known. Refuses it if the file cannot be written.
    pub(super) fn change_revocations(&mut self, change: RevocationChange) {
        let list = self.revocations.clone();
        let current = list.current();
        list.change(change, |new| {
            let store = self.store.as_mut().ok_or(RevocationRefusal::Unavailable)?;
            store.change_revocations(&current, new).map_err(|err| {
                self.fail(&err);
                RevocationRefusal::Unavailable
            })
        });
    }
}
