//! Whether a distribution that somebody hands in is what its name says, and safe to hand on.
//!
//! This looks at everything that PyPI looks at and that needs no unpacking: the shape of the archive, its members'
//! names and kinds, how large it would become, and that its METADATA is there. Memory is bounded by the number of
//! members and by [`super::METADATA_LIMIT`], time by the size of the archive and [`Bounds`]. Nothing is written to disk.
//!
//! Whoever hands a file in may be hostile, and so may be the archive: two readers must not see two archives in it
//! (a zip behind a gzip, a second directory, members over each other).

mod sdist;
mod wheel;

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::ArchiveError;
use crate::model::{FileKind, FileName};

/// How large an archive may become before it counts as a bomb, and how many members it may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds;

impl Bounds {
    /// Members of one archive.
    pub(super) const MEMBERS: u64 = 100_000;
    /// The whole directory of a zip, in bytes.
    pub(super) const DIRECTORY: u64 = 32 * 1024 * 1024;
    /// Long names and other extensions of one tar member, in bytes.
    pub(super) const EXTENSION: u64 = 64 * 1024;
    /// Unpacked bytes that are always fine.
    const UNPACKED: u64 = 64 * 1024 * 1024;
    /// How many times its own size an archive beyond that may become.
    const RATIO: u64 = 50;

    /// How many bytes may come out of an archive of so many.
    pub(super) fn unpacked(packed: u64) -> u64 {
        packed.saturating_mul(Self::RATIO).max(Self::UNPACKED)
    }
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExamineError {
    /// It is not what it has to be; said to whoever hands it in.
    #[error("{0}")]
    Refused(String),
    /// This machine could not read it.
    #[error("the file cannot be read here")]
    Unreadable(#[source] io::Error),
}

impl ExamineError {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// An error while reading: of this machine, or of what the archive says (which may lead to places that no file has).
    fn reading(what: &str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(_) if error.kind() != io::ErrorKind::InvalidInput => Self::Unreadable(error),
            _ => Self::Refused(format!("{what} cannot be read: {error}")),
        }
    }
}

impl From<ArchiveError> for ExamineError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unreadable(error) => Self::reading("the archive", error),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Examines a wheel or an sdist and gives its METADATA (PKG-INFO for an sdist), byte for byte. Blocks.
///
/// Only `.whl` (PEP 427) and `.tar.gz` (PEP 625) are taken.
pub fn examine(file: &File, name: &FileName) -> Result<Bytes, ExamineError> {
    match name.kind() {
        FileKind::Wheel => wheel::examine(file, name),
        FileKind::Sdist if name.as_str().ends_with(".tar.gz") => sdist::examine(file, name),
        _ => Err(ExamineError::refused(format!(
            "{name} is neither a wheel (.whl) nor a source distribution (.tar.gz)"
        ))),
    }
}

/// Whether a member's path stays below the place where the archive is unpacked, on any system.
fn stays_inside(path: &str) -> bool {
    let climbs = path.split('/').any(|segment| segment == "..");
    let is_absolute = path.starts_with('/') || path.as_bytes().get(1) == Some(&b':');
    !path.is_empty() && !climbs && !is_absolute && !path.chars().any(|c| c == '\\' || c.is_control())
}

#[cfg(test)]
mod tests;
