//! What is still to be written to disk behind answers that went out already, so that a process that stops can wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How much there is. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct PendingWrites {
    shared: Arc<(AtomicUsize, Notify)>,
}

/// Something that is to be written to disk; held until it was, or was given up.
#[derive(Debug)]
pub struct PendingWrite(PendingWrites);

impl PendingWrites {
    pub(super) fn begin(&self) -> PendingWrite {
        self.shared.0.fetch_add(1, Ordering::Relaxed);
        PendingWrite(self.clone())
    }

    /// Done when there is nothing left.
    pub(super) async fn done(&self) {
        loop {
            let changed = self.shared.1.notified();
            if self.shared.0.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        let (count, changed) = &*self.0.shared;
        count.fetch_sub(1, Ordering::AcqRel);
        changed.notify_waiters();
    }
}
