//! The layout on disk, and how it is changed so that a crash leaves the old state or the new.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::record::ProjectRecord;
use crate::local_fs::{Beneath, FileLock, Rights, create_dir_all, prepare_dir};
use crate::model::{FileName, ProjectName, Sha256, Sha256Hasher};
use crate::source::{READ_CHUNK, Sibling};
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
    /// Projects whose record could not be understood when it was read last. A std mutex: held for a look or a change.
    damaged: Mutex<BTreeSet<ProjectName>>,
}

/// Held while a record is changed; let go when it is dropped.
pub(super) struct LockedProject(#[expect(dead_code, reason = "dropping it lets go of the lock")] FileLock);

impl Disk {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        prepare_dir(&root)?;
        for part in ["projects", "files", "staging"] {
            prepare_dir(&root.join(part))?;
        }
        remove_leftovers(&root.join("staging"))?;
        Ok(Self {
            root,
            damaged: Mutex::default(),
        })
    }

    pub(super) fn stage(&self) -> io::Result<Staging> {
        let staging = self.root.join("staging");
        Staging::create_with(&staging, Rights::of(&staging)?)
    }

    /// Waits until nobody else changes a record, but not for ever. Blocks.
    pub(super) fn lock(&self) -> io::Result<LockedProject> {
        FileLock::acquire(&self.root.join("lock"), FileLock::LIMIT).map(LockedProject)
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
        let facts = found(fs::symlink_metadata(self.record_path(project)))?;
        Ok(facts.map(|facts| Stamp {
            inode: facts.ino(),
            size: facts.size(),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }))
    }

    /// The record's bytes.
    pub(super) fn read_bytes(&self, project: &ProjectName) -> io::Result<Option<Vec<u8>>> {
        let file = self.open_below(&Path::new("projects").join(format!("{project}.json")))?;
        file.map(whole).transpose()
    }

    /// What lies at a path below the root: never through a link, and only regular files.
    fn open_below(&self, relative: &Path) -> io::Result<Option<File>> {
        found(Beneath::open(&self.root)?.file(relative))
    }

    /// The record. One that cannot be understood is an error: hosted projects are never lost in silence.
    pub(super) fn read(&self, project: &ProjectName) -> io::Result<Option<ProjectRecord>> {
        self.read_bytes(project)?
            .map(|bytes| self.parse(project, &bytes))
            .transpose()
    }

    /// The record out of its bytes. That it is damaged is said in the log once, and kept in mind until it can be read again.
    pub(super) fn parse(&self, project: &ProjectName, bytes: &[u8]) -> io::Result<ProjectRecord> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        match parse_record(bytes) {
            Ok(record) => {
                damaged.remove(project);
                Ok(record)
            }
            Err(error) => {
                let path = self.record_path(project);
                if damaged.insert(project.clone()) {
                    tracing::error!(path = %path.display(), %error, "the record of a hosted project is damaged; restore it from a backup");
                }
                let text = format!("the record {} is damaged: {error}", path.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }

    /// Projects whose record is damaged, as far as they were read.
    pub(super) fn damaged(&self) -> Vec<ProjectName> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.iter().cloned().collect()
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

    /// Brings a received file to its place, with what lies beside it. Nobody sees any of it before the record names it. Other
    /// bytes that lie there are of a record that was lost, or damaged: they are set aside.
    pub(super) fn place(
        &self,
        project: &ProjectName,
        filename: &FileName,
        (staging, sha256): (Staging, Sha256),
        siblings: &[(&str, &[u8])],
    ) -> io::Result<()> {
        let directory = self.root.join("files").join(project.as_str());
        if !directory.exists() {
            create_dir_all(&directory)?;
            sync_directory(&self.root.join("files"))?;
        }
        match self.digest(project, filename, "") {
            Ok(None) => {}
            Ok(Some(lying)) if lying == sha256 => {}
            // Other bytes, or such that cannot be read.
            _ => drop(self.set_aside(project, filename)?),
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
        let opened = self.open_stored(project, filename, sibling.suffix())?;
        opened.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What lies beside a file, or the file itself.
    pub(super) fn open_stored(
        &self,
        project: &ProjectName,
        filename: &FileName,
        suffix: &str,
    ) -> io::Result<Option<File>> {
        let name = format!("{filename}{suffix}");
        self.open_below(&Path::new("files").join(project.as_str()).join(name))
    }

    /// The digest of what lies there, worked out now; `None` where nothing does, or nothing that can be read as a file.
    pub(super) fn digest(
        &self,
        project: &ProjectName,
        filename: &FileName,
        suffix: &str,
    ) -> io::Result<Option<Sha256>> {
        match self.open_stored(project, filename, suffix) {
            Ok(file) => file.map(|file| digest_of(&file)).transpose(),
            // A directory, or a link: no bytes of ours.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Some(Sha256::of(b""))),
            Err(error) => Err(error),
        }
    }

    pub(super) fn provenance(
        &self,
        project: &ProjectName,
        filename: &FileName,
    ) -> io::Result<Option<Vec<u8>>> {
        self.open_stored(project, filename, PROVENANCE)?
            .map(whole)
            .transpose()
    }

    /// Removes the bytes of a file and what lies beside it.
    pub(super) fn remove(&self, project: &ProjectName, filename: &FileName) -> io::Result<()> {
        for suffix in ["", Sibling::Metadata.suffix(), PROVENANCE] {
            found(fs::remove_file(self.file_path(project, filename, suffix)))?;
        }
        Ok(())
    }

    /// Moves a file that no record names, and what lies beside it, to where nothing is ever removed.
    pub(super) fn set_aside(&self, project: &ProjectName, filename: &FileName) -> io::Result<PathBuf> {
        let aside = self.root.join("orphaned").join(project.as_str());
        let is_free = |directory: &PathBuf| !directory.join(filename.as_str()).exists();
        let numbered =
            std::iter::once(aside.clone()).chain((2..).map(|number: u32| aside.join(number.to_string())));
        let Some(directory) = { numbered }.find(is_free) else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        create_dir_all(&directory)?;
        for suffix in [Sibling::Metadata.suffix(), PROVENANCE, ""] {
            let name = format!("{filename}{suffix}");
            found(fs::rename(
                self.file_path(project, filename, suffix),
                directory.join(name),
            ))?;
        }
        sync_directory(&directory)?;
        Ok(directory)
    }

    /// The same for a record that cannot be understood.
    pub(super) fn set_record_aside(
        &self,
        project: &ProjectName,
        _lock: &LockedProject,
    ) -> io::Result<PathBuf> {
        let aside = self.root.join("orphaned");
        create_dir_all(&aside)?;
        let numbered = (1..).map(|number: u32| aside.join(format!("{project}.json.{number}")));
        let Some(target) = { numbered }.find(|target| !target.exists()) else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        fs::rename(self.record_path(project), &target)?;
        sync_directory(&aside)?;
        Ok(target)
    }

    /// For how long a file has been lying there.
    pub(super) fn age(
        &self,
        project: &ProjectName,
        filename: &FileName,
        now: SystemTime,
    ) -> io::Result<Duration> {
        let written = fs::symlink_metadata(self.file_path(project, filename, ""))?.modified()?;
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

fn whole(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file from where it stands to its end.
pub(super) fn digest_of(mut file: &File) -> io::Result<Sha256> {
    let (mut hasher, mut buffer) = (Sha256Hasher::default(), vec![0; READ_CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
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
