//! Pages as PyPI writes them: JSON with everything, HTML, and HTML as an old repository manager would.

use serde_json::{Value, json};

use crate::package::{Package, sha256};

/// Where the file lives on the files server: digest split 2/2/60, and the name.
pub(super) fn path(package: &Package) -> String {
    let digest = sha256(package.sha256.as_bytes());
    format!(
        "/packages/{}/{}/{}/{}",
        &digest[..2],
        &digest[2..4],
        &digest[4..],
        package.filename
    )
}

pub(super) fn json(project: &str, packages: &[Package], files: &str, signature: Option<u32>) -> Vec<u8> {
    let query = signature.map_or_else(String::new, |signature| format!("?sig={signature}"));
    let mut versions: Vec<_> = packages
        .iter()
        .filter_map(|package| Some(package.filename.split('-').nth(1)?.trim_end_matches(".tar.gz")))
        .collect();
    versions.dedup();
    let document = json!({
        "meta": { "api-version": "1.4", "_last-serial": 42 },
        "name": project,
        "project-status": { "status": "active" },
        "alternate-locations": [],
        "versions": versions,
        "files": packages.iter().map(|package| file(package, files, &query)).collect::<Vec<_>>(),
    });
    serde_json::to_vec(&document).unwrap()
}

fn file(package: &Package, files: &str, query: &str) -> Value {
    let metadata = package
        .metadata
        .as_deref()
        .map_or(json!(false), |bytes| json!({ "sha256": sha256(bytes) }));
    json!({
        "filename": package.filename,
        "url": format!("http://{files}{}{query}", path(package)),
        "hashes": { "sha256": package.sha256 },
        "size": package.bytes.len(),
        "upload-time": package.upload_time,
        "requires-python": package.requires_python,
        "yanked": package.yanked.as_ref().map_or(json!(false), |reason| json!(reason)),
        "core-metadata": metadata,
        "data-dist-info-metadata": metadata,
        "provenance": null,
    })
}

pub(super) fn html(packages: &[Package], files: &str) -> Vec<u8> {
    let mut out =
        "<!DOCTYPE html>\n<html><head><meta name=\"pypi:repository-version\" content=\"1.4\"></head><body>\n"
            .to_owned();
    for package in packages {
        let metadata = package
            .metadata
            .as_deref()
            .map(|bytes| format!(" data-core-metadata=\"sha256={}\"", sha256(bytes)));
        out.push_str(&format!(
            "<a href=\"http://{files}{}#sha256={}\" data-requires-python=\"&gt;=3.8\"{}>{}</a><br>\n",
            path(package),
            package.sha256,
            metadata.unwrap_or_default(),
            package.filename
        ));
    }
    out.push_str("</body></html>\n");
    out.into_bytes()
}

/// No version, no sizes, no siblings.
pub(super) fn old_html(packages: &[Package], files: &str) -> Vec<u8> {
    let anchor = |package: &Package| {
        format!(
            "<a href='http://{files}{}#sha256={}'>{1}</a>\n",
            path(package),
            package.sha256
        )
    };
    packages.iter().map(anchor).collect::<String>().into_bytes()
}

pub(super) fn list<'a>(projects: impl Iterator<Item = &'a String>) -> Vec<u8> {
    let projects: Vec<_> = projects
        .map(|name| json!({ "name": name, "_last-serial": 42 }))
        .collect();
    serde_json::to_vec(&json!({ "meta": { "api-version": "1.4", "_last-serial": 42 }, "projects": projects }))
        .unwrap()
}
