//! Counts bytes of which there may be so many in all, for as long as they are held.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many bytes are held, of one kind. Its clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<AtomicUsize>);

impl Tally {
    /// Counts some bytes until what is returned is dropped.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held {
            tally: self.clone(),
            bytes,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A part of what is counted.
#[derive(Debug)]
pub(crate) struct Held {
    tally: Tally,
    bytes: usize,
}

impl Held {
    /// Counts so many from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.tally.0.fetch_add(bytes, Ordering::Relaxed);
        self.tally.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Counts some more.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.tally.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
