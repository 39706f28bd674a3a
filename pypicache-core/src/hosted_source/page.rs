//! From a record to the project's page, once for each revision of the record.

use std::io;
use std::str::FromStr as _;
use std::sync::Arc;

use moka::sync::Cache;
use pep440_rs::Version;

use super::disk::Stamp;
use super::record::{HostedFile, ProjectRecord, State};
use super::{Shared, tag};
use crate::model::{CoreMetadata, Digests, FileEntry, FilePath, ProjectName, ProjectPage};
use crate::source::Validators;

/// How many files the pages in memory list together.
const FILES_IN_MEMORY: u64 = 250_000;

/// A page with what proves that it is the newest.
type Known = (Arc<ProjectPage>, Validators);

/// The pages that were asked for, each with the stamp of the record that it was made of.
pub(super) struct Pages(Cache<ProjectName, (Stamp, Known)>);

impl Pages {
    pub(super) fn new() -> Self {
        let weigh = |_: &ProjectName, (_, (page, _)): &(Stamp, Known)| {
            u32::try_from(page.files.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1)
        };
        Self(
            Cache::builder()
                .max_capacity(FILES_IN_MEMORY)
                .weigher(weigh)
                .build(),
        )
    }

    pub(super) fn get(&self, project: &ProjectName, stamp: Stamp) -> Option<Known> {
        self.0
            .get(project)
            .filter(|(of, _)| *of == stamp)
            .map(|(_, known)| known)
    }

    /// For whoever has just replaced the record: an inode may be used again.
    pub(super) fn forget(&self, project: &ProjectName) {
        self.0.invalidate(project);
    }
}

impl Shared {
    /// Reads a project's record and makes its page. Blocks.
    pub(super) fn read_page(&self, project: &ProjectName) -> io::Result<Option<Known>> {
        // The stamp before the bytes: if they are replaced in between, the next request reads again.
        let (Some(stamp), Some(bytes)) = (self.disk.stamp(project)?, self.disk.read_bytes(project)?) else {
            return Ok(None);
        };
        let page = Arc::new(self.page_of(project, &self.disk.parse(project, &bytes)?));
        let validators = Validators {
            upstream: self.name.clone(),
            etag: Some(tag(&bytes)),
            last_modified: None,
        };
        self.pages
            .0
            .insert(project.clone(), (stamp, (page.clone(), validators.clone())));
        Ok(Some((page, validators)))
    }

    /// A project of which nothing is left has a page all the same: the name stays ours.
    fn page_of(&self, project: &ProjectName, record: &ProjectRecord) -> ProjectPage {
        let mut offered: Vec<_> = record
            .files
            .iter()
            .filter(|file| file.state == State::Offered)
            .collect();
        // By version, then by name, as PyPI does.
        offered.sort_by_cached_key(|file| (Version::from_str(&file.version).ok(), file.filename.clone()));
        let mut page = ProjectPage::new(project.clone());
        page.status = record.status.clone();
        let mut versions: Vec<String> = offered.iter().map(|file| file.version.clone()).collect();
        versions.dedup();
        page.versions = Some(versions);
        page.files = offered
            .into_iter()
            .filter_map(|file| self.entry(project, file))
            .collect();
        page
    }

    fn entry(&self, project: &ProjectName, file: &HostedFile) -> Option<FileEntry> {
        let path = FilePath::new(&format!("{}/{project}/{}", self.name, file.filename)).ok()?;
        let mut entry = FileEntry::new(path);
        entry.hashes = Digests::sha256(file.sha256);
        entry.size = Some(file.size);
        entry.upload_time = Some(file.upload_time.as_str().into());
        entry.requires_python = file.requires_python.as_deref().map(Into::into);
        entry.yanked = file.yanked.clone();
        entry.core_metadata = file.metadata.map_or(CoreMetadata::None, CoreMetadata::Digest);
        entry.provenance = self.provenance_link(project, file).map(Into::into);
        Some(entry)
    }

    /// Where the attestations are served (the shape of the path is PyPI's).
    fn provenance_link(&self, project: &ProjectName, file: &HostedFile) -> Option<String> {
        let base = self
            .options
            .external_url
            .as_ref()
            .filter(|_| file.has_provenance)?;
        let path = format!(
            "integrity/{project}/{}/{}/provenance",
            file.version, file.filename
        );
        base.join(&path).ok().map(Into::into)
    }
}
