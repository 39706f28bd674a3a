//! What is counted of transfers, for whoever watches the cache.

use std::sync::atomic::{AtomicU64, Ordering};

use super::CachedSource;

/// What became of transfers since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransferTotals {
    /// Files that were begun to be fetched.
    pub begun: u64,
    /// Files that came in whole.
    pub finished: u64,
    /// Files that did not.
    pub failed: u64,
    /// The bytes of those that came in whole.
    pub bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    begun: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub(super) fn note_begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The transfer is over; its bytes, if it came in whole.
    pub(super) fn note_end(&self, whole: Option<u64>) {
        match whole {
            Some(bytes) => {
                self.finished.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            None => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl CachedSource {
    /// What was counted so far.
    #[must_use]
    pub fn totals(&self) -> TransferTotals {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        TransferTotals {
            begun: of(&counters.begun),
            finished: of(&counters.finished),
            failed: of(&counters.failed),
            bytes: of(&counters.bytes),
        }
    }
}
