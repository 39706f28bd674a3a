//! Wheels (PEP 427): a zip with `<name>-<version>.dist-info/{METADATA,WHEEL,RECORD}` in it.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::str::FromStr as _;

use bytes::Bytes;
use pep440_rs::Version;
use zip::{CompressionMethod, ZipArchive};

use super::super::{METADATA_LIMIT, wheel::unreadable};
use super::{Bounds, ExamineError, stays_inside};
use crate::model::{FileName, ProjectName};

/// The end of a zip: signature, counts, size and place of the directory, length of the comment.
const END: u64 = 22;
const END_MARK: &[u8] = b"PK\x05\x06";
/// Where the end of a large zip lies, in front of the end.
const LOCATOR: u64 = 20;
const LOCATOR_MARK: &[u8] = b"PK\x06\x07";
/// The end of a large zip, without extensions.
const LARGE_END: u64 = 56;
const LARGE_END_MARK: &[u8] = b"PK\x06\x06";

pub(super) fn examine(file: &File, name: &FileName) -> Result<Bytes, ExamineError> {
    let size = file.metadata().map_err(ExamineError::Unreadable)?.len();
    check_front(file)?;
    let directory_end = check_end(file, size)?;
    let mut reader = BufReader::new(file);
    reader
        .seek(SeekFrom::Start(0))
        .map_err(ExamineError::Unreadable)?;
    let mut archive = ZipArchive::new(reader).map_err(unreadable)?;
    if archive.offset() != 0 || archive.central_directory_start() > directory_end {
        return Err(ExamineError::refused(
            "the zip does not begin where the file begins",
        ));
    }
    if archive.has_duplicate_names() {
        return Err(ExamineError::refused("the wheel has two members of one name"));
    }
    let info = check_members(&archive, size, name)?;
    if archive.has_overlapping_entries().map_err(unreadable)? {
        return Err(ExamineError::refused("members of the wheel lie over each other"));
    }
    for member in ["WHEEL", "RECORD"] {
        if archive.index_for_name(&format!("{info}/{member}")).is_none() {
            return Err(ExamineError::refused(format!("the wheel has no {info}/{member}")));
        }
    }
    let Some(metadata) = archive.index_for_name(&format!("{info}/METADATA")) else {
        return Err(ExamineError::refused(format!("the wheel has no {info}/METADATA")));
    };
    let mut bytes = Vec::new();
    let member = archive.by_index(metadata).map_err(unreadable)?;
    let mut member = member.take(METADATA_LIMIT + 1);
    let read = member.read_to_end(&mut bytes);
    read.map_err(|error| ExamineError::reading("METADATA", error))?;
    match bytes.len() as u64 > METADATA_LIMIT {
        true => Err(ExamineError::refused(format!(
            "METADATA is larger than {METADATA_LIMIT} bytes"
        ))),
        false => Ok(bytes.into()),
    }
}

/// The zip has to end where the file ends, without a comment, so that there is only one place to look for its
/// directory; and that must not be too large. Gives where the directory ends.
fn check_end(file: &File, size: u64) -> Result<u64, ExamineError> {
    let no_zip = || ExamineError::refused("the wheel is no zip, or has something behind its end");
    let end = size.checked_sub(END).ok_or_else(no_zip)?;
    let bytes: [u8; END as usize] = read_at(file, end)?;
    if !bytes.starts_with(END_MARK) || bytes[20..] != [0, 0] {
        return Err(no_zip());
    }
    let number = |at: usize| {
        u64::from(u32::from_le_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
        ]))
    };
    let count = u64::from(u16::from_le_bytes([bytes[10], bytes[11]]));
    let (length, start) = (number(12), number(16));
    let is_large = count == u64::from(u16::MAX) || [length, start].contains(&u64::from(u32::MAX));
    let (count, length, start, directory_end) =
        match is_large.then(|| large_end(file, end)).transpose()?.flatten() {
            Some(large) => large,
            None => (count, length, start, end),
        };
    if count > Bounds::MEMBERS || length > Bounds::DIRECTORY {
        return Err(ExamineError::refused(format!(
            "the wheel has more than {} members",
            Bounds::MEMBERS
        )));
    }
    match start.checked_add(length) == Some(directory_end) {
        true => Ok(directory_end),
        false => Err(ExamineError::refused(
            "the wheel has something between its directory and its end",
        )),
    }
}

/// Members, length and start of the directory of a large zip (zip64), and where it ends; `None` where it is none.
fn large_end(file: &File, end: u64) -> Result<Option<(u64, u64, u64, u64)>, ExamineError> {
    let Some(locator) = end.checked_sub(LOCATOR) else {
        return Ok(None);
    };
    let bytes: [u8; LOCATOR as usize] = read_at(file, locator)?;
    if !bytes.starts_with(LOCATOR_MARK) {
        return Ok(None);
    }
    let broken = || ExamineError::refused("the wheel's end is not where it says");
    let large = locator.checked_sub(LARGE_END).ok_or_else(broken)?;
    let bytes: [u8; LARGE_END as usize] = read_at(file, large)?;
    if !bytes.starts_with(LARGE_END_MARK) {
        return Err(broken());
    }
    let number = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    Ok(Some((number(32), number(40), number(48), large)))
}

/// A zip that is a tar archive too would be read as that by others.
fn check_front(file: &File) -> Result<(), ExamineError> {
    let mut block = [0; 512];
    let is_zip = file.read_at(&mut block, 0).map_err(ExamineError::Unreadable)? >= 4
        && block.starts_with(b"PK\x03\x04");
    let header = tar::Header::from_byte_slice(&block);
    let sum: u32 = block[..148]
        .iter()
        .chain(&block[156..])
        .map(|byte| u32::from(*byte))
        .sum::<u32>()
        + 8 * 32;
    if !is_zip {
        Err(ExamineError::refused(
            "the wheel does not begin with a zip's first member",
        ))
    } else if header.cksum().is_ok_and(|told| told == sum) {
        Err(ExamineError::refused("the wheel is a tar archive as well"))
    } else {
        Ok(())
    }
}

/// Looks at every member's entry in the directory; gives the name of the `.dist-info` directory.
fn check_members<R>(archive: &ZipArchive<R>, size: u64, name: &FileName) -> Result<String, ExamineError>
where
    R: std::io::Read + std::io::Seek,
{
    let mut unpacked: u64 = 0;
    let mut info = None;
    for number in 0..archive.len() {
        let member = archive.by_index_data(number).map_err(unreadable)?;
        let path = member.name().map_err(unreadable)?;
        let shown = || path.chars().take(100).collect::<String>();
        if !stays_inside(&path) || member.is_symlink() {
            return Err(ExamineError::refused(format!(
                "the member {:?} leads out of the wheel",
                shown()
            )));
        }
        let is_plain = matches!(
            member.compression(),
            CompressionMethod::Stored | CompressionMethod::Deflated
        );
        if !is_plain || member.encrypted() {
            return Err(ExamineError::refused(format!(
                "the member {:?} is neither stored nor deflated",
                shown()
            )));
        }
        unpacked = unpacked.saturating_add(member.size());
        if let Some((directory, _)) = path
            .split_once('/')
            .filter(|(front, _)| front.ends_with(".dist-info"))
        {
            match &info {
                None => info = Some(directory.to_owned()),
                Some(first) if first == directory => {}
                Some(_) => return Err(ExamineError::refused("the wheel has two .dist-info directories")),
            }
        }
    }
    if unpacked > Bounds::unpacked(size) {
        return Err(ExamineError::refused(format!(
            "the wheel of {size} bytes would become {unpacked} bytes"
        )));
    }
    let info = info.ok_or_else(|| ExamineError::refused("the wheel has no .dist-info directory"))?;
    match is_of(&info, name) {
        true => Ok(info),
        false => Err(ExamineError::refused(format!("{info} does not belong to {name}"))),
    }
}

/// Whether the directory's name and version are those of the wheel, however they are spelled.
fn is_of(info: &str, name: &FileName) -> bool {
    let parts = info
        .strip_suffix(".dist-info")
        .and_then(|stem| stem.split_once('-'));
    let Some((project, version)) = parts else {
        return false;
    };
    let (Ok(project), Ok(version)) = (ProjectName::parse(project), Version::from_str(version)) else {
        return false;
    };
    name.version_for(&project)
        .is_some_and(|of_name| of_name == version)
}

fn read_at<const N: usize>(file: &File, at: u64) -> Result<[u8; N], ExamineError> {
    let mut bytes = [0; N];
    let read = file.read_exact_at(&mut bytes, at);
    read.map_err(|error| ExamineError::reading("the end of the wheel", error))?;
    Ok(bytes)
}
