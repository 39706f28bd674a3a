//! Taking everything out of a hosted source and putting it into another, while both are in use.
//!
//! A backup is a tar archive, one project after the other: first its record, then the files that the record names, then what
//! lies beside them. Files never change, so nothing has to be locked: what is uploaded meanwhile is in the next backup.
//!
//! ```text
//! <prefix>/projects/<project>.json
//! <prefix>/files/<project>/<file>[.metadata|.provenance]
//! ```
//!
//! Putting in adds what is not there yet, checked by its digest, and changes nothing that is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};

use super::disk::{Disk, parse_record};
use super::record::{ProjectRecord, State};
use super::{HostedSource, Shared};
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
    pub added: usize,
    /// Files that were there already.
    pub known: usize,
    /// Files that were left out, with the reason.
    pub left_out: Vec<(String, String)>,
}

impl HostedSource {
    /// Writes everything below `prefix` of the archive. Gives the number of files. Blocks.
    pub fn backup<W: Write>(&self, archive: &mut tar::Builder<W>, prefix: &str) -> io::Result<usize> {
        let disk = &self.shared.disk;
        let mut projects = disk.projects()?;
        projects.sort();
        let mut count = 0;
        for project in projects {
            let Some(bytes) = disk.read_bytes(&project)? else {
                continue;
            };
            append(archive, &format!("{prefix}/projects/{project}.json"), &bytes)?;
            for file in parse_record(&bytes)?.files {
                for suffix in [Sibling::Metadata.suffix(), Disk::provenance_suffix(), ""] {
                    let Some(mut open) = disk.open_lying(&project, &file.filename, suffix)? else {
                        continue;
                    };
                    archive.append_file(
                        format!("{prefix}/files/{project}/{}{suffix}", file.filename),
                        &mut open,
                    )?;
                    count += usize::from(suffix.is_empty());
                }
            }
        }
        Ok(count)
    }

    /// Puts the project that `record` is about in, with its files as `next` gives them: name and bytes, siblings before
    /// the file that they are of. Blocks.
    pub fn restore_entry<R: Read>(
        &self,
        project: &ProjectName,
        record: &[u8],
        mut next: impl FnMut() -> io::Result<Option<(String, R)>>,
    ) -> io::Result<Restored> {
        let told = parse_record(record)?;
        let mut staged = HashMap::new();
        let mut siblings: HashMap<String, Vec<u8>> = HashMap::new();
        while let Some((name, mut reader)) = next()? {
            match FileName::parse(&name) {
                Ok(filename) => drop(staged.insert(filename, self.shared.staged(&mut reader)?)),
                Err(_) => drop(siblings.insert(name, bounded(&mut reader)?)),
            }
        }
        self.shared.restore_entry(project, told, staged, &siblings)
    }
}

impl Shared {
    fn staged(&self, reader: &mut impl Read) -> io::Result<(Staging, Sha256)> {
        let (staging, mut hasher) = (self.disk.stage()?, Sha256Hasher::default());
        let mut buffer = vec![0; READ_CHUNK];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok((staging, hasher.finish())),
                count => {
                    hasher.update(&buffer[..count]);
                    (&**staging.file()).write_all(&buffer[..count])?;
                }
            }
        }
    }

    fn restore_entry(
        &self,
        project: &ProjectName,
        told: ProjectRecord,
        mut staged: HashMap<FileName, (Staging, Sha256)>,
        siblings: &HashMap<String, Vec<u8>>,
    ) -> io::Result<Restored> {
        let lock = self.disk.lock()?;
        let known = self.disk.read(project)?;
        let mut record = known.clone().unwrap_or_else(|| ProjectRecord {
            status: told.status.clone(),
            files: Vec::new(),
        });
        let mut restored = Restored::default();
        for mut file in told.files {
            let name = file.filename.clone();
            if let Some(there) = record.file(&name) {
                match there.sha256 == file.sha256 {
                    true => restored.known += 1,
                    false => restored.left_out.push((
                        name.to_string(),
                        "other bytes are there under this name".to_owned(),
                    )),
                }
                continue;
            }
            match staged.remove(&name) {
                Some((staging, sha256)) if sha256 == file.sha256 => {
                    let beside = |suffix: &'static str| {
                        Some((suffix, siblings.get(&format!("{name}{suffix}"))?.as_slice()))
                    };
                    let beside: Vec<_> = [Sibling::Metadata.suffix(), Disk::provenance_suffix()]
                        .into_iter()
                        .filter_map(beside)
                        .collect();
                    self.disk.place(project, &name, staging, &beside)?;
                    restored.added += 1;
                }
                Some(_) => {
                    restored.left_out.push((
                        name.to_string(),
                        "its bytes are not those of its digest".to_owned(),
                    ));
                    continue;
                }
                // Its bytes are gone, but the name stays taken.
                None => file.state = State::Removed,
            }
            record.files.push(file);
        }
        if known.as_ref() != Some(&record) {
            self.disk.write(project, &record, &lock)?;
            self.pages.forget(project);
        }
        Ok(restored)
    }
}

fn append<W: Write>(archive: &mut tar::Builder<W>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, path, bytes)
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

/// Opens what lies beside a file, or the file itself.
impl Disk {
    fn open_lying(
        &self,
        project: &ProjectName,
        filename: &FileName,
        suffix: &str,
    ) -> io::Result<Option<File>> {
        match File::open(self.file_path(project, filename, suffix)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
