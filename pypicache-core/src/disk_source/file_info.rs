//! What a page tells of a file beyond its name: worked out from its bytes, once.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use bytes::Bytes;

use super::scan::Found;
use crate::archive::{requires_python, sdist_metadata, wheel_metadata};
use crate::model::{CoreMetadata, Digests, FileEntry, FileKind, FileName, FilePath, Sha256, Sha256Hasher};
use crate::source::READ_CHUNK;

#[derive(Debug)]
pub(super) struct FileInfo {
    pub(super) sha256: Sha256,
    /// A wheel's METADATA. (That of an sdist may change when it is built, so it is not offered.)
    pub(super) metadata: Option<Bytes>,
    requires_python: Option<Box<str>>,
}

impl FileInfo {
    /// Reads the whole file. One without readable METADATA is listed all the same, without what that would tell.
    pub(super) fn read(mut file: File, path: &Path, name: &FileName) -> io::Result<Self> {
        let mut hasher = Sha256Hasher::default();
        let mut buffer = vec![0; READ_CHUNK];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        file.rewind()?;
        let reader = io::BufReader::new(file);
        let read = match name.kind() {
            FileKind::Wheel => wheel_metadata(reader, name),
            _ => sdist_metadata(reader, name.as_str()),
        };
        let found = read
            .inspect_err(|error| tracing::debug!(path = %path.display(), %error, "no METADATA"))
            .ok();
        Ok(Self {
            sha256: hasher.finish(),
            requires_python: found.as_deref().and_then(requires_python),
            metadata: found.filter(|_| name.kind() == FileKind::Wheel),
        })
    }

    /// The file's entry on a page.
    pub(super) fn entry(&self, path: FilePath, found: &Found) -> FileEntry {
        let mut entry = FileEntry::new(path);
        entry.hashes = Digests::sha256(self.sha256);
        entry.size = Some(found.stamp.size);
        entry.upload_time = jiff::Timestamp::try_from(found.stamp.modified)
            .ok()
            .map(|time| format!("{time:.6}").into());
        entry.requires_python = self.requires_python.clone();
        entry.core_metadata = self.metadata.as_deref().map_or(CoreMetadata::None, |bytes| {
            CoreMetadata::Digest(Sha256::of(bytes))
        });
        entry
    }
}
