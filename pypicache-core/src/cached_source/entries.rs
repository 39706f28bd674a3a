//! Which file is meant, and what is known of it: its entry on a page, the digest of its bytes, and whether the store
//! has them.

use std::sync::Arc;

use super::Shared;
use super::held::{HeldPage, pinned_upstream_of};
use crate::model::{Checksum, CoreMetadata, Digests, FileEntry, FilePath, ProjectName, ProjectPage, Sha256};
use crate::offload::offload;
use crate::source::{
    Answer, FileRequest, Freshness, HeldFile, Outcome, RequestContext, Sibling, SourceError,
};
use crate::store::RecordKind;

impl Shared {
    /// The page's entry for the file. The project is read from the file's name; nothing is absent before a
    /// page that counts has been looked at.
    pub(super) async fn entry_of(
        self: &Arc<Self>,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<Arc<FileEntry>>, SourceError> {
        if let Some(entry) = &request.entry {
            return Ok(Answer::Found(entry.clone()));
        }
        let owners: Vec<ProjectName> = match self.strays.get(&request.path) {
            Some(project) => vec![project],
            None => request
                .path
                .file_name()
                .owners()
                .into_iter()
                .map(|(project, _)| project)
                .collect(),
        };
        for project in &owners {
            let held = self.held(project).await;
            if let Some(entry) = held.and_then(|held| held.entry(&request.path).cloned()) {
                return Ok(Answer::Found(Arc::new(entry)));
            }
        }
        let mut absent = Freshness::default();
        for project in &owners {
            match self.page(project, &context.without_validators()).await? {
                Answer::Found(reply) => {
                    if let Some(entry) = entry_on(&reply.page, &request.path) {
                        return Ok(Answer::Found(entry));
                    }
                    if reply
                        .cache_status
                        .hops
                        .last()
                        .is_some_and(|step| step.outcome == Outcome::Stale)
                    {
                        return Err(SourceError::not_held(format_args!(
                            "a page of {project} that is young enough to know {}",
                            request.path
                        )));
                    }
                }
                Answer::NotModified(_) => {}
                Answer::NotFound(freshness) => absent = freshness,
            }
        }
        Ok(Answer::NotFound(absent))
    }

    /// The complete file or sibling, where the store has it.
    pub(super) async fn held_file(self: &Arc<Self>, entry: &FileEntry, sibling: Sibling) -> Option<HeldFile> {
        let (shared, entry) = (self.clone(), entry.clone());
        let read = move || match shared.known_digest(&entry, sibling) {
            Some(sha256) => shared.blob(&entry, sibling, sha256),
            None => Ok(None),
        };
        offload(read).await.ok()?
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

    /// A blob that is shorter or longer than the file is damaged: it goes, and is fetched again.
    fn blob(&self, entry: &FileEntry, sibling: Sibling, sha256: Sha256) -> std::io::Result<Option<HeldFile>> {
        let held = self.store.blob(sha256).inspect_err(|error| {
            tracing::warn!(file = %entry.path, store = %self.store, %error, "a held file cannot be read and counts as not held");
        })?;
        let listed = entry.size.filter(|_| sibling == Sibling::File);
        match held {
            Some(held) if listed.is_some_and(|size| size != held.size) => {
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
