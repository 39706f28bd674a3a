//! Which file is meant, and what is known of it: its entry on a page, the digest of its bytes, and whether the store
//! has them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Shared;
use super::held::{Correction, HeldPage, pinned_upstream_of};
use crate::model::{
    Checksum, CoreMetadata, Digests, FileEntry, FilePath, ProjectName, ProjectPage, Sha256, Sha256Hasher,
};
use crate::offload::offload;
use crate::source::{
    Answer, FileRequest, Freshness, HeldFile, LocalFile, Outcome, READ_CHUNK, RequestContext, Sibling,
    SourceError,
};
use crate::store::RecordKind;

/// How many strays of one page are kept on disk.
const MAX_STRAYS: usize = 1_000;

/// A file that a page lists although its name speaks of another project, or of none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stray {
    /// The project whose page lists it.
    project: ProjectName,
    /// No page of a project that its name speaks of listed it, when these were asked.
    is_confirmed: bool,
}

/// Whether pages list a file.
enum Listed {
    /// The page of this project does.
    On(ProjectName, Arc<FileEntry>),
    /// There are pages, and none does.
    NotOn(Freshness),
    /// There is no such page.
    NoPage(Freshness),
}

impl Stray {
    pub(super) fn new(project: ProjectName) -> Self {
        Self {
            project,
            is_confirmed: false,
        }
    }
}

impl Shared {
    /// The page's entry for the file.
    ///
    /// The projects that the file's name speaks of decide. Only where none of their pages lists the file, the page of
    /// another project may (a stray): else anybody's page could say what is behind the path of somebody else's file.
    /// Nothing is absent before all pages that count were looked at.
    pub(super) async fn entry_of(
        self: &Arc<Self>,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<Arc<FileEntry>>, SourceError> {
        if let Some(entry) = &request.entry {
            return Ok(Answer::Found(entry.clone()));
        }
        let path = &request.path;
        let owners = owners_of(path);
        for project in &owners {
            if let Some(entry) = self.held_entry(project, path).await {
                return Ok(Answer::Found(entry));
            }
        }
        let stray = self.stray(path).await;
        if let Some(stray) = &stray
            && (stray.is_confirmed || owners.is_empty())
            && let Some(entry) = self.held_entry(&stray.project, path).await
        {
            return Ok(Answer::Found(entry));
        }
        let absent = match self.listed(&owners, path, context).await? {
            Listed::On(_, entry) => return Ok(Answer::Found(entry)),
            Listed::NotOn(freshness) if stray.is_none() => return Ok(Answer::NotFound(freshness)),
            Listed::NotOn(freshness) | Listed::NoPage(freshness) => freshness,
        };
        let others = match &stray {
            Some(stray) => vec![stray.project.clone()],
            None => path.file_name().other_owners(),
        };
        match self.listed(&others, path, context).await? {
            Listed::On(project, entry) => {
                self.confirm_stray(path, project).await;
                Ok(Answer::Found(entry))
            }
            Listed::NotOn(freshness) | Listed::NoPage(freshness) if owners.is_empty() => {
                Ok(Answer::NotFound(freshness))
            }
            Listed::NotOn(_) | Listed::NoPage(_) => Ok(Answer::NotFound(absent)),
        }
    }

    async fn held_entry(self: &Arc<Self>, project: &ProjectName, path: &FilePath) -> Option<Arc<FileEntry>> {
        let held = self.held(project).await?;
        held.entry(path).cloned().map(Arc::new)
    }

    /// The first of the projects whose page lists the file: by what is held of all of them, then by their pages as
    /// they are now.
    async fn listed(
        self: &Arc<Self>,
        projects: &[ProjectName],
        path: &FilePath,
        context: &RequestContext,
    ) -> Result<Listed, SourceError> {
        for project in projects {
            if let Some(entry) = self.held_entry(project, path).await {
                return Ok(Listed::On(project.clone(), entry));
            }
        }
        let mut listed = Listed::NoPage(Freshness::default());
        for project in projects {
            match self.page(project, &context.without_validators()).await? {
                Answer::Found(reply) => {
                    if let Some(entry) = entry_on(&reply.page, path) {
                        return Ok(Listed::On(project.clone(), entry));
                    }
                    let last = reply.cache_status.hops.last();
                    if last.is_some_and(|hop| hop.outcome == Outcome::Stale) {
                        return Err(SourceError::not_held(format_args!(
                            "a page of {project} that is young enough to know {path}"
                        )));
                    }
                    listed = Listed::NotOn(reply.freshness);
                }
                Answer::NotModified(_) => {}
                Answer::NotFound(freshness) => {
                    if let Listed::NoPage(shown) = &mut listed {
                        *shown = freshness;
                    }
                }
            }
        }
        Ok(listed)
    }

    /// The project whose page was seen to list the file, from memory or disk.
    async fn stray(self: &Arc<Self>, path: &FilePath) -> Option<Stray> {
        if let Some(stray) = self.strays.get(path) {
            return Some(stray);
        }
        let (shared, key) = (self.clone(), path.clone());
        let read = move || {
            Ok(shared
                .store
                .read_record::<Stray>(RecordKind::Stray, &shared.name, key.as_str()))
        };
        let stray = offload(read).await.ok()??;
        self.strays.insert(path.clone(), stray.clone());
        Some(stray)
    }

    /// The request with the project whose page lists the file, where its name does not tell.
    pub(super) fn with_listing(&self, request: FileRequest) -> FileRequest {
        FileRequest {
            listed_by: self.strays.get(&request.path).map(|stray| stray.project),
            ..request
        }
    }

    /// From now on the page counts for this file also while the projects of its name cannot be asked.
    async fn confirm_stray(self: &Arc<Self>, path: &FilePath, project: ProjectName) {
        let stray = Stray {
            project,
            is_confirmed: true,
        };
        self.strays.insert(path.clone(), stray.clone());
        let (shared, key) = (self.clone(), path.clone());
        let write = move || {
            shared
                .store
                .write_record(RecordKind::Stray, &shared.name, key.as_str(), &stray)
        };
        if let Err(error) = offload(write).await {
            tracing::warn!(file = %path, store = %self.store, %error, "the page that lists a file cannot be noted");
        }
    }

    /// Notes on disk whose page lists files of other names, so that they are found after a restart. Blocks.
    pub(super) fn keep_strays(&self, project: &ProjectName, page: &ProjectPage) -> std::io::Result<()> {
        let is_stray = |file: &&FileEntry| !file.filename.is_of(project);
        for file in page.files.iter().filter(is_stray).take(MAX_STRAYS) {
            let key = file.path.as_str();
            let known: Option<Stray> = self.store.read_record(RecordKind::Stray, &self.name, key);
            if known.is_none() {
                let stray = Stray::new(project.clone());
                self.store
                    .write_record(RecordKind::Stray, &self.name, key, &stray)?;
            }
        }
        Ok(())
    }

    /// The projects whose pages may list the file.
    pub(super) async fn listing_projects(self: &Arc<Self>, path: &FilePath) -> Vec<ProjectName> {
        let mut projects = owners_of(path);
        projects.extend(self.stray(path).await.map(|stray| stray.project));
        projects
    }

    /// The complete file or sibling, where the store has it.
    pub(super) async fn held_file(self: &Arc<Self>, entry: &FileEntry, sibling: Sibling) -> Option<HeldFile> {
        let (shared, wanted) = (self.clone(), entry.clone());
        let read = move || match shared.known_digest(&wanted, sibling) {
            Some(sha256) => shared.blob(&wanted, sibling, sha256),
            None => Ok(None),
        };
        let held = offload(read).await.ok()??;
        if sibling == Sibling::File && entry.size.is_some_and(|size| size != held.size) {
            self.correct(Correction::of_size(entry, held.size)).await;
        }
        Some(held)
    }

    /// Whether the store has it. Blocks.
    pub(super) fn has_file(&self, entry: &FileEntry, sibling: Sibling) -> bool {
        let sha256 = self.known_digest(entry, sibling);
        sha256.is_some_and(|sha256| self.store.has_blob(sha256))
    }

    /// Whether the store has anything of the page. Blocks.
    pub(super) fn has_any_file(&self, held: &HeldPage) -> bool {
        let mut files = held.page.files.iter();
        files.any(|file| self.has_file(file, Sibling::File))
    }

    /// The digest that the page tells, else the one of the bytes that came first. Blocks.
    fn known_digest(&self, entry: &FileEntry, sibling: Sibling) -> Option<Sha256> {
        let noted = || {
            let key = digest_key(&entry.path, sibling);
            self.store.read_record(RecordKind::Digest, &self.name, &key)
        };
        listed_digest(entry, sibling).or_else(noted)
    }

    /// A blob of another length than the page says is damaged, or the page is wrong: its digest decides. What is
    /// damaged goes, and is fetched again.
    fn blob(&self, entry: &FileEntry, sibling: Sibling, sha256: Sha256) -> std::io::Result<Option<HeldFile>> {
        let held = self.store.blob(sha256).inspect_err(|error| {
            tracing::warn!(file = %entry.path, store = %self.store, %error, "a held file cannot be read and counts as not held");
        })?;
        let listed = entry.size.filter(|_| sibling == Sibling::File);
        match held {
            Some(held) if listed.is_some_and(|size| size != held.size) && !is_intact(&held)? => {
                tracing::error!(file = %entry.path, store = %self.store, size = held.size, "a held file is damaged and is removed");
                self.store.remove_blob(sha256)?;
                Ok(None)
            }
            held => Ok(held),
        }
    }

    /// Notes the digest of something whose page does not tell it. Other bytes under the same name are
    /// noticed by it later.
    pub(super) async fn note_digest(self: &Arc<Self>, path: &FilePath, sibling: Sibling, sha256: Sha256) {
        let (shared, key) = (self.clone(), digest_key(path, sibling));
        let write = move || {
            shared
                .store
                .write_record(RecordKind::Digest, &shared.name, &key, &sha256)
        };
        if let Err(error) = offload(write).await {
            tracing::warn!(file = %path, store = %self.store, %error, "a digest cannot be noted");
        }
    }

    /// What the bytes have to fit: what the page tells, and where it tells nothing, what came first.
    pub(super) async fn digests_of(self: &Arc<Self>, entry: &Arc<FileEntry>) -> Digests {
        if Checksum::new(&entry.hashes).is_decisive() {
            return entry.hashes.clone();
        }
        let (shared, entry) = (self.clone(), entry.clone());
        let noted = offload(move || Ok(shared.known_digest(&entry, Sibling::File))).await;
        noted.ok().flatten().map(Digests::sha256).unwrap_or_default()
    }

    /// The request's company on its way to the source behind: files of another upstream's own source are no
    /// business of this upstream's equals.
    pub(super) fn ask_for(&self, entry: &FileEntry, context: &RequestContext) -> RequestContext {
        RequestContext {
            pinned_upstream: pinned_upstream_of(entry, &self.name),
            ..context.without_validators()
        }
    }
}

fn owners_of(path: &FilePath) -> Vec<ProjectName> {
    let owners = path.file_name().owners();
    owners.into_iter().map(|(project, _)| project).collect()
}

/// Whether the bytes have the digest that they are held under. Blocks.
fn is_intact(held: &HeldFile) -> std::io::Result<bool> {
    let whole = LocalFile {
        file: held.file.clone(),
        offset: 0,
        length: held.size,
    };
    let (mut hasher, mut position) = (Sha256Hasher::default(), 0);
    while position < held.size {
        let piece = whole.read_at(position, READ_CHUNK)?;
        hasher.update(&piece);
        position += piece.len() as u64;
    }
    Ok(hasher.finish() == held.sha256)
}

fn entry_on(page: &ProjectPage, path: &FilePath) -> Option<Arc<FileEntry>> {
    page.file(path).cloned().map(Arc::new)
}

/// The digest that the page tells.
fn listed_digest(entry: &FileEntry, sibling: Sibling) -> Option<Sha256> {
    match (sibling, entry.core_metadata) {
        (Sibling::File, _) => entry.hashes.get_sha256(),
        (Sibling::Metadata, CoreMetadata::Digest(sha256)) => Some(sha256),
        (Sibling::Metadata, _) => None,
    }
}

fn digest_key(path: &FilePath, sibling: Sibling) -> String {
    format!("{path}{}", sibling.suffix())
}
