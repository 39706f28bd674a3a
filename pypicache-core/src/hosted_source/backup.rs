//! Taking everything out of a hosted source, while it is in use.
//!
//! A backup is a tar archive, one project after the other: first its record, then the files that the record names, behind
//! what lies beside them. Files never change, so nothing has to be locked: what is uploaded meanwhile is in the next backup.
//!
//! ```text
//! <prefix>/projects/<project>.json
//! <prefix>/files/<project>/<file>[.metadata|.provenance]
//! ```
//!
//! Every file is compared with its digest. What is lost, damaged or unreadable is named and left out, and the rest goes on.

use std::io::{self, Seek as _, Write};

use super::HostedSource;
use super::archive_frame::BackupWriter;
use super::disk::{Disk, digest_of, parse_record};
use super::record::{HostedFile, ProjectRecord, State};
use crate::model::{FileName, ProjectName, Sha256};
use crate::source::Sibling;

impl HostedSource {
    /// Writes everything below `prefix` of the archive. What cannot be had is noted there; an error is one of writing. Blocks.
    pub fn backup<W: Write>(&self, archive: &mut BackupWriter<W>, prefix: &str) -> io::Result<()> {
        let disk = &self.shared.disk;
        let (mut projects, recorded) = match (disk.directories(), disk.projects()) {
            (Ok(directories), Ok(recorded)) => (directories, recorded),
            (Err(error), _) | (_, Err(error)) => {
                archive.miss(prefix, error);
                return Ok(());
            }
        };
        projects.extend(recorded);
        projects.sort();
        projects.dedup();
        for project in projects {
            let place = format!("{prefix}/projects/{project}.json");
            match read(disk, &project) {
                Ok(Some((bytes, record))) => {
                    archive.append(&place, &bytes)?;
                    for file in &record.files {
                        append_file(disk, archive, prefix, &project, file)?;
                    }
                }
                Ok(None) if disk.stored_files(&project).is_ok_and(|files| files.is_empty()) => {}
                Ok(None) => archive.miss(place, "there are files without a record"),
                Err(error) => archive.miss(place, error),
            }
        }
        Ok(())
    }
}

fn read(disk: &Disk, project: &ProjectName) -> io::Result<Option<(Vec<u8>, ProjectRecord)>> {
    let Some(bytes) = disk.read_bytes(project)? else {
        return Ok(None);
    };
    let record = parse_record(&bytes)?;
    Ok(Some((bytes, record)))
}

/// The siblings first, the file behind them: whoever puts it in has everything when the file comes.
fn append_file<W: Write>(
    disk: &Disk,
    archive: &mut BackupWriter<W>,
    prefix: &str,
    project: &ProjectName,
    file: &HostedFile,
) -> io::Result<()> {
    if file.state == State::Removed {
        return Ok(());
    }
    let provenance = file.has_provenance.then_some((Disk::provenance_suffix(), None));
    let metadata = file
        .metadata
        .map(|sha256| (Sibling::Metadata.suffix(), Some(sha256)));
    let parts = metadata
        .into_iter()
        .chain(provenance)
        .chain([("", Some(file.sha256))]);
    for (suffix, sha256) in parts {
        let place = format!("{prefix}/files/{project}/{}{suffix}", file.filename);
        match checked(disk, project, &file.filename, suffix, sha256) {
            Ok((open, size)) => {
                archive.append_file(&place, open, size)?;
                archive.files += u64::from(suffix.is_empty());
            }
            // A sweep may have come between: then the next record says so.
            Err(_) if is_removed_by_now(disk, project, &file.filename) => return Ok(()),
            Err(error) => archive.miss(place, error),
        }
    }
    Ok(())
}

/// The file and its length, after all of it was compared with its digest.
fn checked(
    disk: &Disk,
    project: &ProjectName,
    filename: &FileName,
    suffix: &str,
    sha256: Option<Sha256>,
) -> io::Result<(std::fs::File, u64)> {
    let Some(mut file) = disk.open_stored(project, filename, suffix)? else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is lost"));
    };
    if let Some(sha256) = sha256 {
        let found = digest_of(&file)?;
        if found != sha256 {
            let text = format!("it is damaged: its sha256 is {found}, not {sha256}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        file.rewind()?;
    }
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn is_removed_by_now(disk: &Disk, project: &ProjectName, filename: &FileName) -> bool {
    let record = disk.read(project).ok().flatten();
    record.is_some_and(|record| {
        record
            .file(filename)
            .is_some_and(|file| file.state == State::Removed)
    })
}
