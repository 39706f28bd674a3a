//! What JSON and HTML pages share: from the raw fields of one file to a [`FileEntry`].

use std::collections::{HashMap, HashSet};

use url::{Position, Url};

use super::PageContext;
use crate::model::{CoreMetadata, Digests, FileEntry, Link, Sha256};

/// Where the links of one page lead to: relative ones are relative to `base`, and nearly all of them share one origin.
pub(super) struct Links<'a> {
    context: &'a PageContext<'a>,
    base: &'a Url,
    /// The origin of the page's first link, and as text up to the slash behind it.
    usual: Option<(Url, String)>,
}

impl<'a> Links<'a> {
    pub(super) fn new(context: &'a PageContext<'a>, base: &'a Url, first: Option<&str>) -> Self {
        let usual = first.and_then(|href| resolve(base, href)).map(|url| {
            let origin = format!("{}/", &url[..Position::BeforePath]);
            (url, origin)
        });
        Self { context, base, usual }
    }

    /// Begins an entry from the file's URL. `None` (with a word in the log) drops the file: no usable URL, or a name
    /// that is no distribution's.
    ///
    /// The name is taken from the URL, not from the anchor's text or the `filename` key: it is what will be
    /// downloaded, and what installers look at.
    pub(super) fn begin(&self, href: &str) -> Option<FileEntry> {
        let project = self.context.project;
        let (path, url) = match self.usual_path(href) {
            Some((origin, path)) => ((self.context.path_of)(origin, path), href.into()),
            None => {
                let Some(url) = resolve(self.base, href) else {
                    // The link itself is not logged: it may carry a password or a signature.
                    tracing::debug!(%project, "a link that is no http URL is passed over");
                    return None;
                };
                ((self.context.path_of)(&url, url.path()), String::from(url).into())
            }
        };
        let Some(path) = path else {
            tracing::debug!(%project, "a link that is no distribution's is passed over");
            return None;
        };
        let mut entry = FileEntry::new(path);
        entry.link = Some(Link {
            upstream: self.context.upstream.clone(),
            url,
        });
        Some(entry)
    }

    /// The path of a URL at the usual origin in which there is nothing that reading it as a URL would change.
    fn usual_path<'b>(&self, href: &'b str) -> Option<(&Url, &'b str)> {
        let (url, origin) = self.usual.as_ref()?;
        let rest = href.strip_prefix(origin.as_str())?;
        let is_plain =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'+' | b'!' | b'~');
        let is_unchanged = rest.bytes().all(is_plain) && !rest.starts_with('.') && !rest.contains("/.");
        is_unchanged.then(|| (url, &href[origin.len() - 1..]))
    }
}

/// The absolute URL of a link. Credentials inside are never handed on, and never used.
fn resolve(base: &Url, href: &str) -> Option<Url> {
    let url = base.join(href.trim()).ok();
    let mut url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    url.set_fragment(None);
    if url.has_authority() && (!url.username().is_empty() || url.password().is_some()) {
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    Some(url)
}

/// Removes entries whose file name another has before them. Two files of one name never mix.
pub(super) fn remove_doubles(files: &mut Vec<FileEntry>) {
    let mut first: HashMap<&str, &FileEntry> = HashMap::with_capacity(files.len());
    let mut doubles = HashSet::new();
    for (number, file) in files.iter().enumerate() {
        let Some(known) = first.insert(file.filename.as_str(), file) else {
            continue;
        };
        first.insert(known.filename.as_str(), known);
        doubles.insert(number);
        if known.hashes != file.hashes {
            tracing::warn!(file = %file.filename, "a page lists one file name twice with different digests; the first counts");
        }
    }
    let mut number = 0..;
    if !doubles.is_empty() {
        files.retain(|_| number.next().is_some_and(|number| !doubles.contains(&number)));
    }
}

/// RFC 3339, or nothing.
pub(super) fn upload_time(text: &str) -> Option<Box<str>> {
    text.parse::<jiff::Timestamp>().is_ok().then(|| text.into())
}

/// Any text without control characters; installers judge the specifier.
pub(super) fn requires_python(text: &str) -> Option<Box<str>> {
    let plain = !text.is_empty() && !text.chars().any(char::is_control);
    plain.then(|| text.into())
}

/// `sha256` digits of the METADATA, or the mere word that it is there.
pub(super) fn core_metadata(digits: Option<&str>) -> CoreMetadata {
    match digits.map(Sha256::parse) {
        Some(Ok(sha256)) => CoreMetadata::Digest(sha256),
        _ => CoreMetadata::Offered,
    }
}

/// PEP 740 wants an absolute URL.
pub(super) fn provenance(text: &str) -> Option<Box<str>> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))?;
    // Credentials inside a link are never handed on.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(String::from(url).into())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FilePath, ProjectName};
    use proptest::prelude::*;

    proptest! {
        /// What is known of a page's first link saves work on the others and changes nothing about them.
        #[test]
        fn the_short_way_leads_to_the_same_entry(
            host in "(https://files\\.example|http://files\\.example:8080|https://FILES\\.example|//files\\.example|)",
            rest in "[a-z/._~!%+? \\\\#@-]{0,12}(/six-1\\.0[a-z+]{0,3}\\.tar\\.gz)?",
        ) {
            let (project, upstream) = (ProjectName::parse("six").unwrap(), "u".into());
            let base = Url::parse("https://index.example/simple/six/").unwrap();
            let path_of = |origin: &Url, path: &str| {
                FilePath::from_encoded(&format!("{}{path}", origin.host_str().unwrap())).ok()
            };
            let context = PageContext { project: &project, base: &base, upstream: &upstream, path_of: &path_of, last_serial: None };
            let href = format!("{host}/{rest}");
            let long = Links::new(&context, &base, None).begin(&href);
            let first = href.replace(['@', ' '], "x");
            prop_assert_eq!(Links::new(&context, &base, Some(&first)).begin(&href), long);
        }
    }
}
