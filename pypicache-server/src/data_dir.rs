//! The data directory: whose it is, and what has to be usable in it.

use std::io;
use std::path::Path;

use pypicache_core::local_fs::{create_root, prepare_dir};

/// Everything of ours lies below this part of it.
pub const LAYOUT: &str = "v1";

/// Makes what is missing, and closes what an earlier version left open to others. Closing the layout's directory closes
/// everything below it.
pub fn prepare(data_dir: &Path) -> io::Result<()> {
    create_root(data_dir)?;
    prepare_dir(&data_dir.join(LAYOUT))
}
