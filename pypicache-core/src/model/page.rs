//! A project's page (PEP 691 "project detail") with every field that PEP 503, 592, 658, 700, 714, 740 and 792 define.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Digests, FileName, FilePath, ProjectName, Sha256};

/// All that an index says of one project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectPage {
    /// The project, in normal form ("name: The normalized name of the project", PEP 691).
    pub name: ProjectName,
    /// The files, in the order of the origin; no file name twice.
    pub files: Vec<FileEntry>,
    /// "All of the project versions uploaded for this project" (PEP 700), as the origin spells them; `None`
    /// where the origin did not say.
    pub versions: Option<Vec<String>>,
    /// The project's status (PEP 792).
    pub status: ProjectStatus,
    /// PyPI's serial of the last change (`X-PyPI-Last-Serial`), where the origin has one.
    pub last_serial: Option<u64>,
    /// Entries of the origin's page that could not be taken.
    #[serde(default, skip_serializing_if = "LeftOut::is_empty")]
    pub left_out: LeftOut,
}

/// What a page lists and nobody can be given: counted, with the first few by name, for whoever looks for one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// How many entries.
    pub count: usize,
    /// The first of them: the file's name as the page has it (or the beginning of what stands there), and why.
    pub examples: Vec<(String, String)>,
}

impl LeftOut {
    /// How many are kept by name.
    const EXAMPLES: usize = 10;

    /// How much of a name is kept, in characters.
    const NAME: usize = 100;

    /// Notes one entry.
    pub fn note(&mut self, name: &str, reason: &str) {
        self.count += 1;
        if self.examples.len() < Self::EXAMPLES {
            let plain = name.chars().filter(|c| !c.is_control());
            self.examples
                .push((plain.take(Self::NAME).collect(), reason.to_owned()));
        }
    }

    /// Whether all entries were taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries", self.count)?;
        for (number, (name, reason)) in self.examples.iter().enumerate() {
            write!(f, "{} {name:?}: {reason}", if number == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// "status: active, archived, quarantined or deprecated" (PEP 792); values unknown to us pass through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectStatus {
    /// The marker in lower case; `active` is what its absence means.
    pub marker: String,
    /// Why, in the words of the index.
    pub reason: Option<String>,
}

/// One file on a project's page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// "filename: The filename that is being represented" (PEP 691).
    pub filename: FileName,
    /// The file's identity, the same at every tier; what our own links are made of.
    pub path: FilePath,
    /// Where the source that gave this page would fetch the file from; `None` for a source that holds it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// Digests "mapping a hash name to a hex encoded digest of the file" (PEP 691).
    pub hashes: Digests,
    /// "the file size in bytes" (PEP 700).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// "upload-time: ISO 8601 date/time string" (PEP 700), as the origin spells it, checked to be RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_time: Option<Box<str>>,
    /// The Requires-Python specifier (PEP 503), as the origin spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<Box<str>>,
    /// Whether and why the file was yanked (PEP 592).
    pub yanked: Yanked,
    /// Whether the METADATA file is offered as a sibling (PEP 658, 714).
    pub core_metadata: CoreMetadata,
    /// URL of the file's attestations (PEP 740), always absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Box<str>>,
    /// Whether a detached signature exists (PEP 503 `data-gpg-sig`), where the origin says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpg_sig: Option<bool>,
}

/// Where an upstream keeps a file. Belongs to the upstream that said so, not to the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The upstream whose page this is from (its index URL without credentials): only that one may follow it.
    pub upstream: Arc<str>,
    /// An absolute http or https URL as [`url::Url`] writes it, without credentials and fragment; may carry a query that has
    /// no part in the file's identity. Text, since of the thousands on a page hardly one is ever followed.
    pub url: Box<str>,
}

/// PEP 592: a yanked file is to be ignored unless it is pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Yanked {
    /// Offered normally.
    #[default]
    No,
    /// Yanked without a word.
    Yes,
    /// Yanked, with a reason that is not empty.
    Because(String),
}

/// PEP 658 and 714: what is known of the file's METADATA sibling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CoreMetadata {
    /// Not offered.
    #[default]
    None,
    /// Offered, digest unknown.
    Offered,
    /// Offered, with the digest of its bytes.
    Digest(Sha256),
    /// Not offered by the origin: this tier takes it out of the wheel when it is asked for.
    Derived,
}

impl Default for ProjectStatus {
    fn default() -> Self {
        Self {
            marker: "active".to_owned(),
            reason: None,
        }
    }
}

impl Yanked {
    /// Whether the file is yanked at all.
    #[must_use]
    pub fn is_yanked(&self) -> bool {
        *self != Self::No
    }
}

impl ProjectPage {
    /// A page without files, to be filled.
    #[must_use]
    pub fn new(name: ProjectName) -> Self {
        Self {
            name,
            files: Vec::new(),
            versions: None,
            status: ProjectStatus::default(),
            last_serial: None,
            left_out: LeftOut::default(),
        }
    }

    /// The entry of the file with this identity.
    #[must_use]
    pub fn file(&self, path: &FilePath) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path == *path)
    }
}

impl FileEntry {
    /// An entry of which nothing but its identity is known yet.
    #[must_use]
    pub fn new(path: FilePath) -> Self {
        Self {
            filename: path.file_name(),
            path,
            link: None,
            hashes: Digests::default(),
            size: None,
            upload_time: None,
            requires_python: None,
            yanked: Yanked::No,
            core_metadata: CoreMetadata::None,
            provenance: None,
            gpg_sig: None,
        }
    }
}
