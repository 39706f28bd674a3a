//! The members of a backup, one by one, and what each of them is.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use pypicache_core::hosted_source::BackupEntry;
use pypicache_core::model::ProjectName;
use pypicache_server::observe::audit;

use super::{ROOT, TOKENS};
use crate::output::report_line;

/// The rest of the archive, which the reader of a project's files takes from one by one.
pub(super) type Entries<'a> = tar::Entries<'a, Box<dyn Read>>;

/// One of them.
pub(super) type Entry<'a> = tar::Entry<'a, Box<dyn Read>>;

/// The archive from its beginning, unpacked where it is packed.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path)?);
    Ok(match file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    })
}

/// What a member is.
pub(super) enum Part<'a> {
    Tokens,
    Audit(&'a str),
    Project(&'a str, ProjectName),
    End,
    Unknown,
}

pub(super) fn part_of(path: &str) -> Part<'_> {
    let Some(rest) = path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('/')) else {
        return Part::Unknown;
    };
    let is_plain = |name: &&str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(fits)
    };
    match rest {
        TOKENS => Part::Tokens,
        "end.json" => Part::End,
        _ => {
            let log = rest
                .strip_prefix(audit::DIRECTORY)
                .and_then(|rest| rest.strip_prefix('/'));
            if let Some(name) = log.filter(is_plain) {
                return Part::Audit(name);
            }
            match meaning(rest) {
                Some((source, BackupEntry::Record(project))) => Part::Project(source, project),
                _ => Part::Unknown,
            }
        }
    }
}

/// Which source an entry is of, and what it is there.
fn meaning(rest: &str) -> Option<(&str, BackupEntry)> {
    let (source, rest) = rest.strip_prefix("hosted/")?.split_once('/')?;
    Some((source, BackupEntry::of(rest)?))
}

/// The name of the file, if the entry is one of this project.
pub(super) fn of_project(entry: &Entry<'_>, source: &str, project: &ProjectName) -> Option<String> {
    let path = path_of(entry);
    match meaning(path.strip_prefix(ROOT)?.strip_prefix('/')?)? {
        (of, BackupEntry::File(owner, file)) if of == source && owner == *project => Some(file),
        _ => None,
    }
}

/// The first entry that is not of this project.
pub(super) fn skip<'e>(
    entries: &RefCell<Entries<'e>>,
    source: &str,
    project: &ProjectName,
) -> Option<Entry<'e>> {
    loop {
        let entry = next(entries).ok()??;
        if of_project(&entry, source, project).is_none() {
            return Some(entry);
        }
    }
}

/// The next regular file. Links and the like are no part of a backup, and are never followed.
pub(super) fn next<'e>(entries: &RefCell<Entries<'e>>) -> io::Result<Option<Entry<'e>>> {
    loop {
        match entries.borrow_mut().next().transpose()? {
            Some(entry) if !entry.header().entry_type().is_file() => {
                report_line!(
                    "passed over: {}: it is no regular file",
                    path_of(&entry).escape_debug()
                );
            }
            entry => return Ok(entry),
        }
    }
}

pub(super) fn path_of<R: Read>(entry: &tar::Entry<'_, R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}
