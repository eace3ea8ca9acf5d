//! Counts memory that has many owners: the sum of their reservations in bytes. A reservation is part of the
//! sum until it is dropped.
//!
//! The budget itself has no limit. The caller compares [`MemoryBudget::reserved`] with its own limit and
//! refuses what exceeds it. A semaphore could not replace the budget: some data must be counted even beyond
//! the limit, because it has already been received or must not be refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the bytes that are reserved for one purpose. All clones share one count. There is no limit.
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

/// Bytes that are reserved in a budget until this value is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// Changes the size of this reservation to `bytes`.
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
