//! Log lines, written by a thread of their own: whoever reads standard error may be slow, or gone, and requests do not wait for
//! that, let alone fail. Lines that find no room are dropped.

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// How many lines wait to be written at the most.
const WAITING: usize = 10_000;

/// Writes to standard error. The guard writes what is left when it is dropped, as far as that takes no longer than a second.
pub fn writer() -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr())
}
