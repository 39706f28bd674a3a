//! Putting a backup into a hosted source, while it is in use.
//!
//! What is not there is added, checked by its digest. What is there is compared with its digest too: lost and damaged bytes
//! are put back. Nothing else is changed, and what the archive lacks is left out: its name stays free.

use std::collections::HashMap;
use std::io::{self, Read, Write as _};

use super::disk::{Disk, LockedProject, parse_record};
use super::record::{HostedFile, ProjectRecord, State};
use super::{HostedSource, Shared};
use crate::archive::wheel_metadata;
use crate::model::{FileName, ProjectName, Sha256, Sha256Hasher};
use crate::source::{READ_CHUNK, Sibling};
use crate::store::staging::Staging;

/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 256 * 1024 * 1024;

/// The largest sibling that is read, in bytes.
const MAX_SIBLING: u64 = 32 * 1024 * 1024;

/// What became of a backup's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files that are there now and were not before.
    pub added: Vec<FileName>,
    /// Files that were lost or damaged, and are whole again.
    pub repaired: Vec<FileName>,
    /// Files that were there already.
    pub known: usize,
    /// Files that were left out, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// What an archive has of one project.
#[derive(Default)]
struct Parts {
    files: HashMap<FileName, (Staging, Sha256)>,
    siblings: HashMap<String, Vec<u8>>,
}

impl HostedSource {
    /// Puts the project that `record` is about in, with its files as `next` gives them: name and bytes, in any order. An
    /// archive that breaks off is no error: what is behind is missing. Blocks.
    pub fn restore_entry<R: Read>(
        &self,
        project: &ProjectName,
        record: &[u8],
        mut next: impl FnMut() -> io::Result<Option<(String, R)>>,
    ) -> io::Result<Restored> {
        let told = parse_record(record)?;
        let (mut parts, mut broken) = (Parts::default(), None);
        while let Some((name, mut reader)) = next()? {
            let read = match FileName::parse(&name) {
                Ok(filename) => self
                    .shared
                    .staged(&mut reader)?
                    .map(|staged| drop(parts.files.insert(filename, staged))),
                Err(_) => bounded(&mut reader).map(|bytes| drop(parts.siblings.insert(name.clone(), bytes))),
            };
            if let Err(error) = read {
                broken = Some((name, error.to_string()));
                break;
            }
        }
        let mut restored = self.shared.restore(project, told, parts)?;
        restored.left_out.extend(broken);
        Ok(restored)
    }
}

impl Shared {
    /// The outer error is one of writing here, the inner one of reading the archive.
    fn staged(&self, reader: &mut impl Read) -> io::Result<io::Result<(Staging, Sha256)>> {
        let (staging, mut hasher) = (self.disk.stage()?, Sha256Hasher::default());
        let mut buffer = vec![0; READ_CHUNK];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Ok((staging, hasher.finish()))),
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    (&**staging.file()).write_all(&buffer[..count])?;
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn restore(&self, project: &ProjectName, told: ProjectRecord, mut parts: Parts) -> io::Result<Restored> {
        let lock = self.disk.lock()?;
        let known = self.known(project, &lock)?;
        let mut record = known.clone().unwrap_or_else(|| ProjectRecord {
            status: told.status.clone(),
            files: Vec::new(),
        });
        let mut restored = Restored::default();
        for file in told.files {
            let name = file.filename.clone();
            let done = match record.file(&name) {
                Some(there) if there.sha256 != file.sha256 => {
                    Err("other bytes are there under this name".to_owned())
                }
                Some(there) if there.state == State::Removed || self.is_whole(project, there) => {
                    restored.known += 1;
                    continue;
                }
                Some(there) => {
                    let there = there.clone();
                    self.place(project, &there, &mut parts)?
                        .map(|()| restored.repaired.push(name.clone()))
                }
                None if file.state == State::Removed => {
                    record.files.push(file);
                    continue;
                }
                None => self.place(project, &file, &mut parts)?.map(|()| {
                    record.files.push(file);
                    restored.added.push(name.clone());
                }),
            };
            if let Err(why) = done {
                restored.left_out.push((name.to_string(), why));
            }
        }
        if known.as_ref() != Some(&record) {
            self.disk.write(project, &record, &lock)?;
            self.pages.forget(project);
        }
        Ok(restored)
    }

    /// What is recorded here. A record that cannot be understood is moved aside: the archive's takes its place.
    fn known(&self, project: &ProjectName, lock: &LockedProject) -> io::Result<Option<ProjectRecord>> {
        match self.disk.read(project) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let place = self.disk.set_record_aside(project, lock)?;
                tracing::warn!(%project, %error, place = %place.display(), "a record cannot be understood: it was moved aside, and the backup's takes its place");
                Ok(None)
            }
            read => read,
        }
    }

    /// Whether the bytes that the record tells of are there. What cannot be read is not.
    fn is_whole(&self, project: &ProjectName, file: &HostedFile) -> bool {
        let digest = |suffix| self.disk.digest(project, &file.filename, suffix).ok().flatten();
        digest("") == Some(file.sha256)
            && (file.metadata.is_none() || digest(Sibling::Metadata.suffix()) == file.metadata)
            && (!file.has_provenance || digest(Disk::provenance_suffix()).is_some())
    }

    /// Brings a file of the archive to its place. The inner error is why it is left out.
    fn place(
        &self,
        project: &ProjectName,
        file: &HostedFile,
        parts: &mut Parts,
    ) -> io::Result<Result<(), String>> {
        let name = &file.filename;
        let staged = match parts.files.remove(name) {
            Some(staged) if staged.1 == file.sha256 => staged,
            Some(_) => return Ok(Err("its bytes are not those of its digest".to_owned())),
            None => return Ok(Err("the archive does not have its bytes".to_owned())),
        };
        let told = |suffix: &str| parts.siblings.get(&format!("{name}{suffix}")).cloned();
        let mut siblings = Vec::new();
        if let Some(sha256) = file.metadata {
            let is_right = |bytes: &Vec<u8>| Sha256::of(bytes) == sha256;
            let out_of_wheel = || {
                let read = wheel_metadata(io::BufReader::new(&**staged.0.file()), name);
                read.ok().map(|bytes| bytes.to_vec()).filter(is_right)
            };
            match told(Sibling::Metadata.suffix())
                .filter(is_right)
                .or_else(out_of_wheel)
            {
                Some(bytes) => siblings.push((Sibling::Metadata.suffix(), bytes)),
                None => return Ok(Err("its METADATA is not that of its digest".to_owned())),
            }
        }
        if file.has_provenance {
            match told(Disk::provenance_suffix()) {
                Some(bytes) => siblings.push((Disk::provenance_suffix(), bytes)),
                None => return Ok(Err("the archive does not have its attestations".to_owned())),
            }
        }
        let siblings: Vec<_> = siblings
            .iter()
            .map(|(suffix, bytes)| (*suffix, &**bytes))
            .collect();
        self.disk.place(project, name, staged, &siblings)?;
        Ok(Ok(()))
    }
}

fn bounded(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_SIBLING + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_SIBLING {
        true => Err(io::Error::other("a sibling is larger than any real one")),
        false => Ok(bytes),
    }
}

/// What an archive that [`HostedSource::backup`] wrote has at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupEntry {
    /// A project's record.
    Record(ProjectName),
    /// A file or a sibling of a project.
    File(ProjectName, String),
}

impl BackupEntry {
    /// What the path below the prefix means.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        if let Some(name) = path.strip_prefix("projects/") {
            return ProjectName::parse(name.strip_suffix(".json")?)
                .ok()
                .map(Self::Record);
        }
        let (project, name) = path.strip_prefix("files/")?.split_once('/')?;
        (!name.contains('/')).then_some(Self::File(ProjectName::parse(project).ok()?, name.to_owned()))
    }

    /// The most bytes that a record of a backup may have.
    pub const MAX_RECORD: u64 = MAX_RECORD;
}
