//! Tells whether another program moved, replaced or cut a file.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Identifies the file at a path. It changes if the file is replaced or its length changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    length: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
        })
    }

    /// Fails if another program deleted, moved, replaced or cut the file while it was open. Anything written
    /// to it would be lost.
    pub(super) fn check(self, path: &Path) -> io::Result<()> {
        if Self::of(path).is_ok_and(|now| now == self) {
            return Ok(());
        }
        Err(io::Error::other(
            "it was deleted, moved, replaced or cut by another program. Put it back, or restart the server",
        ))
    }
}
