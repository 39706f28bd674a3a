//! Small JSON documents, each a file of its own.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

use serde::{Serialize, de::DeserializeOwned};

use super::DiskStore;
use crate::model::Sha256;

/// What a record describes; each kind has its own directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A project's page as last heard; the key is the project's name.
    Page,
    /// The digest of a file or sibling whose page does not tell it; the key is the file's path and suffix.
    Digest,
    /// The project whose page lists a file that is named for another project, or for none; the key is the file's path.
    Stray,
    /// The project list; there is one key.
    List,
}

impl RecordKind {
    fn directory(self) -> &'static str {
        match self {
            Self::Page => "pages",
            Self::Digest => "digests",
            Self::Stray => "strays",
            Self::List => "lists",
        }
    }
}

/// Records are written in pieces of so many bytes.
const WRITE_CHUNK: usize = 64 * 1024;

impl DiskStore {
    /// Reads a record of `source`; `None` where it is not held or cannot be read. Blocks.
    #[must_use]
    pub fn read_record<T: DeserializeOwned>(&self, kind: RecordKind, source: &str, key: &str) -> Option<T> {
        let path = self.record_path(kind, source, key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a record cannot be read and counts as not held");
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a damaged record counts as not held");
                None
            }
        }
    }

    /// Writes a record of `source`, replacing an older one. Blocks.
    pub fn write_record<T: Serialize>(
        &self,
        kind: RecordKind,
        source: &str,
        key: &str,
        record: &T,
    ) -> io::Result<()> {
        let staging = self.stage()?;
        let mut file = BufWriter::with_capacity(WRITE_CHUNK, &**staging.file());
        serde_json::to_writer(&mut file, record)?;
        file.flush()?;
        drop(file);
        staging.publish(&self.record_path(kind, source, key))
    }

    /// All readable records of one kind and source. Blocks.
    #[must_use]
    pub fn all_records<T: DeserializeOwned>(&self, kind: RecordKind, source: &str) -> Vec<T> {
        let files = |directory: PathBuf| {
            fs::read_dir(directory)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
        };
        files(
            self.shared
                .root
                .join("records")
                .join(kind.directory())
                .join(source_directory(source)),
        )
        .flat_map(files)
        .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
        .collect()
    }

    fn record_path(&self, kind: RecordKind, source: &str, key: &str) -> PathBuf {
        let hex = Sha256::of(key.as_bytes()).to_hex();
        let directory = self
            .shared
            .root
            .join("records")
            .join(kind.directory())
            .join(source_directory(source));
        directory.join(&hex[..1]).join(format!("{hex}.json"))
    }
}

/// A source's name as one harmless path segment.
fn source_directory(source: &str) -> String {
    let plain = !source.is_empty()
        && source
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if plain {
        source.to_owned()
    } else {
        Sha256::of(source.as_bytes()).to_hex()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_apart_by_kind_and_source() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), None).unwrap();
        store
            .write_record(RecordKind::Page, "pypi", "six", &"page".to_owned())
            .unwrap();
        store
            .write_record(RecordKind::Page, "../up", "six", &"other".to_owned())
            .unwrap();
        let read = |kind, source| store.read_record::<String>(kind, source, "six");
        assert_eq!(read(RecordKind::Page, "pypi").as_deref(), Some("page"));
        assert_eq!(read(RecordKind::Page, "../up").as_deref(), Some("other"));
        assert_eq!(read(RecordKind::Digest, "pypi"), None);
        assert_eq!(store.all_records::<String>(RecordKind::Page, "pypi"), ["page"]);
    }

    #[test]
    fn a_damaged_record_is_a_miss_and_heals() {
        let directory = tempfile::tempdir().unwrap();
        let store = DiskStore::open(directory.path(), None).unwrap();
        store
            .write_record(RecordKind::Page, "pypi", "six", &1u32)
            .unwrap();
        fs::write(store.record_path(RecordKind::Page, "pypi", "six"), b"{").unwrap();
        assert_eq!(store.read_record::<u32>(RecordKind::Page, "pypi", "six"), None);
        store
            .write_record(RecordKind::Page, "pypi", "six", &2u32)
            .unwrap();
        assert_eq!(store.read_record::<u32>(RecordKind::Page, "pypi", "six"), Some(2));
    }
}
