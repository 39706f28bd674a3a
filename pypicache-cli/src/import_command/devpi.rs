//! What `devpi-export` writes: `dataindex.json` with every file of every index, and the files beside it.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use pypicache_core::local_fs::Beneath;
use pypicache_core::model::FileName;
use serde::Deserialize;

use super::{Candidate, Found};

/// What lists the files.
const INDEX: &str = "dataindex.json";

/// The part of `dataindex.json` that is used.
#[derive(Deserialize)]
struct Export {
    indexes: std::collections::BTreeMap<String, Index>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    files: Vec<ExportedFile>,
}

#[derive(Deserialize)]
struct ExportedFile {
    relpath: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    entrymapping: Mapping,
}

#[derive(Default, Deserialize)]
struct Mapping {
    last_modified: Option<String>,
}

pub(super) fn is_export(root: &Beneath) -> bool {
    root.file(Path::new(INDEX)).is_ok()
}

/// Releases of all indexes; documentation and test results are passed over. The export may be somebody else's: whether its
/// paths lead out of it is seen when they are opened.
pub(super) fn candidates(root: &Beneath) -> io::Result<Found> {
    let index = io::BufReader::new(root.file(Path::new(INDEX))?);
    let export: Export = serde_json::from_reader(index)?;
    let mut found = Found::default();
    let files = export.indexes.into_values().flat_map(|index| index.files);
    for file in files.filter(|file| file.kind == "releasefile") {
        let name = file.relpath.rsplit('/').next().unwrap_or_default();
        match FileName::parse(name) {
            Ok(filename) => found.candidates.push(Candidate {
                filename,
                path: file.relpath.into(),
                upload_time: file.entrymapping.last_modified.as_deref().and_then(rfc3339),
            }),
            Err(_) => found.leave_out(Path::new(&file.relpath), "its name is not one of a package"),
        }
    }
    Ok(found)
}

/// `Sat, 21 Nov 2026 11:44:18 GMT` as pages want it.
fn rfc3339(http_date: &str) -> Option<String> {
    let time = httpdate::parse_http_date(http_date).ok()?;
    Timestamp::try_from(time).ok().map(|time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates_as_devpi_writes_them() {
        assert_eq!(
            rfc3339("Sat, 21 Nov 2026 11:44:18 GMT").as_deref(),
            Some("2026-11-21T11:44:18.000000Z")
        );
        assert_eq!(rfc3339("yesterday"), None);
    }
}
