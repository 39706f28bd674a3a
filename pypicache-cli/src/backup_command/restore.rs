//! `pypicache backup restore`: the whole archive is compared with its end record before anything of it is put back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pypicache_core::hosted_source::{BackupEntry, HostedSource, Restored, check_backup};
use pypicache_core::local_fs::{Rights, prepare_dir};
use pypicache_core::model::ProjectName;
use pypicache_server::data_dir::{self, LAYOUT};
use pypicache_server::observe::audit::{self, Event};

use super::members::{Entries, Entry, Part, next, of_project, open, part_of, path_of, skip};
use super::{ROOT, TOKENS};
use crate::data::Data;
use crate::output::{print_line, report_line};
use crate::{FAILED, OK, error_chain};

/// The largest document of tokens that is read, in bytes.
const MAX_TOKENS: u64 = 64 * 1024 * 1024;

pub(super) fn restore(data: &Data, path: &Path, partial: bool) -> Result<u8, u8> {
    let failed = |error: io::Error| {
        report_line!("error: the backup {} cannot be put back: {error}", path.display());
        FAILED
    };
    let is_whole = match check_backup(open(path).map_err(failed)?, ROOT) {
        Ok(end) => {
            for missing in &end.missing {
                report_line!(
                    "not in this backup: {}: {}",
                    missing.what.escape_debug(),
                    missing.why.escape_debug()
                );
            }
            true
        }
        Err(damage) => {
            let severity = if partial { "warning" } else { "error" };
            report_line!(
                "{severity}: {} is no whole backup: {}",
                path.display(),
                error_chain(&damage)
            );
            if !partial {
                report_line!(
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
        report_line!("left out: {}: {}", name.escape_debug(), why.escape_debug());
    }
    if restoring.repaired > 0 {
        print_line!("{} that were lost or damaged are whole again", restoring.repaired);
    }
    print_line!(
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
            Ok(true) => report_line!("the tokens are back"),
            Ok(false) => report_line!("tokens stay as they are: there are some already"),
            Err(why) => self.left_out.push((TOKENS.to_owned(), why)),
        }
        Ok(())
    }

    /// A file of the audit log is put beside the one that is written now, and never over another.
    fn audit(&mut self, name: &str, mut entry: Entry<'_>) -> io::Result<()> {
        prepare_dir(&self.audit_logs)?;
        let target = self.audit_logs.join(name);
        if target.exists() {
            report_line!("{} stays as it is", target.display());
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
