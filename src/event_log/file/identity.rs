//! Detects that another program deleted, moved, replaced or truncated a file while it was open.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Device, inode and length of the file at a path. They change if another file replaces it, or if its length
/// changes.
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

    /// Fails if the file at `path` is another one or has another length than when this identity was recorded,
    /// or if its metadata cannot be read. Another program has then changed it, and writes to the open file
    /// could be lost. So the identity is recorded again after each own write.
    pub(super) fn check(self, path: &Path) -> io::Result<()> {
        if Self::of(path).is_ok_and(|now| now == self) {
            return Ok(());
        }
        Err(io::Error::other(
            "it was deleted, moved, replaced or cut by another program. Put it back, or restart the server",
        ))
    }
}
