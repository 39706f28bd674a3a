//! `pypicache backup restore`: the whole archive is compared with its end record before anything of it is put back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use pypicache_core::hosted_source::{BackupEntry, HostedSource, Restored, check_backup};
use pypicache_core::local_fs::{Rights, prepare_dir};
use pypicache_core::model::ProjectName;
use pypicache_server::data_dir::{self, LAYOUT};
use pypicache_server::observe::audit::{self, Event};

use super::{ROOT, TOKENS};
use crate::data::Data;
use crate::{FAILED, OK, error_chain};

/// The largest document of tokens that is read, in bytes.
const MAX_TOKENS: u64 = 64 * 1024 * 1024;

/// The rest of the archive, which the reader of a project's files takes from one by one.
type Entries<'a> = tar::Entries<'a, Box<dyn Read>>;

/// One of them.
type Entry<'a> = tar::Entry<'a, Box<dyn Read>>;

pub(super) fn restore(data: &Data, path: &Path, partial: bool) -> Result<u8, u8> {
    let failed = |error: io::Error| {
        anstream::eprintln!("error: the backup {} cannot be put back: {error}", path.display());
        FAILED
    };
    let is_whole = match check_backup(open(path).map_err(failed)?, ROOT) {
        Ok(end) => {
            for missing in &end.missing {
                anstream::eprintln!(
                    "not in this backup: {}: {}",
                    missing.what.escape_debug(),
                    missing.why.escape_debug()
                );
            }
            true
        }
        Err(damage) => {
            let severity = if partial { "warning" } else { "error" };
            anstream::eprintln!(
                "{severity}: {} is no whole backup: {}",
                path.display(),
                error_chain(&damage)
            );
            if !partial {
                anstream::eprintln!(
                    "Nothing was put back. --partial takes what is whole of it; what it lacks is left out."
                );
                return Err(FAILED);
            }
            false
        }
    };
    data_dir::prepare(data.data_dir()).map_err(failed)?;
    let mut archive = tar::Archive::new(open(path).map_err(failed)?);
    let entries = RefCell::new(archive.entries().map_err(failed)?);
    let mut restoring = Restoring::new(data);
    let ended = restoring.all(&entries);
    for (name, why) in &restoring.left_out {
        anstream::eprintln!("left out: {}: {}", name.escape_debug(), why.escape_debug());
    }
    if restoring.repaired > 0 {
        anstream::println!("{} that were lost or damaged are whole again", restoring.repaired);
    }
    anstream::println!(
        "{} restored, {} there already, {} left out",
        restoring.added,
        restoring.known,
        restoring.left_out.len()
    );
    ended.map_err(failed)?;
    Ok(if restoring.left_out.is_empty() && is_whole {
        OK
    } else {
        FAILED
    })
}

/// The archive from its beginning, unpacked where it is packed.
fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path)?);
    Ok(match file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    })
}

/// What has been put back so far.
struct Restoring<'a> {
    data: &'a Data,
    /// Those that were asked for, `None` where there is no such source.
    sources: BTreeMap<String, Option<HostedSource>>,
    /// Where files of the audit log go.
    audit_logs: PathBuf,
    added: usize,
    repaired: usize,
    known: usize,
    left_out: Vec<(String, String)>,
}

impl<'a> Restoring<'a> {
    fn new(data: &'a Data) -> Self {
        let mut audit_logs = data.data_dir().join(LAYOUT).join(audit::DIRECTORY);
        // A log that has begun here goes on: the other one lies beside it.
        if audit_logs.join("audit.jsonl").exists() {
            audit_logs.push("restored");
        }
        Self {
            data,
            sources: BTreeMap::new(),
            audit_logs,
            added: 0,
            repaired: 0,
            known: 0,
            left_out: Vec::new(),
        }
    }

    /// An error is one of writing here.
    fn all(&mut self, entries: &RefCell<Entries<'_>>) -> io::Result<()> {
        let mut ahead = self.next(entries);
        while let Some(entry) = ahead.take() {
            let path = path_of(&entry);
            ahead = match part_of(&path) {
                Part::End => self.next(entries),
                Part::Tokens => {
                    self.tokens(entry)?;
                    self.next(entries)
                }
                Part::Audit(name) => {
                    self.audit(name, entry)?;
                    self.next(entries)
                }
                Part::Project(source, project) => self.project(source, &project, entry, entries)?,
                Part::Unknown => {
                    self.left_out.push((
                        path,
                        "it is not a part of a backup, or its record is missing".to_owned(),
                    ));
                    self.next(entries)
                }
            };
        }
        Ok(())
    }

    /// The next member; an archive that breaks off has none, which is noted.
    fn next<'e>(&mut self, entries: &RefCell<Entries<'e>>) -> Option<Entry<'e>> {
        next(entries).unwrap_or_else(|error| {
            self.left_out
                .push(("the rest of the archive".to_owned(), error.to_string()));
            None
        })
    }

    /// Tokens are put back where there are none.
    fn tokens(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let read = entry.take(MAX_TOKENS).read_to_end(&mut bytes);
        let restored = read.map_err(|error| error.to_string());
        let restored = restored.and_then(|_| {
            self.data
                .tokens()
                .restore(&bytes)
                .map_err(|error| error_chain(&error))
        });
        match restored {
            Ok(true) => anstream::eprintln!("the tokens are back"),
            Ok(false) => anstream::eprintln!("tokens stay as they are: there are some already"),
            Err(why) => self.left_out.push((TOKENS.to_owned(), why)),
        }
        Ok(())
    }

    /// A file of the audit log is put beside the one that is written now, and never over another.
    fn audit(&mut self, name: &str, mut entry: Entry<'_>) -> io::Result<()> {
        prepare_dir(&self.audit_logs)?;
        let target = self.audit_logs.join(name);
        if target.exists() {
            anstream::eprintln!("{} stays as it is", target.display());
            return Ok(());
        }
        let mut staged = tempfile::NamedTempFile::new_in(&self.audit_logs)?;
        Rights::of(&self.audit_logs)?.settle(staged.as_file())?;
        if let Err(error) = io::copy(&mut entry, &mut staged) {
            self.left_out
                .push((format!("{}/{name}", audit::DIRECTORY), error.to_string()));
            return Ok(());
        }
        staged.as_file().sync_all()?;
        staged.persist_noclobber(&target)?;
        Ok(())
    }

    /// Puts one project in: its record, and the entries behind that are of it. Gives the entry behind these.
    fn project<'e>(
        &mut self,
        name: &str,
        project: &ProjectName,
        record: Entry<'e>,
        entries: &RefCell<Entries<'e>>,
    ) -> io::Result<Option<Entry<'e>>> {
        let Some(source) = self.source(name) else {
            self.left_out.push((
                format!("{name}/{project}"),
                "no hosted source of this name is in the configuration".to_owned(),
            ));
            return Ok(skip(entries, name, project));
        };
        let mut bytes = Vec::new();
        if let Err(error) = record.take(BackupEntry::MAX_RECORD).read_to_end(&mut bytes) {
            self.left_out
                .push((format!("{name}/{project}"), error.to_string()));
            return Ok(None);
        }
        let (mut behind, mut broken) = (None, None);
        let restored = source.restore_entry(project, &bytes, || {
            match next(entries) {
                Ok(Some(entry)) => match of_project(&entry, name, project) {
                    Some(file) => return Ok(Some((file, entry))),
                    None => behind = Some(entry),
                },
                Ok(None) => {}
                Err(error) => broken = Some(error),
            }
            Ok(None)
        });
        let restored = match restored {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.left_out.push((
                    format!("{name}/{project}"),
                    format!("its record cannot be understood: {error}"),
                ));
                return Ok(skip(entries, name, project));
            }
            restored => restored?,
        };
        self.count(name, project, restored);
        if let Some(error) = broken {
            self.left_out
                .push(("the rest of the archive".to_owned(), error.to_string()));
        }
        Ok(behind)
    }

    fn count(&mut self, source: &str, project: &ProjectName, restored: Restored) {
        self.added += restored.added.len();
        self.repaired += restored.repaired.len();
        self.known += restored.known;
        self.left_out.extend(restored.left_out);
        let files: Vec<_> = restored
            .added
            .iter()
            .chain(&restored.repaired)
            .map(ToString::to_string)
            .collect();
        if !files.is_empty() {
            self.data.audit.note(&Event {
                project: Some(project.to_string()),
                files,
                source: Some(source.to_owned()),
                ..Event::new("backup-restored")
            });
        }
    }

    fn source(&mut self, name: &str) -> Option<HostedSource> {
        if let Some(known) = self.sources.get(name) {
            return known.clone();
        }
        let source = self.data.named(name);
        self.sources.insert(name.to_owned(), source.clone());
        source
    }
}

/// What a member is.
enum Part<'a> {
    Tokens,
    Audit(&'a str),
    Project(&'a str, ProjectName),
    End,
    Unknown,
}

fn part_of(path: &str) -> Part<'_> {
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
fn of_project(entry: &Entry<'_>, source: &str, project: &ProjectName) -> Option<String> {
    let path = path_of(entry);
    match meaning(path.strip_prefix(ROOT)?.strip_prefix('/')?)? {
        (of, BackupEntry::File(owner, file)) if of == source && owner == *project => Some(file),
        _ => None,
    }
}

/// The first entry that is not of this project.
fn skip<'e>(entries: &RefCell<Entries<'e>>, source: &str, project: &ProjectName) -> Option<Entry<'e>> {
    loop {
        let entry = next(entries).ok()??;
        if of_project(&entry, source, project).is_none() {
            return Some(entry);
        }
    }
}

/// The next regular file. Links and the like are no part of a backup, and are never followed.
fn next<'e>(entries: &RefCell<Entries<'e>>) -> io::Result<Option<Entry<'e>>> {
    loop {
        match entries.borrow_mut().next().transpose()? {
            Some(entry) if !entry.header().entry_type().is_file() => {
                anstream::eprintln!(
                    "passed over: {}: it is no regular file",
                    path_of(&entry).escape_debug()
                );
            }
            entry => return Ok(entry),
        }
    }
}

fn path_of<R: Read>(entry: &tar::Entry<'_, R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}
