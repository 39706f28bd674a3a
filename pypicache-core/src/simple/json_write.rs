//! Writing JSON pages (PEP 691, 700, 714, 740, 792) as every installer accepts them.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::{api_version, is_mixed, offered};
use crate::model::{
    CoreMetadata, Digests, FileEntry, FilePath, ListedProject, ProjectList, ProjectPage, Yanked,
};

/// What one file takes on most pages, in bytes.
const BYTES_PER_FILE: usize = 700;

/// What one project takes in most lists, in bytes.
const BYTES_PER_PROJECT: usize = 28;

/// No `null` anywhere: uv rejects a whole page for one.
#[derive(Serialize)]
struct Page<'a> {
    meta: Meta<'a>,
    name: &'a str,
    #[serde(rename = "project-status")]
    status: Status<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<&'a [String]>,
    files: Files<'a>,
}

/// Written one by one as they are asked for.
struct Files<'a> {
    files: &'a [FileEntry],
    href: &'a dyn Fn(&FilePath) -> String,
    is_mixed: bool,
}

#[derive(Serialize)]
struct Meta<'a> {
    #[serde(rename = "api-version")]
    api_version: &'a str,
    #[serde(rename = "_last-serial", skip_serializing_if = "Option::is_none")]
    last_serial: Option<u64>,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct File<'a> {
    filename: &'a str,
    url: String,
    hashes: &'a Digests,
    #[serde(rename = "requires-python", skip_serializing_if = "Option::is_none")]
    requires_python: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "upload-time", skip_serializing_if = "Option::is_none")]
    upload_time: Option<&'a str>,
    yanked: Word<'a>,
    /// The only name of it in JSON (PEP 714): pip 22.3 to 23.1 fail on every page with the old `dist-info-metadata`.
    #[serde(rename = "core-metadata")]
    core_metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<&'a str>,
    #[serde(rename = "gpg-sig", skip_serializing_if = "Option::is_none")]
    gpg_sig: Option<bool>,
    /// Whose file it is, on a page with files of several sources. A key of our own (PEP 691 leaves those with an underscore
    /// to servers).
    #[serde(rename = "_source", skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
}

/// `false`, `true`, or a reason.
struct Word<'a>(&'a Yanked);

/// `false`, `true`, or a digest.
#[derive(Clone, Copy)]
struct Metadata(CoreMetadata);

pub(super) fn page(page: &ProjectPage, href: &dyn Fn(&FilePath) -> String) -> Vec<u8> {
    let document = Page {
        meta: Meta {
            api_version: api_version(page),
            last_serial: page.last_serial,
        },
        name: page.name.as_str(),
        status: Status {
            status: &page.status.marker,
            reason: page.status.reason.as_deref(),
        },
        versions: page.versions.as_deref(),
        files: Files {
            files: offered(page),
            href,
            is_mixed: is_mixed(page),
        },
    };
    to_bytes(&document, page.files.len() * BYTES_PER_FILE)
}

pub(super) fn list(list: &ProjectList) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        meta: Meta<'a>,
        projects: &'a [ListedProject],
    }
    let document = List {
        meta: Meta {
            api_version: "1.4",
            last_serial: list.last_serial,
        },
        projects: list.projects(),
    };
    to_bytes(&document, list.projects().len() * BYTES_PER_PROJECT)
}

fn file_of<'a>(file: &'a FileEntry, href: &dyn Fn(&FilePath) -> String, is_mixed: bool) -> File<'a> {
    File {
        filename: file.filename.as_str(),
        url: href(&file.path),
        hashes: &file.hashes,
        requires_python: file.requires_python.as_deref(),
        size: file.size,
        upload_time: file.upload_time.as_deref(),
        yanked: Word(&file.yanked),
        core_metadata: Metadata(file.core_metadata),
        provenance: file.provenance.as_deref(),
        gpg_sig: file.gpg_sig,
        source: is_mixed.then(|| file.path.source()),
    }
}

#[expect(
    clippy::expect_used,
    reason = "the documents are structs and lists with string keys"
)]
fn to_bytes(document: &impl Serialize, likely_size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(likely_size + 1024);
    serde_json::to_writer(&mut bytes, document)
        .expect("serialising to memory fails for no struct with string keys");
    bytes
}

impl Serialize for Files<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.files
                .iter()
                .map(|file| file_of(file, self.href, self.is_mixed)),
        )
    }
}

impl Serialize for Word<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Yanked::No => serializer.serialize_bool(false),
            Yanked::Yes => serializer.serialize_bool(true),
            Yanked::Because(reason) => serializer.serialize_str(reason),
        }
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            CoreMetadata::None => serializer.serialize_bool(false),
            CoreMetadata::Offered | CoreMetadata::Derived => serializer.serialize_bool(true),
            CoreMetadata::Digest(sha256) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("sha256", &sha256)?;
                map.end()
            }
        }
    }
}
