//! Which distributions lie in a directory: names and times, no contents.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pep440_rs::Version;

use crate::local_fs::Beneath;
use crate::model::{FileName, ProjectName};

/// How deep sub-directories are looked into.
const MAX_DEPTH: usize = 8;

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    inode: u64,
}

/// A distribution in the directory.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Relative to the directory, with `/` between segments.
    pub(super) relative: String,
    pub(super) name: FileName,
    pub(super) project: ProjectName,
    pub(super) version: Version,
    pub(super) stamp: Stamp,
}

/// All distributions below `directory`, by relative path.
pub(super) fn scan(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    walk(directory, "", 0, &mut found)?;
    found.sort_by(|a, b| a.relative.cmp(&b.relative));
    Ok(found)
}

/// One distribution by its relative path, if it is there and would be found by [`scan`].
pub(super) fn look_at(directory: &Path, relative: &str) -> io::Result<Option<Found>> {
    if relative.split('/').any(|segment| segment.starts_with('.'))
        || relative.split('/').count() > MAX_DEPTH + 1
    {
        return Ok(None);
    }
    // A directory that is not there (not mounted, say) cannot tell; only a file that is not in it is absent.
    match Beneath::open(directory)?.file(Path::new(relative)) {
        Ok(_) => Ok(found_at(directory.join(relative), relative.to_owned())),
        // What is no file, or behind a link, is not offered.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn walk(directory: &Path, prefix: &str, depth: usize, found: &mut Vec<Found>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type()?;
        if name.starts_with('.') {
            continue;
        }
        let relative = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), &relative, depth + 1, found)?;
        } else if kind.is_file() {
            found.extend(found_at(entry.path(), relative));
        }
    }
    Ok(())
}

fn found_at(path: PathBuf, relative: String) -> Option<Found> {
    let name = FileName::parse(relative.rsplit('/').next()?).ok()?;
    let Some((project, version)) = name.owners().into_iter().next() else {
        tracing::debug!(path = %path.display(), "a file whose name tells no project is passed over");
        return None;
    };
    let file_info = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
    let stamp = Stamp {
        size: file_info.len(),
        modified: file_info.modified().ok()?,
        inode: file_info.ino(),
    };
    Some(Found {
        path,
        relative,
        name,
        project,
        version,
        stamp,
    })
}
