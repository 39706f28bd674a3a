//! Any folder with packages in it: pypiserver's, localshop's, the server directory of a devpi, a folder of wheels.
//!
//! Every file whose name is one of a package counts, in folders below too; upload times are those of the files. What a devpi
//! mirrors (`+files/root/pypi`) is not one's own and is passed over.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pypicache_core::local_fs::{Beneath, Kind};
use pypicache_core::model::FileName;

use super::{Candidate, Found};

/// How deep folders are looked into.
const MAX_DEPTH: usize = 16;

pub(super) fn candidates(root: &Beneath) -> io::Result<Found> {
    let mut found = Found::default();
    walk(root, Path::new(""), 0, &mut found)?;
    Ok(found)
}

fn walk(root: &Beneath, directory: &Path, depth: usize, found: &mut Found) -> io::Result<()> {
    if root.path().join(directory).ends_with("+files/root/pypi") {
        return Ok(());
    }
    if depth > MAX_DEPTH {
        found.leave_out(directory, "it lies deeper than is looked");
        return Ok(());
    }
    for (name, kind) in root.entries(directory)? {
        if name.starts_with('.') {
            continue;
        }
        let path = directory.join(&name);
        match (kind, FileName::parse(&name)) {
            (Kind::Directory, _) => walk(root, &path, depth + 1, found)?,
            (Kind::File, Ok(filename)) => found.candidates.push(candidate(root, path, filename)),
            // It may lead to packages, or out of the folder.
            (Kind::Link, _) => found.leave_out(&path, "it is a symbolic link, and these are not followed"),
            (Kind::Other, Ok(_)) => found.leave_out(&path, "it is no regular file"),
            _ => {}
        }
    }
    Ok(())
}

/// A file that cannot be opened is told of when it is brought in.
fn candidate(root: &Beneath, path: PathBuf, filename: FileName) -> Candidate {
    let facts = root.file(&path).and_then(|file| file.metadata());
    let modified = facts.and_then(|facts| facts.modified());
    Candidate {
        upload_time: modified.ok().and_then(rfc3339),
        path,
        filename,
    }
}

fn rfc3339(time: std::time::SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| format!("{time:.6}"))
}
