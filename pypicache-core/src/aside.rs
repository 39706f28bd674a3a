//! Work that takes long enough for others to notice.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does work where it holds up no other request, if it is long and there is a choice.
pub(crate) fn aside<T>(is_long: bool, work: impl FnOnce() -> T) -> T {
    let has_others =
        Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread);
    match has_others && is_long {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}
