//! Source distributions (PEP 625): `<name>-<version>.tar.gz` with one directory of that name and PKG-INFO in it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};

use super::super::METADATA_LIMIT;
use super::{Bounds, ExamineError, stays_inside};
use crate::model::FileName;

pub(super) fn examine(file: &File, name: &FileName) -> Result<Bytes, ExamineError> {
    let size = file.metadata().map_err(ExamineError::Unreadable)?.len();
    let mut packed = BufReader::new(file);
    packed
        .seek(SeekFrom::Start(0))
        .map_err(ExamineError::Unreadable)?;
    let limit = Bounds::unpacked(size);
    let mut archive = Archive::new(Limited {
        inner: GzDecoder::new(packed),
        left: limit,
        limit,
    });
    let metadata = members(&mut archive, name)?;
    let mut rest = archive.into_inner();
    nothing_but_zeros(&mut rest).map_err(unreadable)?;
    // What comes behind the gzip stream, a zip for example, is for other readers.
    let mut behind = rest.inner.into_inner();
    match behind.read(&mut [0; 1]).map_err(ExamineError::Unreadable)? {
        0 => Ok(metadata),
        _ => Err(ExamineError::refused("the archive has something behind its end")),
    }
}

/// Looks at every member; gives PKG-INFO of the one directory.
fn members<R: Read>(archive: &mut Archive<R>, name: &FileName) -> Result<Bytes, ExamineError> {
    let stem = name.as_str().trim_end_matches(".tar.gz");
    let mut metadata = None;
    let mut named = Names::default();
    // Raw: the tar crate would take long names of any length into memory by itself.
    for (count, member) in (0u64..).zip(archive.entries().map_err(unreadable)?.raw(true)) {
        let mut member = member.map_err(unreadable)?;
        if count >= Bounds::MEMBERS {
            return Err(ExamineError::refused(format!(
                "the archive has more than {} members",
                Bounds::MEMBERS
            )));
        }
        if named.take(&mut member)? {
            continue;
        }
        let (path, link) = named.finish(&member);
        check_member(&path, member.header().entry_type(), link.as_deref(), stem)?;
        let is_metadata = path.trim_end_matches('/').strip_prefix(stem) == Some("/PKG-INFO");
        if is_metadata && metadata.replace(read(member)?).is_some() {
            return Err(ExamineError::refused("the archive has PKG-INFO twice"));
        }
    }
    metadata.ok_or_else(|| ExamineError::refused(format!("the archive has no {stem}/PKG-INFO")))
}

/// Plain files, directories, and second names of plain files: nothing else. (Symbolic links can be chained so that what
/// looks like the inside is the outside.)
fn check_member(path: &str, kind: EntryType, link: Option<&str>, stem: &str) -> Result<(), ExamineError> {
    let shown = || path.chars().take(100).collect::<String>();
    if !stays_inside(path) {
        return Err(ExamineError::refused(format!(
            "the member {:?} leads out of the archive",
            shown()
        )));
    }
    let top = path.split('/').next().unwrap_or_default();
    if top != stem {
        return Err(ExamineError::refused(format!(
            "the member {:?} is not below {stem}/",
            shown()
        )));
    }
    let is_fine = match kind {
        EntryType::Regular | EntryType::Directory | EntryType::Continuous => true,
        EntryType::Link => link.is_some_and(|to| stays_inside(to) && to.split('/').next() == Some(stem)),
        _ => false,
    };
    match is_fine {
        true => Ok(()),
        false => Err(ExamineError::refused(format!(
            "the member {:?} is no plain file: symbolic links, devices and sparse files are not taken",
            shown()
        ))),
    }
}

fn read<R: Read>(member: Entry<'_, R>) -> Result<Bytes, ExamineError> {
    let mut bytes = Vec::new();
    member
        .take(METADATA_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 > METADATA_LIMIT {
        true => Err(ExamineError::refused(format!(
            "PKG-INFO is larger than {METADATA_LIMIT} bytes"
        ))),
        false => Ok(bytes.into()),
    }
}

/// What extensions in front of a member say of it: its name and where it leads (GNU and POSIX ways).
#[derive(Default)]
struct Names {
    path: Option<String>,
    link: Option<String>,
}

impl Names {
    /// Whether the member is an extension; what it says is kept for the one behind it.
    fn take<R: Read>(&mut self, member: &mut Entry<'_, R>) -> Result<bool, ExamineError> {
        match member.header().entry_type() {
            EntryType::GNULongName => self.path = Some(extension(member)?),
            EntryType::GNULongLink => self.link = Some(extension(member)?),
            EntryType::XHeader => self.take_records(&extension(member)?)?,
            EntryType::XGlobalHeader => drop(extension(member)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Records of a pax header: `<length> <key>=<value>\n`.
    fn take_records(&mut self, text: &str) -> Result<(), ExamineError> {
        for record in text.lines() {
            let Some((key, value)) = record.split_once(' ').and_then(|(_, pair)| pair.split_once('=')) else {
                continue;
            };
            match key {
                "path" => self.path = Some(value.to_owned()),
                "linkpath" => self.link = Some(value.to_owned()),
                "size" => return Err(ExamineError::refused("a member tells its size twice")),
                key if key.starts_with("GNU.sparse") => {
                    return Err(ExamineError::refused("the archive has a sparse member"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The member's path, and where it leads; what was kept is used up.
    fn finish<R: Read>(&mut self, member: &Entry<'_, R>) -> (String, Option<String>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = member.header();
        let path = self.path.take().unwrap_or_else(|| text(&header.path_bytes()));
        let link = self
            .link
            .take()
            .or_else(|| header.link_name_bytes().as_deref().map(text));
        (path.trim_start_matches("./").to_owned(), link)
    }
}

fn extension<R: Read>(member: &mut Entry<'_, R>) -> Result<String, ExamineError> {
    let mut bytes = Vec::new();
    member
        .take(Bounds::EXTENSION + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > Bounds::EXTENSION {
        return Err(ExamineError::refused("a member's name is too long"));
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
}

fn nothing_but_zeros(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            count if buffer[..count].iter().all(|byte| *byte == 0) => {}
            _ => {
                return Err(io::Error::other(
                    "there is something behind the end of the tar archive",
                ));
            }
        }
    }
}

fn unreadable(error: io::Error) -> ExamineError {
    ExamineError::reading("the archive", error)
}

/// Ends a bomb: more than the limit is an error.
struct Limited<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(io::Error::other(format!(
                    "it would become more than {} bytes",
                    self.limit
                )));
            }
        }
        Ok(count)
    }
}
