//! `pypicache backup create` and `pypicache backup restore`: everything that cannot be fetched again, in one tar archive, on
//! the host of a server that may run meanwhile.
//!
//! ```text
//! pypicache-backup/tokens.json
//! pypicache-backup/hosted/<source>/...      see pypicache_core::hosted_source
//! ```

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use pypicache_core::hosted_source::{BackupEntry, HostedSource, Restored};
use pypicache_core::model::ProjectName;
use pypicache_server::observe::audit::Event;

use crate::args::BackupCommand;
use crate::data::Data;
use crate::{FAILED, OK};

/// In front of every path in the archive.
const ROOT: &str = "pypicache-backup";

pub(crate) fn backup(command: BackupCommand) -> u8 {
    let done = match &command {
        BackupCommand::Create(options) => {
            Data::load(&options.data).and_then(|data| create(&data, &options.file))
        }
        BackupCommand::Restore(options) => {
            Data::load(&options.data).and_then(|data| restore(&data, &options.file))
        }
    };
    done.unwrap_or_else(|code| code)
}

fn create(data: &Data, path: &Path) -> Result<u8, u8> {
    let failed = |error: io::Error| {
        anstream::eprintln!("error: the backup {} cannot be written: {error}", path.display());
        FAILED
    };
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let out: Box<dyn Write> = match (path.to_str(), is_packed) {
        (Some("-"), _) => Box::new(io::stdout().lock()),
        (_, true) => Box::new(GzEncoder::new(
            File::create(path).map_err(failed)?,
            Compression::fast(),
        )),
        (_, false) => Box::new(File::create(path).map_err(failed)?),
    };
    let mut archive = tar::Builder::new(BufWriter::new(out));
    let tokens = data.data_dir().join("v1").join("tokens.json");
    if tokens.exists() {
        archive
            .append_path_with_name(&tokens, format!("{ROOT}/tokens.json"))
            .map_err(failed)?;
    }
    let mut count = 0;
    for source in data.all()? {
        count += source
            .backup(&mut archive, &format!("{ROOT}/hosted/{}", source.name()))
            .map_err(failed)?;
    }
    let written = archive
        .into_inner()
        .and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
    written.and_then(|mut out| out.flush()).map_err(failed)?;
    anstream::eprintln!("{count} files are in {}", path.display());
    Ok(OK)
}

/// The rest of the archive, which the reader of a project's files takes from one by one.
type Entries<'a> = tar::Entries<'a, Box<dyn Read>>;

/// One of them.
type Entry<'a> = tar::Entry<'a, Box<dyn Read>>;

fn restore(data: &Data, path: &Path) -> Result<u8, u8> {
    let failed = |error: io::Error| {
        anstream::eprintln!("error: the backup {} cannot be read: {error}", path.display());
        FAILED
    };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let reader: Box<dyn Read> = match path.extension().is_some_and(|extension| extension == "gz") {
        true => Box::new(GzDecoder::new(file)),
        false => Box::new(file),
    };
    let mut archive = tar::Archive::new(reader);
    let entries = RefCell::new(archive.entries().map_err(failed)?);
    let mut sum = Restored::default();
    let mut ahead = next(&entries).map_err(failed)?;
    while let Some(entry) = ahead.take() {
        let path = path_of(&entry);
        if path == format!("{ROOT}/tokens.json") {
            restore_tokens(data, entry).map_err(failed)?;
            ahead = next(&entries).map_err(failed)?;
            continue;
        }
        let Some((name, BackupEntry::Record(project))) = meaning(&path) else {
            anstream::eprintln!("left out: {path}: it is not a part of a backup");
            ahead = next(&entries).map_err(failed)?;
            continue;
        };
        let source = data.one(Some(&name))?;
        let (restored, behind) = project_of(&source, &name, &project, entry, &entries).map_err(failed)?;
        sum.added += restored.added;
        sum.known += restored.known;
        sum.left_out.extend(restored.left_out);
        ahead = behind;
    }
    for (name, why) in &sum.left_out {
        anstream::eprintln!("left out: {name}: {why}");
    }
    data.audit.note(&Event {
        detail: Some(format!("{} files from a backup", sum.added)),
        ..Event::new("upload")
    });
    anstream::println!(
        "{} restored, {} there already, {} left out",
        sum.added,
        sum.known,
        sum.left_out.len()
    );
    Ok(if sum.left_out.is_empty() { OK } else { FAILED })
}

/// Puts one project in: its record, and the entries behind that are of it. Gives the entry behind these.
fn project_of<'a>(
    source: &HostedSource,
    name: &str,
    project: &ProjectName,
    record: Entry<'a>,
    entries: &RefCell<Entries<'a>>,
) -> io::Result<(Restored, Option<Entry<'a>>)> {
    let mut bytes = Vec::new();
    record.take(BackupEntry::MAX_RECORD).read_to_end(&mut bytes)?;
    let mut behind = None;
    let restored = source.restore_entry(project, &bytes, || {
        let Some(entry) = next(entries)? else {
            return Ok(None);
        };
        match meaning(&path_of(&entry)) {
            Some((of, BackupEntry::File(owner, file))) if of == name && owner == *project => {
                Ok(Some((file, entry)))
            }
            _ => {
                behind = Some(entry);
                Ok(None)
            }
        }
    })?;
    Ok((restored, behind))
}

fn next<'a>(entries: &RefCell<Entries<'a>>) -> io::Result<Option<Entry<'a>>> {
    entries.borrow_mut().next().transpose()
}

fn path_of<R: Read>(entry: &tar::Entry<'_, R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

/// Which source an entry is of, and what it is there.
fn meaning(path: &str) -> Option<(String, BackupEntry)> {
    let (source, rest) = path
        .strip_prefix(ROOT)?
        .strip_prefix("/hosted/")?
        .split_once('/')?;
    Some((source.to_owned(), BackupEntry::of(rest)?))
}

/// Tokens are put back where there are none.
fn restore_tokens(data: &Data, mut entry: impl Read) -> io::Result<()> {
    let directory = data.data_dir().join("v1");
    let target = directory.join("tokens.json");
    if target.exists() {
        anstream::eprintln!("tokens stay as they are: there are some already");
        return Ok(());
    }
    std::fs::create_dir_all(&directory)?;
    // Readable by this user only, as temporary files are.
    let mut staged = tempfile::NamedTempFile::new_in(&directory)?;
    io::copy(&mut entry, &mut staged)?;
    staged.as_file().sync_all()?;
    staged.persist(&target)?;
    Ok(())
}
