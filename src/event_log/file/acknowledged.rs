//! Records which event was acknowledged last, in a small file (`.acknowledged`) beside the log's own file. If
//! the log's file was damaged or replaced by an older copy, the record shows that acknowledged events are
//! missing. The log then begins a new epoch, so that it does not assign the ids of these events again.
//!
//! The record is written after each commit and before the acknowledgement. It is not synced. With `log.sync =
//! "always"` it is never ahead of an undamaged log, because the log was synced first. With `interval` it may
//! be ahead after a crash. The flag `unsynced` in the log's file shows this case.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Which events a log may have acknowledged to their publishers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) epoch: u64,
    /// Events with lower numbers may have been acknowledged. Events from this number on were not acknowledged
    /// yet when this was recorded.
    pub(super) next: u64,
}

/// Why it is unknown which event was acknowledged last: the `.acknowledged` file is missing or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Missing,
    Damaged,
}

/// Length of the `.acknowledged` file, in bytes: `epoch` and `next`, then both again with every bit inverted,
/// so that damage is noticed.
const BYTES: usize = 32;

impl Acknowledged {
    fn to_bytes(self) -> [u8; BYTES] {
        let words = [self.epoch, self.next, !self.epoch, !self.next];
        let mut bytes = [0; BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let (words, _) = bytes.as_chunks();
        let [epoch, next] = [0, 1].map(|at| u64::from_le_bytes(words[at]));
        let known = Self { epoch, next };
        (known.to_bytes() == *bytes).then_some(known)
    }

    /// Reads the `.acknowledged` file of the log at this path. The inner error says that it is missing or
    /// damaged. The outer error says that it cannot be read or is not a regular file.
    pub(super) fn read(log: &Path) -> io::Result<Result<Self, Unknown>> {
        match length(log) {
            Ok(length) if length == BYTES as u64 => {
                let bytes = fs::read(path(log))?;
                Ok(Self::from_bytes(&bytes).ok_or(Unknown::Damaged))
            }
            Ok(_) => Ok(Err(Unknown::Damaged)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Err(Unknown::Missing)),
            Err(err) => Err(err),
        }
    }
}

/// The `.acknowledged` file of a log, open for writing.
#[derive(Debug)]
pub(super) struct AcknowledgedFile(File);

impl AcknowledgedFile {
    /// Opens the `.acknowledged` file of the log at this path, or creates it. Fails if it is not a regular
    /// file.
    pub(super) fn open(log: &Path) -> io::Result<Self> {
        match length(log) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path(log))?;
        // Truncates or extends the file to its fixed length.
        file.set_len(BYTES as u64)?;
        Ok(Self(file))
    }

    /// Overwrites the file: events before the number `acknowledged.next` may have been acknowledged. Does not
    /// sync it.
    pub(super) fn write(&self, acknowledged: Acknowledged) -> io::Result<()> {
        self.0.write_all_at(&acknowledged.to_bytes(), 0)
    }
}

/// The length of the `.acknowledged` file of this log, in bytes. Fails if it is not a regular file: opening a
/// FIFO would block, and writing through a symbolic link could damage another file, even the log itself.
fn length(log: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path(log))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    Err(io::Error::other("it is not a regular file"))
}

/// The path of the `.acknowledged` file that belongs to the log at the path `log`.
pub(super) fn path(log: &Path) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(".acknowledged");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Acknowledged = Acknowledged {
        epoch: 1_763_856_000_000,
        next: 42,
    };

    #[test]
    fn a_written_record_is_read_back_and_an_empty_one_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("events.redb");
        assert_eq!(Acknowledged::read(&log).unwrap(), Err(Unknown::Missing));

        let file = AcknowledgedFile::open(&log).unwrap();
        assert_eq!(Acknowledged::read(&log).unwrap(), Err(Unknown::Damaged));
        file.write(KNOWN).unwrap();
        let next = Acknowledged { next: 43, ..KNOWN };
        file.write(next).unwrap();

        assert_eq!(Acknowledged::read(&log).unwrap(), Ok(next));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let bytes = KNOWN.to_bytes();
        assert_eq!(Acknowledged::from_bytes(&bytes), Some(KNOWN));
        for bit in 0..8 * BYTES {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Acknowledged::from_bytes(&damaged), None, "bit {bit}");
        }
        assert_eq!(Acknowledged::from_bytes(&bytes[1..]), None);
        assert_eq!(Acknowledged::from_bytes(&[0; BYTES]), None);
    }
}
