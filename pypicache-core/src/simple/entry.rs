//! What JSON and HTML pages share: from the raw fields of one file to a [`FileEntry`].

use std::collections::{HashMap, HashSet};

use url::{Position, Url};

use super::{PageContext, ReadPageError};
use crate::model::{CoreMetadata, Digests, FileEntry, InvalidFilePath, Link, ProjectPage, Sha256};

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

    /// Begins an entry from the file's URL, and its name where the page has it apart from the link (PEP 691 `filename`).
    /// An error says why the file is dropped: no usable URL, or a name that is no distribution's.
    ///
    /// The link is only where to ask; without a name of its own the file has the one that the link ends in.
    pub(super) fn begin(&self, href: &str, filename: Option<&str>) -> Result<FileEntry, String> {
        // The link itself is not told: it may carry a password or a signature.
        let (path, url) = match self.usual_path(href) {
            Some((origin, path)) => ((self.context.path_of)(origin, path, filename), href.into()),
            None => {
                let url = resolve(self.base, href).ok_or("its link is no http URL")?;
                let path = (self.context.path_of)(&url, url.path(), filename);
                (path, String::from(url).into())
            }
        };
        let mut entry = FileEntry::new(path.map_err(|error| reason_of(&error))?);
        entry.link = Some(Link {
            upstream: self.context.upstream.clone(),
            url,
        });
        Ok(entry)
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

fn reason_of(error: &InvalidFilePath) -> String {
    match error {
        InvalidFilePath::Shape => "its link has no path that a file can have".to_owned(),
        InvalidFilePath::FileName(error) => error.to_string(),
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
pub(super) fn remove_doubles(page: &mut ProjectPage) {
    let mut first: HashMap<&str, &FileEntry> = HashMap::with_capacity(page.files.len());
    let mut doubles = HashSet::new();
    for (number, file) in page.files.iter().enumerate() {
        let Some(known) = first.insert(file.filename.as_str(), file) else {
            continue;
        };
        first.insert(known.filename.as_str(), known);
        doubles.insert(number);
        if known.hashes != file.hashes {
            let reason = "the name stands there twice with different digests; the first counts";
            page.left_out.note(file.filename.as_str(), reason);
        }
    }
    let mut number = 0..;
    if !doubles.is_empty() {
        page.files
            .retain(|_| number.next().is_some_and(|number| !doubles.contains(&number)));
    }
}

/// Fails for a page that lists files of which none was taken: that is trouble, and not an empty project.
pub(super) fn check_taken(page: ProjectPage) -> Result<ProjectPage, ReadPageError> {
    match page.files.is_empty() && !page.left_out.is_empty() {
        true => Err(ReadPageError::NothingUsable(page.left_out)),
        false => Ok(page),
    }
}

/// A time as PEP 700 wants it: RFC 3339 in UTC with `Z` and six digits behind the second at the most. Another offset is
/// converted, a missing one is taken for UTC, further digits are cut. `None` where it is no time.
pub(super) fn upload_time(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    let time: jiff::Timestamp = match text.parse() {
        Ok(time) => time,
        Err(_) => {
            let civil: jiff::civil::DateTime = text.parse().ok()?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
        }
    };
    if is_canonical_time(text.as_bytes()) {
        return Some(text.into());
    }
    let cut = time.subsec_nanosecond() % 1000;
    let micros = time
        .checked_sub(jiff::SignedDuration::from_nanos(cut.into()))
        .ok()?;
    Some(micros.to_string().into())
}

/// `2024-05-06T07:08:09.123456Z`, with fewer digits or none behind the second.
fn is_canonical_time(text: &[u8]) -> bool {
    let fits = |(number, byte): (usize, &u8)| match number {
        4 | 7 => *byte == b'-',
        10 => *byte == b'T',
        13 | 16 => *byte == b':',
        19 => *byte == b'.',
        _ => byte.is_ascii_digit(),
    };
    let front = text.strip_suffix(b"Z");
    front.is_some_and(|front| {
        (19..=26).contains(&front.len()) && front.len() != 20 && front.iter().enumerate().all(fits)
    })
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

    #[test]
    fn upload_times_are_written_as_the_standard_wants_them() {
        let cases = [
            ("2024-05-06T07:08:09.123456Z", Some("2024-05-06T07:08:09.123456Z")),
            ("2024-05-06T07:08:09Z", Some("2024-05-06T07:08:09Z")),
            (
                "2024-05-06T07:08:09.1234567Z",
                Some("2024-05-06T07:08:09.123456Z"),
            ),
            (
                "2024-05-06T07:08:09.123456789+00:00",
                Some("2024-05-06T07:08:09.123456Z"),
            ),
            ("2024-05-06T09:08:09+02:00", Some("2024-05-06T07:08:09Z")),
            ("2024-05-06 07:08:09Z", Some("2024-05-06T07:08:09Z")),
            ("2024-05-06T07:08:09", Some("2024-05-06T07:08:09Z")),
            ("2024-05-06t07:08:09z", Some("2024-05-06T07:08:09Z")),
            ("yesterday", None),
            ("", None),
            ("2024-13-06T07:08:09Z", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(upload_time(text).as_deref(), wanted, "{text}");
        }
    }

    proptest! {
        /// What is known of a page's first link saves work on the others and changes nothing about them.
        #[test]
        fn the_short_way_leads_to_the_same_entry(
            host in "(https://files\\.example|http://files\\.example:8080|https://FILES\\.example|//files\\.example|)",
            rest in "[a-z/._~!%+? \\\\#@-]{0,12}(/six-1\\.0[a-z+]{0,3}\\.tar\\.gz)?",
        ) {
            let (project, upstream) = (ProjectName::parse("six").unwrap(), "u".into());
            let base = Url::parse("https://index.example/simple/six/").unwrap();
            let path_of = |origin: &Url, path: &str, _: Option<&str>| {
                FilePath::from_encoded(&format!("{}{path}", origin.host_str().unwrap()))
            };
            let context = PageContext { project: &project, base: &base, upstream: &upstream, path_of: &path_of, is_delimited: true, last_serial: None };
            let href = format!("{host}/{rest}");
            let long = Links::new(&context, &base, None).begin(&href, None);
            let first = href.replace(['@', ' '], "x");
            prop_assert_eq!(Links::new(&context, &base, Some(&first)).begin(&href, None), long);
        }
    }
}
