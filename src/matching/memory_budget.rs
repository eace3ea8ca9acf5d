//! Counts memory that has many owners: the sum of their reservations in bytes. A reservation counts until it
//! is dropped.
//!
//! The budget itself has no limit. The caller compares [`MemoryBudget::reserved`] with its limit and
//! refuses what exceeds it. A semaphore would not do: some data must be counted beyond the limit, because
//! it has already been received or must not be refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the reserved bytes for one purpose. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryBudget(Arc<AtomicUsize>);

impl MemoryBudget {
    /// Reserves bytes until the returned reservation is dropped. Never fails.
    pub(crate) fn reserve(&self, bytes: usize) -> Reservation {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    /// Sum of all reservations, in bytes.
    pub(crate) fn reserved(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that are reserved in a budget until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// Sets the size of this reservation, in bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Increases this reservation by `bytes`.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Size of this reservation in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
