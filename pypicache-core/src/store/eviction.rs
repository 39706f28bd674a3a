//! Keeping all blobs together below a cap, by removing those that were not used for longest.
//!
//! The sum is kept in memory and corrected by each sweep, which looks at the disk: other processes may add
//! and remove too. A reader that has a blob open keeps it until it closes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// How many bytes the blobs take, and how many they may.
pub(super) struct Usage {
    blobs: PathBuf,
    max_size: Option<u64>,
    /// `None` until the disk was looked at. A std mutex: held for a sweep, never across an await.
    total: Mutex<Option<u64>>,
}

struct Blob {
    path: PathBuf,
    size: u64,
    last_use: SystemTime,
}

impl Usage {
    pub(super) fn new(blobs: PathBuf, max_size: Option<u64>) -> Self {
        Self {
            blobs,
            max_size,
            total: Mutex::new(None),
        }
    }

    /// Takes note of a new blob, and sweeps where it exceeds the cap. Blocks.
    pub(super) fn added(&self, size: u64) {
        let Some(max_size) = self.max_size else { return };
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        let known = total
            .map(|sum| sum + size)
            .unwrap_or_else(|| list(&self.blobs).iter().map(|blob| blob.size).sum());
        *total = Some(if known > max_size {
            sweep(&self.blobs, max_size)
        } else {
            known
        });
    }
}

/// Removes blobs until they fit, and gives what is left.
fn sweep(directory: &Path, max_size: u64) -> u64 {
    let mut blobs = list(directory);
    blobs.sort_by_key(|blob| blob.last_use);
    let mut total: u64 = blobs.iter().map(|blob| blob.size).sum();
    for blob in blobs {
        if total <= max_size {
            break;
        }
        match fs::remove_file(&blob.path) {
            Ok(()) => total -= blob.size,
            Err(error) => tracing::warn!(path = %blob.path.display(), %error, "a blob cannot be evicted"),
        }
    }
    total
}

fn list(directory: &Path) -> Vec<Blob> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    entries(directory)
        .flat_map(|shard| entries(&shard.path()).collect::<Vec<_>>())
        .filter_map(|entry| {
            let facts = entry.metadata().ok()?;
            Some(Blob {
                path: entry.path(),
                size: facts.len(),
                last_use: facts.modified().ok()?,
            })
        })
        .collect()
}
