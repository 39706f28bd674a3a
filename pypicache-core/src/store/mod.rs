//! Where bytes and records rest on the local disk.
//!
//! The store knows nothing of sources or the network. It holds two things: *blobs*, whole files that were
//! verified and are named by their SHA-256, and *records*, small JSON documents (a page, a file's digest) named
//! by what they describe. Both appear at once and whole: they are written in `staging/`, synced and renamed. A crash
//! or a power cut at any step leaves the old state or the new; the directory is not synced, so a power cut may take
//! the last new ones back, which are fetched again like anything that is not held. What cannot be read is logged
//! and treated as not there.
//!
//! ```text
//! <directory>/
//!   CACHEDIR.TAG                      backup tools skip the directory
//!   v1/
//!     blobs/<1 digit>/<sha256>       whole, verified; the modification time is the time of last use
//!     records/<kind>/<source>/<1 digit>/<sha256 of the key>.json
//!     partial/<sha256 of the key>     files that did not come in whole yet, to be continued; kept for a week at most
//!     staging/                        being written; locked by the writer, leftovers are removed at start
//! ```
//!
//! Keys are hashed, so no name from outside ever becomes a path, and any file system will do. Several
//! processes may share a directory: nothing is changed in place. A new layout gets a new `v` directory.
//!
//! Imports: `local_fs`, `model`, `source`.

mod eviction;
mod pending_writes;
mod records;
pub(crate) mod staging;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub use pending_writes::PendingWrite;
pub use records::RecordKind;
pub use staging::Staging;

use crate::local_fs::{Rights, create_root, prepare_dir};
use crate::model::Sha256;
use crate::source::HeldFile;
use eviction::Usage;
use pending_writes::PendingWrites;

/// A blob's time of last use is written at most this often.
const USE_GRANULARITY: Duration = Duration::from_secs(600);

/// How long a measurement of the store counts.
const MEASURED: Duration = Duration::from_secs(60);

/// A directory of blobs and records. Clones share it.
#[derive(Clone)]
pub struct DiskStore {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    /// Those of what is made below the root.
    rights: Rights,
    usage: Usage,
    /// Held while a file is made in staging. File systems make one at a time in a directory, and whoever waits for that
    /// in there keeps a processor busy.
    making: Mutex<()>,
    pending: PendingWrites,
    /// What everything took when it was last looked at, and when that was.
    measured: tokio::sync::Mutex<Option<(tokio::time::Instant, u64)>>,
}

/// The directory cannot be used as a store.
#[derive(Debug, thiserror::Error)]
#[error("the cache directory {} cannot be used; name another one, or give this user write access", directory.display())]
pub struct StoreError {
    directory: PathBuf,
    #[source]
    cause: io::Error,
}

impl DiskStore {
    /// Opens the store in `directory`, making it where needed, and removes what crashed writers left in staging.
    ///
    /// With `max_size` (bytes), blobs that were not used for longest are removed whenever all blobs together
    /// exceed it; without, nothing is ever removed.
    pub fn open(directory: impl Into<PathBuf>, max_size: Option<u64>) -> Result<Self, StoreError> {
        let directory = directory.into();
        let root = directory.join("v1");
        let prepared = prepare(&directory, &root).and_then(|()| Rights::of(&root));
        let rights = prepared.map_err(|cause| StoreError { directory, cause })?;
        let usage = Usage::new(&root, max_size);
        Ok(Self {
            shared: Arc::new(Shared {
                root,
                rights,
                usage,
                making: Mutex::new(()),
                pending: PendingWrites::default(),
                measured: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// Something will be written to disk after the answer has gone out: to be held until then.
    #[must_use]
    pub fn pending_write(&self) -> PendingWrite {
        self.shared.pending.begin()
    }

    /// Done when all of that is written to disk. For whoever is about to end the process.
    pub async fn flush(&self) {
        self.shared.pending.done().await;
    }

    /// The blob with this digest, open, `None` where it is not held. Blocks.
    pub fn blob(&self, sha256: Sha256) -> io::Result<Option<HeldFile>> {
        let file = match File::open(self.blob_path(sha256)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let facts = file.metadata()?;
        if facts
            .modified()?
            .elapsed()
            .is_ok_and(|unused| unused > USE_GRANULARITY)
        {
            // Only a hint for eviction: a read-only directory must not fail the read.
            let _ = file.set_modified(SystemTime::now());
        }
        Ok(Some(HeldFile {
            file: Arc::new(file),
            size: facts.len(),
            sha256,
        }))
    }

    /// Whether the blob with this digest is here. Blocks.
    #[must_use]
    pub fn has_blob(&self, sha256: Sha256) -> bool {
        self.blob_path(sha256).exists()
    }

    /// Removes a blob that turned out to be damaged. Blocks.
    pub fn remove_blob(&self, sha256: Sha256) -> io::Result<()> {
        fs::remove_file(self.blob_path(sha256))
    }

    /// An empty file to write into. Blocks.
    pub fn stage(&self) -> io::Result<Staging> {
        let _one_at_a_time = self.shared.making.lock().unwrap_or_else(PoisonError::into_inner);
        Staging::create_with(&self.shared.root.join("staging"), self.shared.rights)
    }

    /// What an earlier attempt left of the file that `key` stands for, or an empty file: to be written on at its
    /// end, and there again for the next attempt if it is not published. While somebody else is at it, the file
    /// is one of [`DiskStore::stage`]'s. Blocks.
    pub fn stage_partial(&self, key: &str) -> io::Result<Staging> {
        let name = Sha256::of(key.as_bytes()).to_hex();
        match Staging::resume(self.shared.root.join("partial").join(name))? {
            Some(staging) if self.shared.rights.settle(staging.file()).is_ok() => Ok(staging),
            _ => self.stage(),
        }
    }

    /// Leaves a file of [`DiskStore::stage_partial`] for the next attempt. Blocks.
    pub fn park(&self, staging: Staging) {
        let size = staging.file().metadata().map_or(0, |facts| facts.len());
        drop(staging);
        self.shared.usage.added(size);
    }

    /// Makes a staged file the blob of `sha256`. The caller has verified the digest. Blocks.
    pub fn publish(&self, staging: Staging, sha256: Sha256) -> io::Result<()> {
        let size = staging.file().metadata()?.len();
        staging.publish(&self.blob_path(sha256))?;
        self.shared.usage.added(size);
        Ok(())
    }

    /// Keeps bytes that are in memory as the blob of `sha256`, which the caller has computed. Blocks.
    pub fn publish_bytes(&self, bytes: &[u8], sha256: Sha256) -> io::Result<()> {
        if self.has_blob(sha256) {
            return Ok(());
        }
        let staging = self.stage()?;
        (&**staging.file()).write_all(bytes)?;
        self.publish(staging, sha256)
    }

    /// How many files were removed to make room, by this process.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.shared.usage.evicted()
    }

    /// What files take on the disk, in bytes, as of the last minute: every file has to be looked at to know.
    pub async fn measured(&self) -> u64 {
        let mut measured = self.shared.measured.lock().await;
        if let Some((at, bytes)) = *measured
            && at.elapsed() < MEASURED
        {
            return bytes;
        }
        let shared = self.shared.clone();
        let bytes = tokio::task::spawn_blocking(move || shared.usage.measure())
            .await
            .unwrap_or_default();
        *measured = Some((tokio::time::Instant::now(), bytes));
        bytes
    }

    fn blob_path(&self, sha256: Sha256) -> PathBuf {
        let hex = sha256.to_hex();
        self.shared.root.join("blobs").join(&hex[..1]).join(hex)
    }
}

fn prepare(directory: &Path, root: &Path) -> io::Result<()> {
    create_root(directory)?;
    prepare_dir(root)?;
    for part in ["blobs", "partial", "records", "staging"] {
        prepare_dir(&root.join(part))?;
    }
    let tag = directory.join("CACHEDIR.TAG");
    if !tag.exists() {
        let text =
            "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of Python packages; safe to delete.\n";
        let staging = Staging::create_with(&root.join("staging"), Rights::of(root)?)?;
        (&**staging.file()).write_all(text.as_bytes())?;
        staging.publish(&tag)?;
    }
    staging::remove_forgotten(&root.join("partial"))?;
    staging::remove_leftovers(&root.join("staging"))
}

impl fmt::Display for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shared.root.display())
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskStore({})", self.shared.root.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(store: &DiskStore, bytes: &[u8]) -> Sha256 {
        let sha256 = Sha256::of(bytes);
        store.publish_bytes(bytes, sha256).unwrap();
        sha256
    }

    #[test]
    fn a_blob_appears_whole_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), None).unwrap();
        let digest = keep(&store, b"hello");
        let again = DiskStore::open(directory.path(), None).unwrap();
        assert_eq!(again.blob(digest).unwrap().unwrap().size, 5);
        assert!(again.blob(Sha256::of(b"other")).unwrap().is_none());
    }

    #[test]
    fn an_abandoned_write_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), None).unwrap();
        let staging = store.stage().unwrap();
        (&**staging.file()).write_all(b"half").unwrap();
        let left = || fs::read_dir(directory.path().join("v1/staging")).unwrap().count();
        assert_eq!(left(), 1);
        let _second_process = DiskStore::open(directory.path(), None).unwrap();
        assert_eq!(left(), 1, "another process must not remove what is being written");
        drop(staging);
        assert_eq!(left(), 0);
    }

    #[test]
    fn an_unfinished_file_is_continued_by_one_writer_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), Some(2500)).unwrap();
        let first = store.stage_partial("key").unwrap();
        (&**first.file()).write_all(b"hel").unwrap();
        let elsewhere = store.stage_partial("key").unwrap();
        assert_eq!(elsewhere.file().metadata().unwrap().len(), 0);
        store.park(first);
        let store = DiskStore::open(directory.path(), Some(2500)).unwrap();
        let second = store.stage_partial("key").unwrap();
        assert_eq!(second.file().metadata().unwrap().len(), 3);
        (&**second.file()).write_all(b"lo").unwrap();
        store.publish(second, Sha256::of(b"hello")).unwrap();
        assert_eq!(store.blob(Sha256::of(b"hello")).unwrap().unwrap().size, 5);
        let third = store.stage_partial("key").unwrap();
        assert_eq!(third.file().metadata().unwrap().len(), 0);
        drop(third);
        let left = fs::read_dir(directory.path().join("v1/partial")).unwrap().count();
        assert_eq!(left, 0, "what is empty is not kept");
    }

    #[test]
    fn unfinished_files_go_before_whole_ones() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), Some(2500)).unwrap();
        let whole = keep(&store, &[1; 1000]);
        let partial = |key: &str| {
            let staging = store.stage_partial(key).unwrap();
            (&**staging.file()).write_all(&[2; 1000]).unwrap();
            staging
        };
        store.park(partial("one"));
        let under_way = partial("two");
        keep(&store, &[3; 1000]);
        assert!(store.blob(whole).unwrap().is_some());
        let names = fs::read_dir(directory.path().join("v1/partial")).unwrap().count();
        assert_eq!(names, 1, "what is under way stays");
        assert_eq!(under_way.file().metadata().unwrap().len(), 1000);
    }

    #[test]
    fn leftovers_of_a_crash_are_removed_at_start() {
        let directory = tempfile::tempdir().unwrap();
        drop(DiskStore::open(directory.path(), None).unwrap());
        let leftover = directory.path().join("v1/staging/crashed");
        fs::write(&leftover, b"half").unwrap();
        drop(DiskStore::open(directory.path(), None).unwrap());
        assert!(!leftover.exists());
    }

    #[test]
    fn the_cap_holds_and_the_least_recently_used_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), Some(2500)).unwrap();
        let blob = |fill: u8| keep(&store, &[fill; 1000]);
        let (first, second) = (blob(1), blob(2));
        let aged = SystemTime::now() - Duration::from_secs(86_400);
        File::open(store.blob_path(second))
            .unwrap()
            .set_modified(aged)
            .unwrap();
        let third = blob(3);
        assert!(store.blob(second).unwrap().is_none());
        assert!(store.blob(first).unwrap().is_some() && store.blob(third).unwrap().is_some());
    }
}
