//! Writing HTML pages (PEP 503, frozen at version 1.4 by PEP 833).

use std::borrow::Cow;
use std::fmt::Write as _;

use html_escape::encode_double_quoted_attribute as escaped;

use super::{api_version, is_mixed, offered};
use crate::model::{CoreMetadata, Digests, FileEntry, FilePath, ProjectList, ProjectPage, Yanked};

/// The digests that installers read from a fragment, best first. `sha1` is left out: it breaks uv.
const FRAGMENT_ALGORITHMS: [&str; 4] = ["sha256", "sha512", "sha384", "md5"];

pub(super) fn page(page: &ProjectPage, href: &dyn Fn(&FilePath) -> String) -> Vec<u8> {
    let mut out = String::with_capacity(400 * page.files.len() + 400);
    begin(
        &mut out,
        api_version(page),
        &format!("Links for {}", page.name),
        &status(page),
    );
    let is_mixed = is_mixed(page);
    for file in offered(page) {
        let source = is_mixed.then(|| file.path.source());
        anchor(&mut out, file, &href(&file.path), source);
    }
    out.push_str("  </body>\n</html>\n");
    out.into_bytes()
}

pub(super) fn list(list: &ProjectList) -> Vec<u8> {
    let mut out = String::with_capacity(60 * list.projects().len() + 300);
    begin(&mut out, "1.4", "Simple index", "");
    for project in list.projects() {
        // A normal name needs no escaping.
        let _ = writeln!(out, "    <a href=\"{0}/\">{0}</a><br />", project.name);
    }
    out.push_str("  </body>\n</html>\n");
    out.into_bytes()
}

fn begin(out: &mut String, version: &str, title: &str, further_meta: &str) {
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    \
         <meta name=\"pypi:repository-version\" content=\"{version}\">\n{further_meta}    <title>{title}</title>\n  \
         </head>\n  <body>\n    <h1>{title}</h1>\n"
    );
}

fn status(page: &ProjectPage) -> String {
    let mut out = String::new();
    if page.status.marker != "active" || page.status.reason.is_some() {
        let _ = writeln!(
            out,
            "    <meta name=\"pypi:project-status\" content=\"{}\">",
            escaped(&page.status.marker)
        );
    }
    if let Some(reason) = &page.status.reason {
        let _ = writeln!(
            out,
            "    <meta name=\"pypi:project-status-reason\" content=\"{}\">",
            escaped(reason)
        );
    }
    out
}

fn anchor(out: &mut String, file: &FileEntry, href: &str, source: Option<&str>) {
    let _ = write!(out, "    <a href=\"{}{}\"", escaped(href), fragment(&file.hashes));
    let mut attribute = |name: &str, value: &str| {
        let _ = write!(
            out,
            " {name}=\"{}\"",
            escaped(value).replace('<', "&lt;").replace('>', "&gt;")
        );
    };
    if let Some(specifier) = &file.requires_python {
        attribute("data-requires-python", specifier);
    }
    match &file.yanked {
        Yanked::No => {}
        Yanked::Yes => attribute("data-yanked", ""),
        Yanked::Because(reason) => attribute("data-yanked", reason),
    }
    let metadata: Option<Cow<'_, str>> = match file.core_metadata {
        CoreMetadata::None => None,
        CoreMetadata::Offered | CoreMetadata::Derived => Some("true".into()),
        CoreMetadata::Digest(sha256) => Some(format!("sha256={sha256}").into()),
    };
    if let Some(metadata) = metadata {
        attribute("data-core-metadata", &metadata);
        attribute("data-dist-info-metadata", &metadata);
    }
    if let Some(provenance) = &file.provenance {
        attribute("data-provenance", provenance);
    }
    if let Some(gpg_sig) = file.gpg_sig {
        attribute("data-gpg-sig", if gpg_sig { "true" } else { "false" });
    }
    // Not of the standard, read by uv.
    if let Some(size) = file.size {
        attribute("data-size", &size.to_string());
    }
    if let Some(time) = &file.upload_time {
        attribute("data-upload-time", time);
    }
    if let Some(source) = source {
        attribute("data-source", source);
    }
    let _ = writeln!(
        out,
        ">{}</a><br />",
        html_escape::encode_text(file.filename.as_str())
    );
}

fn fragment(hashes: &Digests) -> String {
    let listed = |wanted: &&'static str| Some((*wanted, hashes.get(wanted)?));
    let best = FRAGMENT_ALGORITHMS.iter().find_map(listed);
    best.map(|(algorithm, digits)| format!("#{algorithm}={digits}"))
        .unwrap_or_default()
}
