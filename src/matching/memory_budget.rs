//! Memory that many share: how many bytes are reserved, for as long as each reservation lives.
//!
//! A reservation may exceed the limit, because some of what is counted was received already or must not be
//! refused. Its caller compares [`MemoryBudget::reserved`] with the limit and refuses the rest. (A semaphore cannot
//! hand out more permits than it has.)

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts reserved bytes of one kind. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryBudget(Arc<AtomicUsize>);

impl MemoryBudget {
    /// Reserves bytes until the reservation is dropped.
    pub(crate) fn reserve(&self, bytes: usize) -> Reservation {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    /// Bytes that are reserved.
    pub(crate) fn reserved(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Some bytes of a budget.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    /// Changes how many bytes are reserved.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Reserves more bytes.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Bytes that this reserves.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
