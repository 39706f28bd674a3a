//! Files that are being written: nobody sees them until they are published, and they vanish if they are not.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

/// A file in `staging/`, locked by this process. Dropping it unpublished removes it.
#[derive(Debug)]
pub struct Staging {
    file: Arc<File>,
    path: PathBuf,
    published: bool,
}

impl Staging {
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let (file, path) = tempfile::Builder::new()
            .prefix("")
            .tempfile_in(directory)?
            .keep()
            .map_err(|e| e.error)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            file: Arc::new(file),
            path,
            published: false,
        })
    }

    /// Open for writing and reading; may be read by others while it is written.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Syncs the bytes, renames the file to `target`, and syncs the directory: afterwards it survives a power cut.
    pub(super) fn publish(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        rename_durably(&self.path, target)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Renames and syncs the directory that the name now stands in, making that directory where needed.
fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !directory.exists() {
        fs::create_dir_all(directory)?;
        if let Some(above) = directory.parent() {
            File::open(above)?.sync_all()?;
        }
    }
    fs::rename(from, to)?;
    File::open(directory)?.sync_all()
}

/// Removes files that no living process holds locked.
pub(super) fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Ok(file) = File::open(&path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tracing::debug!(path = %path.display(), "removing what an ended process left in staging");
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
