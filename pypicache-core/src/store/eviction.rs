//! Keeping everything together below a cap, by removing what was not used for longest: unfinished files that
//! nobody is at first, then blobs.
//!
//! The sum is kept in memory and corrected by each sweep, which looks at the disk: other processes may add
//! and remove too. A reader that has a blob open keeps it until it closes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::staging::{is_being_written, remove_unwritten};

/// How many bytes the blobs and unfinished files take, and how many they may.
pub(super) struct Usage {
    blobs: PathBuf,
    partial: PathBuf,
    max_size: Option<u64>,
    /// `None` until the disk was looked at. A std mutex: held for a sweep, never across an await.
    total: Mutex<Option<u64>>,
    evicted: AtomicU64,
}

struct Blob {
    path: PathBuf,
    size: u64,
    last_use: SystemTime,
}

impl Usage {
    pub(super) fn new(root: &Path, max_size: Option<u64>) -> Self {
        Self {
            blobs: root.join("blobs"),
            partial: root.join("partial"),
            max_size,
            total: Mutex::new(None),
            evicted: AtomicU64::new(0),
        }
    }

    /// Takes note of a new blob, and sweeps where it exceeds the cap. Blocks.
    pub(super) fn added(&self, size: u64) {
        let Some(max_size) = self.max_size else { return };
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let known = total
            .map(|sum| sum + size)
            .unwrap_or_else(|| self.list().iter().map(|blob| blob.size).sum());
        *total = Some(if known > max_size {
            self.sweep(max_size)
        } else {
            known
        });
    }

    /// What everything takes now. Looks at every file.
    pub(super) fn measure(&self) -> u64 {
        self.list().iter().map(|blob| blob.size).sum()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Removes files until the rest fits, and gives what is left.
    fn sweep(&self, max_size: u64) -> u64 {
        let blobs = self.list();
        let mut total: u64 = blobs.iter().map(|blob| blob.size).sum();
        for blob in blobs {
            if total <= max_size {
                break;
            }
            // An unfinished file that somebody has gone on with meanwhile stays.
            let removed = match blob.path.starts_with(&self.partial) {
                true => remove_unwritten(&blob.path),
                false => fs::remove_file(&blob.path).map(|()| true),
            };
            match removed {
                Ok(false) => {}
                Ok(true) => {
                    total -= blob.size;
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    tracing::warn!(path = %blob.path.display(), %error, "a file cannot be evicted");
                }
            }
        }
        total
    }

    /// Everything that counts, what is to go first in front. Files under way do not count yet.
    fn list(&self) -> Vec<Blob> {
        let mut unfinished = files_of(&self.partial);
        unfinished.retain(|blob| !is_being_written(&blob.path));
        let shards = entries(&self.blobs).map(|shard| shard.path());
        let mut blobs: Vec<_> = shards.flat_map(|shard| files_of(&shard)).collect();
        for files in [&mut unfinished, &mut blobs] {
            files.sort_by_key(|blob| blob.last_use);
        }
        unfinished.append(&mut blobs);
        unfinished
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

fn files_of(directory: &Path) -> Vec<Blob> {
    let blob = |entry: fs::DirEntry| {
        let facts = entry.metadata().ok()?;
        Some(Blob {
            path: entry.path(),
            size: facts.len(),
            last_use: facts.modified().ok()?,
        })
    };
    entries(directory).filter_map(blob).collect()
}
