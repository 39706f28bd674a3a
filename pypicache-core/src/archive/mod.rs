//! Reading METADATA out of distributions: wheels on disk or at the far end of a network, and sdists; and examining
//! distributions that somebody hands in.
//!
//! Nothing is unpacked and nothing is executed. What is read is bounded in bytes and in members, because
//! archives may be hostile. METADATA is handed out exactly as it stands in the wheel: pip compares.
//!
//! Imports: `model`, `source`.

mod examine;
mod headers;
mod ranged;
mod sdist;
mod wheel;

pub use examine::{ExamineError, examine};
pub use headers::{header, headers, requires_python};
pub use ranged::{RangedError, wheel_metadata_by_ranges};
pub use sdist::sdist_metadata;
pub use wheel::wheel_metadata;

/// The largest METADATA or PKG-INFO that is read, in bytes.
const METADATA_LIMIT: u64 = 16 * 1024 * 1024;

/// Why no METADATA can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file is no archive of its kind, or a damaged one.
    #[error("the archive cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// It has none, or several.
    #[error("the archive has {0} METADATA files where one is expected")]
    Count(usize),
    /// It is larger than anything real.
    #[error("the archive's METADATA is larger than {METADATA_LIMIT} bytes, or has too much in front of it")]
    TooLarge,
}
