//! Reading JSON pages (PEP 691), strict about the document and lenient about each file.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{PageContext, ReadPageError, check_version, entry};
use crate::model::{
    CoreMetadata, Digests, FileEntry, LeftOut, ListedProject, ProjectList, ProjectName, ProjectPage,
    ProjectStatus, Yanked,
};

/// A page with files of type `F`: read at once, or one by one where one of them is broken.
#[derive(Deserialize)]
struct RawPage<'a, F> {
    #[serde(borrow)]
    meta: RawMeta<'a>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    files: Vec<F>,
    #[serde(borrow)]
    versions: Option<&'a RawValue>,
    #[serde(borrow, rename = "project-status")]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawMeta<'a> {
    #[serde(borrow, rename = "api-version")]
    api_version: Option<&'a RawValue>,
    #[serde(borrow, rename = "_last-serial")]
    last_serial: Option<&'a RawValue>,
    #[serde(borrow, rename = "project-status")]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawStatus<'a> {
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
}

/// From so many files on, starting a thread costs less than it saves.
const WORTH_A_THREAD: usize = 1000;

/// Every field but the URL is read leniently: a value of the wrong type counts as missing.
#[derive(Clone, Copy, Deserialize)]
struct RawFile<'a> {
    #[serde(borrow)]
    filename: Option<&'a RawValue>,
    #[serde(borrow)]
    url: &'a RawValue,
    #[serde(borrow)]
    hashes: Option<&'a RawValue>,
    #[serde(borrow)]
    size: Option<&'a RawValue>,
    #[serde(borrow, rename = "upload-time")]
    upload_time: Option<&'a RawValue>,
    #[serde(borrow, rename = "requires-python")]
    requires_python: Option<&'a RawValue>,
    #[serde(borrow)]
    yanked: Option<&'a RawValue>,
    #[serde(borrow, rename = "core-metadata")]
    core_metadata: Option<&'a RawValue>,
    #[serde(borrow, rename = "dist-info-metadata")]
    dist_info_metadata: Option<&'a RawValue>,
    #[serde(borrow, rename = "data-dist-info-metadata")]
    data_dist_info_metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    provenance: Option<&'a RawValue>,
    #[serde(borrow, rename = "gpg-sig")]
    gpg_sig: Option<&'a RawValue>,
}

pub(super) fn page(body: &[u8], context: &PageContext<'_>) -> Result<ProjectPage, ReadPageError> {
    let text = text_of(body)?;
    match serde_json::from_str::<RawPage<'_, RawFile<'_>>>(text) {
        Ok(raw) => finish(raw, context, Ok),
        // Perhaps only one file is broken: then only that one is dropped.
        Err(_) => {
            let raw: RawPage<'_, &RawValue> = serde_json::from_str(text).map_err(malformed)?;
            finish(raw, context, |file| {
                serde_json::from_str(file.get()).map_err(|_| file)
            })
        }
    }
}

pub(super) fn list(body: &[u8]) -> Result<ProjectList, ReadPageError> {
    #[derive(Deserialize)]
    struct RawList<'a> {
        #[serde(borrow)]
        meta: RawMeta<'a>,
        #[serde(borrow)]
        projects: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct RawProject<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        #[serde(borrow, rename = "_last-serial")]
        last_serial: Option<&'a RawValue>,
    }
    let raw: RawList<'_> = serde_json::from_str(text_of(body)?).map_err(malformed)?;
    check_version(version(&raw.meta).as_deref())?;
    let listed = |project: &&RawValue| {
        let project: RawProject<'_> = serde_json::from_str(project.get()).ok()?;
        Some(ListedProject {
            name: ProjectName::parse(&project.name).ok()?,
            last_serial: value(project.last_serial),
        })
    };
    let mut list: ProjectList = raw.projects.iter().filter_map(listed).collect();
    if list.projects().is_empty() && !raw.projects.is_empty() {
        return Err(ReadPageError::Malformed(format!(
            "none of its {} projects has a name",
            raw.projects.len()
        )));
    }
    list.last_serial = value(raw.meta.last_serial);
    Ok(list)
}

fn finish<'a, F: Copy + Send + Sync>(
    raw: RawPage<'a, F>,
    context: &PageContext<'_>,
    read: impl Fn(F) -> Result<RawFile<'a>, &'a RawValue> + Sync,
) -> Result<ProjectPage, ReadPageError> {
    check_version(version(&raw.meta).as_deref())?;
    if let Some(name) = text(raw.name)
        && ProjectName::parse(&name).ok().as_ref() != Some(context.project)
    {
        return Err(ReadPageError::WrongProject(name.chars().take(100).collect()));
    }
    let mut page = ProjectPage::new(context.project.clone());
    let first = raw.files.first().and_then(|file| read(*file).ok());
    let first = first.and_then(|file| text(Some(file.url)));
    let links = entry::Links::new(context, context.base, first.as_deref());
    // A std mutex: locked for each entry that is left out, which are few or all.
    let left_out = Mutex::new(LeftOut::default());
    let leave_out = |name: &str, reason: &str| {
        left_out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(name, reason);
        None
    };
    page.files = on_two_threads(&raw.files, |file: &F| match read(*file) {
        Ok(raw) => match entry_of(&raw, &links) {
            Ok(entry) => Some(entry),
            Err(reason) => leave_out(&text(raw.filename).unwrap_or_default(), &reason),
        },
        Err(raw) => leave_out(raw.get(), "it is no object with a url"),
    });
    page.left_out = left_out.into_inner().unwrap_or_else(PoisonError::into_inner);
    entry::remove_doubles(&mut page);
    page.versions = versions(raw.versions);
    if let Some(status) = status(raw.status).or_else(|| status(raw.meta.status)) {
        page.status = status;
    }
    page.last_serial = context.last_serial.or_else(|| value(raw.meta.last_serial));
    entry::check_taken(page)
}

/// Texts, and numbers as they stand there; what is neither is passed over.
fn versions(raw: Option<&RawValue>) -> Option<Vec<String>> {
    let listed: Vec<&RawValue> = value(raw)?;
    let version = |raw: &&RawValue| match text(Some(*raw)) {
        Some(text) => Some(text.into_owned()),
        None => value::<f64>(Some(*raw)).map(|_| raw.get().to_owned()),
    };
    Some(listed.iter().filter_map(version).collect())
}

/// PEP 792: an object; some indexes send the marker alone.
fn status(raw: Option<&RawValue>) -> Option<ProjectStatus> {
    let (marker, reason) = match value::<RawStatus<'_>>(raw) {
        Some(status) => (text(status.status), text(status.reason)),
        None => (Some(text(raw)?), None),
    };
    Some(ProjectStatus {
        marker: marker.map_or_else(
            || "active".to_owned(),
            |marker| marker.trim().to_ascii_lowercase(),
        ),
        reason: reason.map(Cow::into_owned),
    })
}

/// What `read` makes of the items, in their order. Somebody waits for a large page, so two share the work.
fn on_two_threads<T: Sync, U: Send>(items: &[T], read: impl Fn(&T) -> Option<U> + Sync) -> Vec<U> {
    let all = |items: &[T], room: usize| {
        let mut all = Vec::with_capacity(room);
        all.extend(items.iter().filter_map(&read));
        all
    };
    if items.len() < WORTH_A_THREAD {
        return all(items, items.len());
    }
    let (front, back) = items.split_at(items.len() / 2);
    std::thread::scope(|scope| {
        let helper = scope.spawn(|| all(back, back.len()));
        let mut read = all(front, items.len());
        // A panic on the other thread is this one's, too.
        read.extend(
            helper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        );
        read
    })
}

fn entry_of(raw: &RawFile<'_>, links: &entry::Links<'_>) -> Result<FileEntry, String> {
    let url = text(Some(raw.url)).ok_or("its url is no text")?;
    let (url, fragment) = match url.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (&*url, None),
    };
    let mut entry = links.begin(url, text(raw.filename).as_deref())?;
    entry.hashes = hashes(raw.hashes);
    if let Some(fragment) = fragment.filter(|_| entry.hashes.is_empty()) {
        entry::fragment_digests(fragment, &mut entry.hashes);
    }
    entry.size = value(raw.size);
    entry.upload_time = text(raw.upload_time).as_deref().and_then(entry::upload_time);
    entry.requires_python = text(raw.requires_python)
        .as_deref()
        .and_then(entry::requires_python);
    entry.yanked = yanked(raw.yanked);
    let metadata = [
        raw.core_metadata,
        raw.dist_info_metadata,
        raw.data_dist_info_metadata,
    ];
    entry.core_metadata = metadata
        .into_iter()
        .flatten()
        .next()
        .map_or(CoreMetadata::None, core_metadata);
    entry.provenance = text(raw.provenance).as_deref().and_then(entry::provenance);
    // There are no signatures here, so none is promised.
    entry.gpg_sig = value(raw.gpg_sig).filter(|is_there| !is_there);
    Ok(entry)
}

fn hashes(raw: Option<&RawValue>) -> Digests {
    /// Takes the pairs as they come; what is no text is passed over.
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Digests;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Digests, A::Error> {
            let mut digests = Digests::default();
            while let Some((algorithm, digits)) = map.next_entry::<Cow<'de, str>, &RawValue>()? {
                if let Some(digits) = text(Some(digits)) {
                    digests.insert(&algorithm, &digits);
                }
            }
            Ok(digests)
        }
    }
    let Some(raw) = raw else { return Digests::default() };
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    reader.deserialize_map(Pairs).unwrap_or_default()
}

fn yanked(raw: Option<&RawValue>) -> Yanked {
    match raw.map(RawValue::get) {
        None | Some("false" | "null" | "0") => Yanked::No,
        Some("true") => Yanked::Yes,
        // An empty reason counts as yanked; what is neither is the index's attempt at saying so.
        Some(_) => match text(raw).as_deref() {
            Some(word) if word.eq_ignore_ascii_case("false") => Yanked::No,
            Some(word) if word.eq_ignore_ascii_case("true") => Yanked::Yes,
            Some(reason) if !reason.is_empty() => Yanked::Because(reason.to_owned()),
            _ => Yanked::Yes,
        },
    }
}

fn core_metadata(raw: &RawValue) -> CoreMetadata {
    match raw.get() {
        "true" => CoreMetadata::Offered,
        text if text.starts_with('{') => {
            let sha256 = hashes(Some(raw)).get_sha256();
            sha256.map_or(CoreMetadata::Offered, CoreMetadata::Digest)
        }
        _ => CoreMetadata::None,
    }
}

/// The value, if it is there and of the right type.
fn value<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A text, borrowed where nothing in it is escaped.
fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let quoted = raw?.get();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))?;
    match inner.contains('\\') {
        true => serde_json::from_str::<String>(quoted).ok().map(Cow::Owned),
        false => Some(Cow::Borrowed(inner)),
    }
}

/// The version as text; some indexes send a number.
fn version(meta: &RawMeta<'_>) -> Option<String> {
    meta.api_version.map(|raw| raw.get().trim_matches('"').to_owned())
}

/// The document's text. It has to be an object: serde would take a list of the right length as well.
fn text_of(body: &[u8]) -> Result<&str, ReadPageError> {
    let text = std::str::from_utf8(body).map_err(|error| ReadPageError::Malformed(error.to_string()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().starts_with('{') {
        true => Ok(text),
        false => Err(ReadPageError::Malformed("it is no object".to_owned())),
    }
}

fn malformed(error: serde_json::Error) -> ReadPageError {
    ReadPageError::Malformed(error.to_string())
}
