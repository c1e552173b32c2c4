//! What one thread counts and others read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter or gauge with one writing thread.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owning shard calls this.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Replaces the value. Only the owning shard calls this.
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Of a gauge: one more. Only the owning shard calls this.
    pub(crate) fn increase(&self) {
        self.set(self.get() + 1);
    }

    /// Of a gauge: one less. Only the owning shard calls this.
    pub(crate) fn decrease(&self) {
        self.set(self.get().saturating_sub(1));
    }

    /// The value of now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
