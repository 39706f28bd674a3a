//! Reading HTML pages (PEP 503) from any index: a real tokeniser, as browsers and installers would see it.

use std::cell::RefCell;

use html_escape::decode_html_entities;
use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, MemorySettings, Settings, element};
use url::Url;

use super::{PageContext, ReadPageError, check_version, entry};
use crate::model::{CoreMetadata, FileEntry, ProjectList, ProjectName, ProjectPage, ProjectStatus, Yanked};

/// What is collected of a document. Attributes are copied, because the tokeniser lends them only briefly.
#[derive(Default)]
struct Document {
    base: Option<String>,
    version: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    anchors: Vec<Anchor>,
}

impl Document {
    /// The page says itself that it is one of an index.
    fn is_index_page(&self) -> bool {
        self.version.is_some() || self.status.is_some()
    }
}

/// An anchor's attributes, entities decoded.
#[derive(Default)]
struct Anchor {
    href: String,
    requires_python: Option<String>,
    yanked: Option<String>,
    core_metadata: Option<String>,
    provenance: Option<String>,
    gpg_sig: Option<String>,
    size: Option<String>,
    upload_time: Option<String>,
}

pub(super) fn page(body: &[u8], context: &PageContext<'_>) -> Result<ProjectPage, ReadPageError> {
    check_end(body, context.is_delimited)?;
    let document = read(body)?;
    check_version(document.version.as_deref())?;
    // The first <base> counts; a relative one is relative to the page.
    let base = document
        .base
        .as_deref()
        .and_then(|href| context.base.join(href).ok());
    let base = base.as_ref().unwrap_or(context.base);
    let mut page = ProjectPage::new(context.project.clone());
    let first = document.anchors.first().map(|anchor| anchor.href.as_str());
    let links = entry::Links::new(context, base, first);
    for anchor in &document.anchors {
        match entry_of(anchor, &links) {
            Ok(entry) => page.files.push(entry),
            // Other links lead home, to the parent, to documentation.
            Err(reason) if anchor.is_of_file() => page.left_out.note(name_in(&anchor.href), &reason),
            Err(_) => {}
        }
    }
    entry::remove_doubles(&mut page);
    if !document.is_index_page() && !page.files.iter().any(|file| belongs(file, context.project)) {
        return Err(match document.anchors.is_empty() {
            true => ReadPageError::Empty,
            false => ReadPageError::NotAnIndexPage,
        });
    }
    if let Some(marker) = document.status {
        page.status = ProjectStatus {
            marker: marker.to_ascii_lowercase(),
            reason: document.status_reason,
        };
    }
    page.last_serial = context.last_serial;
    entry::check_taken(page)
}

/// What decides whether a page is whole: the transport, where that tells its end; else the page has to have ended itself, by
/// `</body>` or `</html>` in its last kilobyte. (A page that never closes is taken where it came with a length.)
fn check_end(body: &[u8], is_delimited: bool) -> Result<(), ReadPageError> {
    const TAIL: usize = 1024;
    let tail = &body[body.len().saturating_sub(TAIL)..];
    let ends = |tag: &[u8]| {
        tail.windows(tag.len())
            .any(|window| window.eq_ignore_ascii_case(tag))
    };
    match is_delimited || ends(b"</html") || ends(b"</body") {
        true => Ok(()),
        false => Err(ReadPageError::Malformed(
            "it came without a length and breaks off before </body>".to_owned(),
        )),
    }
}

/// The part of a link that tells people which file it is about, without what may be secret.
fn name_in(href: &str) -> &str {
    let path = href.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

pub(super) fn list(body: &[u8], base: &Url, is_delimited: bool) -> Result<ProjectList, ReadPageError> {
    check_end(body, is_delimited)?;
    let document = read(body)?;
    check_version(document.version.as_deref())?;
    let links = document.anchors.iter();
    let names = links.filter_map(|anchor| project_behind(&anchor.href, base));
    let list: ProjectList = names.collect();
    match list.projects().is_empty() && (document.version.is_none() || !document.anchors.is_empty()) {
        true => Err(ReadPageError::NotAnIndexPage),
        false => Ok(list),
    }
}

pub(super) fn is_list(front: &[u8], base: &Url) -> bool {
    /// Links to the parent, and perhaps one more.
    const OTHERS: usize = 2;
    let Ok(document) = read(front) else { return false };
    let is_below = |anchor: &&Anchor| {
        let is_relative = !anchor.href.starts_with('/') && anchor.href.ends_with('/');
        (is_relative || base.path() != "/") && project_behind(&anchor.href, base).is_some()
    };
    let below = document.anchors.iter().filter(is_below).count();
    document.version.is_some() || (below > 0 && document.anchors.len() - below <= OTHERS)
}

/// The project whose page a link leads to: pages live directly below the list.
fn project_behind(href: &str, base: &Url) -> Option<ProjectName> {
    let url = base.join(href).ok().filter(|url| url.host() == base.host())?;
    let segment = url.path().strip_prefix(base.path())?;
    let name = segment.strip_suffix('/').unwrap_or(segment);
    // What has an extension and no slash behind it is a document.
    let is_page = segment.ends_with('/') || !name.contains('.');
    ProjectName::parse(name).ok().filter(|_| is_page)
}

/// Whether the file's name says that it is the project's; a name that says nothing has to begin like it.
fn belongs(file: &FileEntry, project: &ProjectName) -> bool {
    let owners = file.filename.owners();
    let prefix = file
        .filename
        .as_str()
        .split('-')
        .next()
        .and_then(|text| ProjectName::parse(text).ok());
    owners.iter().any(|(owner, _)| owner == project)
        || (owners.is_empty() && prefix.as_ref() == Some(project))
}

fn read(body: &[u8]) -> Result<Document, ReadPageError> {
    let document = RefCell::new(Document::default());
    let handlers = vec![
        element!("base[href]", |base| {
            document
                .borrow_mut()
                .base
                .get_or_insert(attribute(base, "href").unwrap_or_default());
            Ok(())
        }),
        element!("meta[name]", |meta| {
            note_meta(&mut document.borrow_mut(), meta);
            Ok(())
        }),
        element!("a[href]", |a| {
            document.borrow_mut().anchors.push(anchor_of(a));
            Ok(())
        }),
    ];
    let memory = MemorySettings::new().with_max_allowed_memory_usage(4 << 20);
    let settings = handlers.into_iter().fold(
        Settings::new().with_memory_settings(memory),
        Settings::append_element_content_handler,
    );
    let malformed = |error: lol_html::errors::RewritingError| ReadPageError::Malformed(error.to_string());
    let mut rewriter = HtmlRewriter::new(settings, |_: &[u8]| {});
    rewriter.write(body).map_err(malformed)?;
    rewriter.end().map_err(malformed)?;
    Ok(document.into_inner())
}

fn note_meta(document: &mut Document, meta: &Element<'_, '_>) {
    let Some(content) = attribute(meta, "content") else {
        return;
    };
    // Only these names: some repository managers have an unrelated `api-version`.
    let field = match attribute(meta, "name")
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "pypi:repository-version" => &mut document.version,
        "pypi:project-status" => &mut document.status,
        "pypi:project-status-reason" => &mut document.status_reason,
        _ => return,
    };
    field.get_or_insert(content);
}

fn anchor_of(a: &Element<'_, '_>) -> Anchor {
    Anchor {
        href: attribute(a, "href").unwrap_or_default(),
        requires_python: attribute(a, "data-requires-python"),
        yanked: attribute(a, "data-yanked"),
        core_metadata: attribute(a, "data-core-metadata").or_else(|| attribute(a, "data-dist-info-metadata")),
        provenance: attribute(a, "data-provenance"),
        gpg_sig: attribute(a, "data-gpg-sig"),
        size: attribute(a, "data-size"),
        upload_time: attribute(a, "data-upload-time"),
    }
}

fn attribute(element: &Element<'_, '_>, name: &str) -> Option<String> {
    element
        .get_attribute(name)
        .map(|raw| decode_html_entities(&raw).into_owned())
}

impl Anchor {
    /// Whether it carries what only links to files carry.
    fn is_of_file(&self) -> bool {
        let has_digest = self
            .href
            .split_once('#')
            .is_some_and(|(_, fragment)| fragment.contains('='));
        has_digest || self.requires_python.is_some() || self.core_metadata.is_some() || self.yanked.is_some()
    }
}

fn entry_of(anchor: &Anchor, links: &entry::Links<'_>) -> Result<FileEntry, String> {
    let (href, fragment) = anchor.href.split_once('#').unwrap_or((&anchor.href, ""));
    let mut entry = links.begin(href, None)?;
    entry::fragment_digests(fragment, &mut entry.hashes);
    entry.requires_python = anchor.requires_python.as_deref().and_then(entry::requires_python);
    entry.yanked = match anchor.yanked.as_deref() {
        None => Yanked::No,
        Some("") => Yanked::Yes,
        Some(reason) => Yanked::Because(reason.to_owned()),
    };
    entry.core_metadata = match anchor.core_metadata.as_deref() {
        None => CoreMetadata::None,
        Some(text) if text.eq_ignore_ascii_case("false") => CoreMetadata::None,
        Some(text) => entry::core_metadata(text.strip_prefix("sha256=")),
    };
    entry.provenance = anchor.provenance.as_deref().and_then(entry::provenance);
    // There are no signatures here, so none is promised.
    entry.gpg_sig = anchor
        .gpg_sig
        .as_deref()
        .and_then(|text| text.parse().ok())
        .filter(|is_there: &bool| !is_there);
    entry.size = anchor.size.as_deref().and_then(|text| text.parse().ok());
    entry.upload_time = anchor.upload_time.as_deref().and_then(entry::upload_time);
    Ok(entry)
}
