//! The layout on disk, and how it is changed so that a crash leaves the old state or the new.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::record::ProjectRecord;
use crate::model::{FileName, ProjectName};
use crate::source::Sibling;
use crate::store::staging::{Staging, remove_leftovers, sync_directory};

/// What is added to a file's name for its attestations.
const PROVENANCE: &str = ".provenance";

/// What tells whether a record has been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// The directory of one hosted source.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
}

/// Held while a record is changed; let go when it is dropped.
pub(super) struct LockedProject(#[expect(dead_code, reason = "closing the file lets go of the lock")] File);

impl Disk {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        for part in ["projects", "files", "staging"] {
            fs::create_dir_all(root.join(part))?;
        }
        remove_leftovers(&root.join("staging"))?;
        Ok(Self { root })
    }

    pub(super) fn stage(&self) -> io::Result<Staging> {
        Staging::create(&self.root.join("staging"))
    }

    /// Waits until nobody else changes a record. Blocks.
    pub(super) fn lock(&self) -> io::Result<LockedProject> {
        let file = File::create(self.root.join("lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(LockedProject(file))
    }

    fn record_path(&self, project: &ProjectName) -> PathBuf {
        // A normal name is a file's name: lower-case ASCII letters, digits and hyphens.
        self.root.join("projects").join(format!("{project}.json"))
    }

    pub(super) fn file_path(&self, project: &ProjectName, filename: &FileName, suffix: &str) -> PathBuf {
        self.root
            .join("files")
            .join(project.as_str())
            .join(format!("{filename}{suffix}"))
    }

    /// What tells the project's record from the next one; `None` where there is none.
    pub(super) fn stamp(&self, project: &ProjectName) -> io::Result<Option<Stamp>> {
        let facts = found(fs::metadata(self.record_path(project)))?;
        Ok(facts.map(|facts| Stamp {
            inode: facts.ino(),
            size: facts.size(),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }))
    }

    /// The record's bytes.
    pub(super) fn read_bytes(&self, project: &ProjectName) -> io::Result<Option<Vec<u8>>> {
        found(fs::read(self.record_path(project)))
    }

    /// The record. One that cannot be understood is an error: hosted projects are never lost in silence.
    pub(super) fn read(&self, project: &ProjectName) -> io::Result<Option<ProjectRecord>> {
        self.read_bytes(project)?
            .map(|bytes| parse_record(&bytes))
            .transpose()
    }

    /// Replaces the record. The caller holds the lock.
    pub(super) fn write(
        &self,
        project: &ProjectName,
        record: &ProjectRecord,
        _lock: &LockedProject,
    ) -> io::Result<()> {
        let staging = self.stage()?;
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        (&**staging.file()).write_all(&bytes)?;
        let target = self.record_path(project);
        staging.publish(&target)?;
        sync_directory(&self.root.join("projects"))
    }

    pub(super) fn projects(&self) -> io::Result<Vec<ProjectName>> {
        self.names_in("projects", ".json")
    }

    /// The projects that have a directory of files, recorded or not.
    pub(super) fn directories(&self) -> io::Result<Vec<ProjectName>> {
        self.names_in("files", "")
    }

    fn names_in(&self, part: &str, suffix: &str) -> io::Result<Vec<ProjectName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(part))? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(suffix));
            names.extend(stem.and_then(|stem| ProjectName::parse(stem).ok()));
        }
        Ok(names)
    }

    /// Brings a received file to its place, with what lies beside it. Nobody sees any of it before the record names it.
    pub(super) fn place(
        &self,
        project: &ProjectName,
        filename: &FileName,
        staging: Staging,
        siblings: &[(&str, &[u8])],
    ) -> io::Result<()> {
        let directory = self.root.join("files").join(project.as_str());
        if !directory.exists() {
            fs::create_dir_all(&directory)?;
            sync_directory(&self.root.join("files"))?;
        }
        for (suffix, bytes) in siblings {
            let sibling = self.stage()?;
            (&**sibling.file()).write_all(bytes)?;
            sibling.publish(&self.file_path(project, filename, suffix))?;
        }
        staging.publish(&self.file_path(project, filename, ""))?;
        sync_directory(&directory)
    }

    /// The sibling for [`Disk::place`] that attestations are.
    pub(super) fn provenance_suffix() -> &'static str {
        PROVENANCE
    }

    pub(super) fn open_file(
        &self,
        project: &ProjectName,
        filename: &FileName,
        sibling: Sibling,
    ) -> io::Result<File> {
        File::open(self.file_path(project, filename, sibling.suffix()))
    }

    pub(super) fn provenance(
        &self,
        project: &ProjectName,
        filename: &FileName,
    ) -> io::Result<Option<Vec<u8>>> {
        found(fs::read(self.file_path(project, filename, PROVENANCE)))
    }

    /// Removes the bytes of a file and what lies beside it.
    pub(super) fn remove(&self, project: &ProjectName, filename: &FileName) -> io::Result<()> {
        for suffix in ["", Sibling::Metadata.suffix(), PROVENANCE] {
            found(fs::remove_file(self.file_path(project, filename, suffix)))?;
        }
        Ok(())
    }

    /// For how long a file has been lying there.
    pub(super) fn age(
        &self,
        project: &ProjectName,
        filename: &FileName,
        now: SystemTime,
    ) -> io::Result<Duration> {
        let written = fs::metadata(self.file_path(project, filename, ""))?.modified()?;
        Ok(now.duration_since(written).unwrap_or_default())
    }

    /// Names of the files that lie in a project's directory, siblings left out.
    pub(super) fn stored_files(&self, project: &ProjectName) -> io::Result<Vec<FileName>> {
        let Some(entries) = found(fs::read_dir(self.root.join("files").join(project.as_str())))? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| FileName::parse(name).ok()),
            );
        }
        Ok(names)
    }
}

/// A record out of its bytes.
pub(super) fn parse_record(bytes: &[u8]) -> io::Result<ProjectRecord> {
    serde_json::from_slice(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What is not there is no error.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}
