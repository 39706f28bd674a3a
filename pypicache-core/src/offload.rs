//! Work that would hold up other requests, moved to where it does not: the disk's to the runtime's threads for blocking
//! work, long computations off the thread that serves others.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs blocking disk work on the runtime's threads for that.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Computes on this thread; where the work is long and the runtime has several threads, the others take over its tasks.
pub(crate) fn offload_in_place<T>(is_long: bool, work: impl FnOnce() -> T) -> T {
    let has_others =
        Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread);
    match has_others && is_long {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}
