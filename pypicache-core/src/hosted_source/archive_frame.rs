//! The frame of a backup: a tar archive with an end record, without which nobody can tell a whole archive from one that was
//! cut off between two members.
//!
//! ```text
//! <root>/...           members: regular files
//! <root>/end.json      the last one: how many there are, their digest, and what could not be taken
//! ```

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::model::{Sha256, Sha256Hasher};
use crate::source::READ_CHUNK;

/// What the last member is called.
const END: &str = "end.json";

/// The version of the frame.
const FORMAT: u32 = 2;

/// What a tar archive ends with: two blocks of zeros.
const TRAILER: u64 = 1024;

/// The largest end record that is read, in bytes.
const MAX_END: u64 = 256 * 1024 * 1024;

/// What stands at the end of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEnd {
    /// The version of the frame.
    pub format: u32,
    /// How many members there are in front of it.
    pub members: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of the list of members: path, size and SHA-256 of each, in their order.
    pub sha256: Sha256,
    /// How many of the members are distributions.
    pub files: u64,
    /// What ought to be there and is not.
    pub missing: Vec<BackupMissing>,
}

/// Something that could not be backed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMissing {
    /// Where it ought to be.
    pub what: String,
    /// Why it is not.
    pub why: String,
}

/// The list of members as it goes into the digest.
#[derive(Default)]
struct Members {
    count: u64,
    bytes: u64,
    hasher: Sha256Hasher,
}

impl Members {
    fn add(&mut self, path: &str, size: u64, sha256: Sha256) {
        let line = format!("{path}\0{size}\0{sha256}\n");
        self.hasher.update(line.as_bytes());
        self.count += 1;
        self.bytes += size;
    }
}

/// Writes a backup.
pub struct BackupWriter<W: Write> {
    archive: tar::Builder<W>,
    root: String,
    members: Members,
    pub(super) files: u64,
    pub(super) missing: Vec<BackupMissing>,
}

impl<W: Write> BackupWriter<W> {
    /// Everything goes below `root` of the archive.
    pub fn new(out: W, root: &str) -> Self {
        Self {
            archive: tar::Builder::new(out),
            root: root.to_owned(),
            members: Members::default(),
            files: 0,
            missing: Vec::new(),
        }
    }

    /// Adds a member.
    pub fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.append_file(path, bytes, bytes.len() as u64)
    }

    /// Adds a member of `size` bytes. A shorter one is an error, after which the archive is worth nothing.
    pub fn append_file(&mut self, path: &str, reader: impl Read, size: u64) -> io::Result<()> {
        let path = format!("{}/{path}", self.root);
        let mut hashing = Hashing::new(reader.take(size));
        append(&mut self.archive, &path, &mut hashing, size)?;
        if hashing.count != size {
            let text = format!("{path} became shorter while it was read");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.members.add(&path, size, hashing.hasher.finish());
        Ok(())
    }

    /// Notes that something is not in it.
    pub fn miss(&mut self, what: impl Into<String>, why: impl ToString) {
        let (what, why) = (what.into(), why.to_string());
        self.missing.push(BackupMissing { what, why });
    }

    /// How many distributions are in it so far.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files
    }

    /// Writes the end record; gives it, and what was written to.
    pub fn finish(mut self) -> io::Result<(W, BackupEnd)> {
        let end = BackupEnd {
            format: FORMAT,
            members: self.members.count,
            bytes: self.members.bytes,
            sha256: self.members.hasher.finish(),
            files: self.files,
            missing: self.missing,
        };
        let bytes = serde_json::to_vec_pretty(&end)?;
        let path = format!("{}/{END}", self.root);
        append(&mut self.archive, &path, &mut &*bytes, bytes.len() as u64)?;
        Ok((self.archive.into_inner()?, end))
    }
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    reader: impl Read,
    size: u64,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_cksum();
    archive.append_data(&mut header, path, reader)
}

/// Hashes what is read through it.
struct Hashing<R> {
    reader: R,
    hasher: Sha256Hasher,
    count: u64,
}

impl<R> Hashing<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hasher: Sha256Hasher::default(),
            count: 0,
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}

/// Why an archive is no whole backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupDamage {
    /// It has no end record.
    #[error("it has no end record: it was cut off, or made by a version that wrote none")]
    NoEnd,
    /// It ends in the middle of something.
    #[error("it is cut off or damaged")]
    Cut(#[source] io::Error),
    /// It is not what its end record says.
    #[error("it is not what its end record says: {0}")]
    Differs(String),
}

/// Reads a whole archive, and compares it with its end record.
pub fn check_backup(reader: impl Read, root: &str) -> Result<BackupEnd, BackupDamage> {
    let position = std::cell::Cell::new(0);
    let mut archive = tar::Archive::new(Counting(reader, &position));
    let (mut members, mut end, mut needed) = (Members::default(), None, 0);
    for entry in archive.entries().map_err(BackupDamage::Cut)? {
        let mut entry = entry.map_err(BackupDamage::Cut)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        needed = entry.raw_file_position() + size.next_multiple_of(512) + TRAILER;
        if end.is_some() {
            return Err(BackupDamage::Differs(format!("{path} comes behind it")));
        }
        if !entry.header().entry_type().is_file() {
            return Err(BackupDamage::Differs(format!("{path} is no regular file")));
        }
        if path == format!("{root}/{END}") {
            let mut bytes = Vec::new();
            let read = (&mut entry).take(MAX_END).read_to_end(&mut bytes);
            read.map_err(BackupDamage::Cut)?;
            let told: BackupEnd = serde_json::from_slice(&bytes)
                .map_err(|error| BackupDamage::Differs(format!("it cannot be read ({error})")))?;
            end = Some(told);
            continue;
        }
        let mut hashing = Hashing::new(&mut entry);
        drain(&mut hashing).map_err(BackupDamage::Cut)?;
        members.add(&path, hashing.count, hashing.hasher.finish());
    }
    // To the very end: a packed archive has its check sum there.
    drain(&mut archive.into_inner()).map_err(BackupDamage::Cut)?;
    let end = end.ok_or(BackupDamage::NoEnd)?;
    if position.get() < needed {
        return Err(BackupDamage::Cut(io::ErrorKind::UnexpectedEof.into()));
    }
    compare(members, end)
}

fn compare(members: Members, end: BackupEnd) -> Result<BackupEnd, BackupDamage> {
    let differs = |what: String| Err(BackupDamage::Differs(what));
    if end.format != FORMAT {
        return differs(format!("its format is {}, of another version", end.format));
    }
    if (members.count, members.bytes) != (end.members, end.bytes) {
        return differs(format!(
            "{} members of {} bytes are there, not {} of {}",
            members.count, members.bytes, end.members, end.bytes
        ));
    }
    match members.hasher.finish() == end.sha256 {
        true => Ok(end),
        false => differs("the digest of its members is another one".to_owned()),
    }
}

fn drain(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; READ_CHUNK];
    while reader.read(&mut buffer)? > 0 {}
    Ok(())
}

struct Counting<'a, R>(R, &'a std::cell::Cell<u64>);

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.set(self.1.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = BackupWriter::new(Vec::new(), "root");
        writer.append("one", b"first").unwrap();
        writer.append("two", &[7; 1500]).unwrap();
        writer.miss("three", "it is gone");
        let (bytes, end) = writer.finish().unwrap();
        assert_eq!((end.members, end.bytes), (2, 1505));
        bytes
    }

    #[test]
    fn nothing_but_the_whole_is_whole() {
        let whole = archive();
        let end = check_backup(&*whole, "root").unwrap();
        assert_eq!(end.missing[0].what, "three");
        for length in 0..whole.len() {
            assert!(check_backup(&whole[..length], "root").is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_bit_anywhere_in_a_member_is_noticed() {
        let whole = archive();
        for at in [512, 516, 1536, 2000, 3035] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(check_backup(&*damaged, "root").is_err(), "{at}");
        }
    }
}
