//! What `devpi-export` writes: `dataindex.json` with every file of every index, and the files beside it.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use pypicache_core::model::FileName;
use serde::Deserialize;

use super::Candidate;

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

pub(super) fn is_export(path: &Path) -> bool {
    path.join("dataindex.json").is_file()
}

/// Releases of all indexes; documentation and test results are passed over.
pub(super) fn candidates(root: &Path) -> io::Result<Vec<Candidate>> {
    let export: Export = serde_json::from_slice(&fs::read(root.join("dataindex.json"))?)?;
    let files = export.indexes.into_values().flat_map(|index| index.files);
    let releases = files.filter(|file| file.kind == "releasefile");
    // The export may be somebody else's: its paths are not to lead out of it.
    let inside = releases.filter(|file| {
        !file.relpath.starts_with('/') && !file.relpath.split('/').any(|segment| segment == "..")
    });
    let candidate = |file: ExportedFile| {
        let name = file.relpath.rsplit('/').next()?;
        Some(Candidate {
            filename: FileName::parse(name).ok()?,
            path: root.join(&file.relpath),
            upload_time: file.entrymapping.last_modified.as_deref().and_then(rfc3339),
        })
    };
    Ok(inside.filter_map(candidate).collect())
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
