//! What an index speaks of: projects, their pages, and the files on them.
//!
//! Every type here is checked when it is made, at the edge: a [`ProjectName`] is always in PEP 503 normal
//! form, a [`FileName`] never holds a path separator, a [`FilePath`] never leaves its root. Code further
//! inside need not look again. Nothing here reads or writes a wire format (see [`crate::simple`]) or a disk.
//!
//! Imports: nothing else of the crate.

mod checksum;
mod digest;
mod file_name;
mod file_path;
mod list;
mod page;
mod pattern;
mod project;

pub use pep440_rs::Version;

pub use checksum::{Checksum, ChecksumError};
pub use digest::{Digests, ParseDigestError, Sha256, Sha256Hasher};
pub use file_name::{FileKind, FileName, InvalidFileName};
pub use file_path::{FilePath, InvalidFilePath};
pub use list::{ListedProject, ProjectList};
pub use page::{CoreMetadata, FileEntry, LeftOut, Link, ProjectPage, ProjectStatus, Yanked};
pub use pattern::NamePattern;
pub use project::{InvalidProjectName, ProjectName};
