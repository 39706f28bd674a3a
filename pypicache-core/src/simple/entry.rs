//! What JSON and HTML pages share: from the raw fields of one file to a [`FileEntry`].

use std::collections::HashMap;

use url::Url;

use super::PageContext;
use crate::model::{CoreMetadata, Digests, FileEntry, FileName, Link, Sha256};

/// Begins an entry from the file's URL, which may be relative to `base`. `None` (with a word in the log) drops
/// the file: no usable URL, or a name that is no distribution's.
///
/// The name is taken from the URL, not from the anchor's text or the `filename` key: it is what will be
/// downloaded, and what installers look at.
pub(super) fn begin(context: &PageContext<'_>, base: &Url, href: &str) -> Option<FileEntry> {
    let url = base
        .join(href.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = url else {
        // The link itself is not logged: it may carry a password or a signature.
        tracing::debug!(project = %context.project, "a link that is no http URL is passed over");
        return None;
    };
    url.set_fragment(None);
    // Credentials inside a link are never handed on, and never used.
    if url.has_authority() && (!url.username().is_empty() || url.password().is_some()) {
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    let Some(path) = (context.path_of)(&url) else {
        tracing::debug!(project = %context.project, path = url.path(), "a link that is no distribution's is passed over");
        return None;
    };
    let mut entry = FileEntry::new(path);
    entry.link = Some(Link {
        upstream: context.upstream.clone(),
        url,
    });
    Some(entry)
}

/// Adds an entry unless its file name is on the page already. Two files of one name never mix.
pub(super) fn add(files: &mut Vec<FileEntry>, seen: &mut HashMap<FileName, usize>, entry: FileEntry) {
    if let Some(&first) = seen.get(&entry.filename) {
        if files[first].hashes != entry.hashes {
            tracing::warn!(file = %entry.filename, "a page lists one file name twice with different digests; the first counts");
        }
        return;
    }
    seen.insert(entry.filename.clone(), files.len());
    files.push(entry);
}

/// RFC 3339, or nothing.
pub(super) fn upload_time(text: &str) -> Option<String> {
    text.parse::<jiff::Timestamp>().is_ok().then(|| text.to_owned())
}

/// Any text without control characters; installers judge the specifier.
pub(super) fn requires_python(text: &str) -> Option<String> {
    let plain = !text.is_empty() && !text.chars().any(char::is_control);
    plain.then(|| text.to_owned())
}

/// `sha256` digits of the METADATA, or the mere word that it is there.
pub(super) fn core_metadata(digits: Option<&str>) -> CoreMetadata {
    match digits.map(Sha256::parse) {
        Some(Ok(sha256)) => CoreMetadata::Digest(sha256),
        _ => CoreMetadata::Offered,
    }
}

/// PEP 740 wants an absolute URL.
pub(super) fn provenance(text: &str) -> Option<Url> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    // Credentials inside a link are never handed on.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(url)
}

/// The digest in a URL's fragment (`sha256=…`, perhaps with `&egg=…` behind it).
pub(super) fn fragment_digests(fragment: &str, into: &mut Digests) {
    let decoded = percent_encoding::percent_decode_str(fragment).decode_utf8_lossy();
    for pair in decoded.split('&') {
        if let Some((algorithm, digits)) = pair.split_once('=') {
            into.insert(algorithm, digits);
        }
    }
}
