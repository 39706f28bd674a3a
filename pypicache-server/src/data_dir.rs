//! The data directory: whose it is, and what has to be usable in it.

use std::io;
use std::path::Path;

use pypicache_core::local_fs::{create_root, prepare_dir};

/// Everything of ours lies below this part of it.
pub const LAYOUT: &str = "v1";

/// Makes what is missing, and closes what an earlier version left open to others. Closing a directory closes everything
/// below it.
pub fn prepare(data_dir: &Path) -> io::Result<()> {
    create_root(data_dir)?;
    let layout = data_dir.join(LAYOUT);
    prepare_dir(&layout)?;
    for part in ["hosted", "audit"].map(|part| layout.join(part)) {
        if part.is_dir() {
            prepare_dir(&part)?;
        }
    }
    Ok(())
}
