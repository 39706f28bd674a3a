//! A file as far as it is written, with the digest of what is there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Checksum, ChecksumError, Digests, Sha256};
use crate::offload::offload;
use crate::source::READ_CHUNK;
use crate::store::{DiskStore, Staging};

/// What gzip data begin with (RFC 1952 section 2.3.1).
pub(in crate::cached_source) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file in staging.
#[derive(Debug)]
pub(super) struct PartialFile {
    staging: Staging,
    checksum: Checksum,
    length: u64,
}

impl PartialFile {
    /// What an earlier attempt left under `key`, or an empty file. Where there is no key, an empty file.
    pub(super) async fn open(store: &DiskStore, key: Option<String>, digests: &Digests) -> io::Result<Self> {
        let (store, mut checksum) = (store.clone(), Checksum::new(digests));
        offload(move || {
            let staging = match key {
                Some(key) => store.stage_partial(&key)?,
                None => store.stage()?,
            };
            let length = feed(&mut checksum, staging.file())?;
            Ok(Self {
                staging,
                checksum,
                length,
            })
        })
        .await
    }

    pub(super) fn file(&self) -> &Arc<File> {
        self.staging.file()
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn checksum(&self) -> Checksum {
        self.checksum.clone()
    }

    /// Writes pieces on. Where that fails, length and digest stay what they were.
    pub(super) async fn append(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        let added: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let (file, mut checksum) = (self.file().clone(), self.checksum.clone());
        self.checksum = offload(move || {
            pieces.iter().try_for_each(|piece| (&*file).write_all(piece))?;
            pieces.iter().for_each(|piece| checksum.update(piece));
            Ok(checksum)
        })
        .await?;
        self.length += added;
        Ok(())
    }

    /// The digest of all of it, if the bytes are the listed ones.
    pub(super) fn check(&self) -> Result<Sha256, ChecksumError> {
        self.checksum().finish()
    }

    /// Whether it begins like gzip data.
    pub(super) async fn is_gzip(&self) -> io::Result<bool> {
        let file = self.file().clone();
        offload(move || {
            let mut front = Vec::new();
            let reader = Positioned { file, position: 0 };
            reader.take(GZIP_MAGIC.len() as u64).read_to_end(&mut front)?;
            Ok(front == GZIP_MAGIC)
        })
        .await
    }

    /// The same file without its gzip coding, in a file of its own of `limit` bytes at the most.
    pub(super) async fn decoded(&self, store: &DiskStore, digests: &Digests, limit: u64) -> io::Result<Self> {
        let (store, mut checksum, coded) = (store.clone(), Checksum::new(digests), self.file().clone());
        offload(move || {
            let staging = store.stage()?;
            let reader = Positioned {
                file: coded,
                position: 0,
            };
            let mut decoder = flate2::read::MultiGzDecoder::new(reader).take(limit + 1);
            let (mut length, mut buffer) = (0, vec![0; READ_CHUNK]);
            loop {
                let count = decoder.read(&mut buffer)?;
                let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
                    break;
                };
                (&**staging.file()).write_all(piece)?;
                checksum.update(piece);
                length += count as u64;
            }
            match length > limit {
                true => Err(io::Error::other(format!("it decodes to more than {limit} bytes"))),
                false => Ok(Self {
                    staging,
                    checksum,
                    length,
                }),
            }
        })
        .await
    }

    /// It is wrong: no later attempt goes on with it.
    pub(super) fn discard(self) {
        self.staging.discard();
    }

    /// A later attempt may go on with it.
    pub(super) async fn park(self, store: &DiskStore) {
        let store = store.clone();
        let _ = offload(move || {
            store.park(self.staging);
            Ok(())
        })
        .await;
    }

    /// Makes it a blob. Blocks.
    pub(super) fn publish(self, store: &DiskStore, sha256: Sha256) -> io::Result<()> {
        store.publish(self.staging, sha256)
    }
}

/// Takes in what a file holds already, and gives its length in bytes.
fn feed(checksum: &mut Checksum, mut file: &File) -> io::Result<u64> {
    if file.metadata()?.len() == 0 {
        return Ok(0);
    }
    let (mut length, mut buffer) = (0, vec![0; READ_CHUNK]);
    loop {
        let count = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
            return Ok(length);
        };
        checksum.update(piece);
        length += count as u64;
    }
}

/// Reads a shared open file from a position of its own.
#[derive(Debug)]
pub(in crate::cached_source) struct Positioned {
    pub(in crate::cached_source) file: Arc<File>,
    pub(in crate::cached_source) position: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
