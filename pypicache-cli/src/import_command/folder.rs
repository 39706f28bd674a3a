//! Any folder with packages in it: pypiserver's, localshop's, the server directory of a devpi, a folder of wheels.
//!
//! Every file whose name is one of a package counts, in folders below too; upload times are those of the files. What a devpi
//! mirrors (`+files/root/pypi`) is not one's own and is passed over.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use pypicache_core::model::FileName;

use super::Candidate;

/// How deep folders are looked into.
const MAX_DEPTH: usize = 16;

pub(super) fn candidates(root: &Path) -> io::Result<Vec<Candidate>> {
    let mut found = Vec::new();
    walk(root, 0, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<Candidate>) -> io::Result<()> {
    if depth > MAX_DEPTH || directory.ends_with("+files/root/pypi") {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        let facts = entry.metadata()?;
        if facts.is_dir() {
            walk(&entry.path(), depth + 1, found)?;
        } else if facts.is_file()
            && let Ok(filename) = FileName::parse(name)
        {
            found.push(Candidate {
                path: entry.path(),
                filename,
                upload_time: facts.modified().ok().and_then(rfc3339),
            });
        }
    }
    Ok(())
}

fn rfc3339(time: std::time::SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| format!("{time:.6}"))
}
