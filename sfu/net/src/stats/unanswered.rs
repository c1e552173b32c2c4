//! Commands without an answer.

use std::sync::atomic::AtomicU64;

/// Commands of the control plane that were not answered. Many threads count here.
#[derive(Debug, Default)]
pub struct UnansweredStats {
    /// [`ShardError::Full`](crate::ShardError::Full).
    pub full: AtomicU64,
    /// [`ShardError::Gone`](crate::ShardError::Gone).
    pub gone: AtomicU64,
    /// [`ShardError::Lost`](crate::ShardError::Lost).
    pub lost: AtomicU64,
}
