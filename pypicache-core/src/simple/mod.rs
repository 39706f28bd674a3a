//! The Simple API on the wire: project pages and project lists in JSON (PEP 691) and HTML (PEP 503).
//!
//! Reading takes whatever real indexes send and gives the [`crate::model`]; writing gives exactly what installers
//! want. It knows no HTTP: what a status or a header means is the caller's matter. One broken file drops that
//! file; a document that is no index's page is an error, never an empty page.
//!
//! Imports: `model`.

mod entry;
mod html_read;
mod html_write;
mod json_read;
mod json_write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use url::Url;

use crate::model::{FilePath, InvalidFilePath, LeftOut, ProjectList, ProjectName, ProjectPage};

/// What we ask upstreams with: JSON first, in the words that indexes see most often.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// The two serialisations of the Simple API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// PEP 691.
    Json,
    /// PEP 503.
    Html,
}

impl Format {
    /// The media type that names the format and its version.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/vnd.pypi.simple.v1+json",
            Self::Html => "application/vnd.pypi.simple.v1+html",
        }
    }

    /// The format that a `Content-Type` announces; `None` where it is none of the three that an index may
    /// send. Parameters are passed over.
    #[must_use]
    pub fn of_content_type(header: &str) -> Option<Self> {
        let media_type = header
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match media_type.as_str() {
            "application/vnd.pypi.simple.v1+json" => Some(Self::Json),
            "application/vnd.pypi.simple.v1+html" | "text/html" => Some(Self::Html),
            _ => None,
        }
    }
}

/// See [`PageContext::path_of`].
pub type PathOf<'a> =
    dyn Fn(&Url, &str, Option<&str>) -> Result<FilePath, InvalidFilePath> + Send + Sync + 'a;

/// What has to be known beside a page's bytes to read it.
#[derive(Clone, Copy)]
pub struct PageContext<'a> {
    /// Whose page was asked for.
    pub project: &'a ProjectName,
    /// The final URL of the answer: relative links are relative to it.
    pub base: &'a Url,
    /// Whose links these are, see [`crate::model::Link`].
    pub upstream: &'a Arc<str>,
    /// The identity of the file behind a URL: told are one of the same origin (scheme, host and port count), the
    /// path as it stands in the URL, and the file's name where the page has it beside the link. An error drops the file.
    pub path_of: &'a PathOf<'a>,
    /// Whether the transport said where the body ends. Where the end of the connection is the end of the page (no length,
    /// no chunks), HTML has to say itself that it is whole.
    pub is_delimited: bool,
    /// The serial that the answer's header told.
    pub last_serial: Option<u64>,
}

impl std::fmt::Debug for PageContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageContext({} at {})", self.project, self.base)
    }
}

/// Why a document is not taken for an index's page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadPageError {
    /// HTML without any sign of the Simple API: a portal's page, an error page.
    #[error("the page has nothing that an index's page has")]
    NotAnIndexPage,
    /// HTML without any link or sign of the Simple API: an index that has no such project may say it like this.
    #[error(
        "the page has no links; if this index says like this that it has no such project, set empty = \"absent\" for its source"
    )]
    Empty,
    /// A major version that is not 1 (PEP 629).
    #[error("the page speaks version {0:?} of the Simple API; version 1 is understood")]
    UnsupportedVersion(String),
    /// It cannot be read, or lacks what PEP 691 demands.
    #[error("the page is malformed: {0}")]
    Malformed(String),
    /// It lists files, and none of them can be taken.
    #[error("of its {} none can be taken", .0)]
    NothingUsable(LeftOut),
    /// It is the page of another project.
    #[error("the page is of another project, {0:?}")]
    WrongProject(String),
}

/// Reads a project's page.
pub fn read_page(
    format: Format,
    body: &[u8],
    context: &PageContext<'_>,
) -> Result<ProjectPage, ReadPageError> {
    match format {
        Format::Json => json_read::page(body, context),
        Format::Html => html_read::page(body, context),
    }
}

/// Reads a project list that was found at `base`; `is_delimited` as in [`PageContext`]. What is no project is passed over,
/// unless nothing is one.
pub fn read_list(
    format: Format,
    body: &[u8],
    base: &Url,
    is_delimited: bool,
) -> Result<ProjectList, ReadPageError> {
    match format {
        Format::Json => json_read::list(body),
        Format::Html => html_read::list(body, base, is_delimited),
    }
}

/// Whether HTML found at `base`, of which `front` is the beginning, is a project list: it says so itself, or it has hardly any
/// links but those to pages below it, as the listing of a directory.
#[must_use]
pub fn is_html_list(front: &[u8], base: &Url) -> bool {
    html_read::is_list(front, base)
}

/// Writes a project's page. `href` gives the URL of a file, usually relative to the page.
///
/// A quarantined project's files are not offered (PEP 792).
#[must_use]
pub fn write_page(format: Format, page: &ProjectPage, href: &dyn Fn(&FilePath) -> String) -> Vec<u8> {
    match format {
        Format::Json => json_write::page(page, href),
        Format::Html => html_write::page(page, href),
    }
}

/// Writes a project list.
#[must_use]
pub fn write_list(format: Format, list: &ProjectList) -> Vec<u8> {
    match format {
        Format::Json => json_write::list(list),
        Format::Html => html_write::list(list),
    }
}

/// The version to announce: 1.4 promises a size for each file and the list of versions (PEP 700).
fn api_version(page: &ProjectPage) -> &'static str {
    let complete = page.versions.is_some() && page.files.iter().all(|file| file.size.is_some());
    if complete { "1.4" } else { "1.0" }
}

/// The files that may be offered.
fn offered(page: &ProjectPage) -> &[crate::model::FileEntry] {
    if page.status.marker == "quarantined" {
        &[]
    } else {
        &page.files
    }
}

/// Whether the page has files of several sources: then each is marked with its own. Such a page is one that somebody's own
/// files were laid over on purpose.
fn is_mixed(page: &ProjectPage) -> bool {
    let mut sources = page.files.iter().map(|file| file.path.source());
    let first = sources.next();
    sources.any(|source| Some(source) != first)
}

/// The newest minor version of which every field is known here.
const KNOWN_MINOR: u32 = 4;

/// Checks a version like "1.4"; a missing one is 1.0. A newer minor version is read, and said in the log once.
fn check_version(version: Option<&str>) -> Result<(), ReadPageError> {
    static IS_SAID: AtomicBool = AtomicBool::new(false);
    let Some(version) = version.map(str::trim) else {
        return Ok(());
    };
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    match major {
        "1" => {
            if minor.parse().is_ok_and(|minor: u32| minor > KNOWN_MINOR)
                && !IS_SAID.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    version,
                    "an index speaks a newer version of the Simple API; what is new in it is left out"
                );
            }
            Ok(())
        }
        _ => Err(ReadPageError::UnsupportedVersion(
            version.chars().take(40).collect(),
        )),
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
