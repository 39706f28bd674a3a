//! Asking the source behind for a page, once for all who want to know now, and what becomes of its answer: whether
//! it is believed, what of the held page stays, and where it is written to disk.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::entries::Stray;
use super::flight::Flight;
use super::held::{Correction, HeldPage, Replacement, changed, missing, offer_metadata, replacement};
use super::{FetchedPage, PageFlightResult, Shared};
use crate::AlarmKind;
use crate::model::{FileEntry, ProjectName, ProjectPage};
use crate::offload::offload;
use crate::source::{
    Answer, CacheMode, Cause, Freshness, IndexSource as _, PageReply, RequestContext, Sibling, SourceError,
};
use crate::store::RecordKind;

impl Shared {
    /// Asks the source behind, once for all who want to know now.
    pub(super) fn fetch(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        context: &RequestContext,
    ) -> Flight<PageFlightResult> {
        let begin = |sender: watch::Sender<PageFlightResult>| {
            let (shared, project) = (self.clone(), project.clone());
            let context = RequestContext {
                validators: held.as_ref().and_then(|held| held.validators.clone()),
                pinned_upstream: held.as_ref().and_then(|held| held.pinned_upstream(&self.name)),
                ..context.clone()
            };
            async move {
                let result = shared.revalidate(&project, held, &context).await;
                match &result {
                    Ok(_) | Err(SourceError::Denied { .. }) => shared.note_answer(),
                    Err(error) => {
                        tracing::warn!(%project, source = %shared.name, error = error.chain(), "a page could not be fetched");
                        shared.note_failure();
                    }
                }
                let changed = match &result {
                    Ok(
                        FetchedPage::New(held, _)
                        | FetchedPage::Confirmed(held)
                        | FetchedPage::NotFound(_, Some(held)),
                    ) => Some(held.clone()),
                    _ => None,
                };
                let pending_write = shared.store.pending_write();
                sender.send_replace(Some(result));
                if let Some(held) = changed {
                    // Not a part of the flight: who asks from now on must not be given what has just landed.
                    tokio::spawn(async move {
                        shared.persist(&project, held).await;
                        drop(pending_write);
                    });
                }
            }
        };
        self.page_flights.join(project, None, begin)
    }

    async fn revalidate(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        context: &RequestContext,
    ) -> Result<FetchedPage, SourceError> {
        if context.cache_mode != CacheMode::NoCache
            && let Some(fetched) = self.fetched_meanwhile(project, held.as_ref())
        {
            return Ok(fetched);
        }
        let answer = self.inner.page(project, context).await?;
        let fetched = self.accept(project, held, answer).await?;
        match &fetched {
            FetchedPage::New(held, _) | FetchedPage::Confirmed(held) | FetchedPage::Concurrent(held) => {
                self.remember(project, held);
                self.not_found.invalidate(project);
                self.unconfirmed_removals.invalidate(project);
            }
            FetchedPage::NotFound(_, Some(held)) => self.remember(project, held),
            FetchedPage::NotFound(_, None) => {}
        }
        Ok(fetched)
    }

    async fn accept(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        answer: Answer<PageReply>,
    ) -> Result<FetchedPage, SourceError> {
        let now = self.options.clock.now();
        let invalid = |what: &str| Err(self.page_failed(project, Cause::InvalidResponse(what.into())));
        match (answer, held) {
            (Answer::Found(reply), held) => match (replacement(held.as_deref(), &reply.page), held) {
                (Replacement::Unconfirmed, _) if !self.unconfirmed_removals.contains_key(project) => {
                    self.unconfirmed_removals.insert(project.clone(), ());
                    invalid("all files of the project vanished from its page")
                }
                (Replacement::KeepHeld, Some(held)) => {
                    let held = held.confirmed(reply.freshness, now, &self.options);
                    Ok(FetchedPage::Confirmed(Arc::new(held)))
                }
                (_, held) => {
                    let cache_status = reply.cache_status.clone();
                    let held = self.merged_with_held(held.as_deref(), reply).await;
                    Ok(FetchedPage::New(Arc::new(held), cache_status))
                }
            },
            (Answer::NotModified(freshness), Some(held)) => Ok(FetchedPage::Confirmed(Arc::new(
                held.confirmed(freshness, now, &self.options),
            ))),
            (Answer::NotModified(_), None) => invalid("it confirms a page that is not held"),
            (Answer::NotFound(sender), held) => {
                let freshness = Freshness {
                    lifetime: sender.lifetime.min(self.options.negative_lifetime),
                    ..sender
                };
                self.not_found.insert(project.clone(), (now, freshness));
                let held = held.map(|held| Arc::new(held.vanished(freshness, now, &self.options)));
                Ok(FetchedPage::NotFound(freshness, held))
            }
        }
    }

    /// A new page, with what stays of the held one.
    async fn merged_with_held(self: &Arc<Self>, held: Option<&HeldPage>, reply: PageReply) -> HeldPage {
        let mut page = offer_metadata(reply.page);
        let mut vanished = Vec::new();
        if let Some(held) = held {
            page = held.correct(page);
            page = self.with_known_bytes(held, page).await;
            vanished = self.only_held(missing(held, &page)).await;
            match *held.page == *page {
                // Equal pages stay one value, so that what was rendered of the held one stays good.
                true => page = held.page.clone(),
                false => self.forget_hot(held),
            }
        }
        let now = self.options.clock.now();
        let new = HeldPage::new(
            page,
            vanished,
            reply.validators,
            reply.freshness,
            now,
            &self.options,
        );
        match held {
            Some(held) => new.with_corrections_of(held),
            None => new,
        }
    }

    /// Puts what was found out about a file on the pages that list it, for everybody who asks from now on.
    pub(super) async fn correct(self: &Arc<Self>, correction: Correction) {
        for project in self.listing_projects(&correction.path).await {
            let Some(held) = self.held(&project).await else {
                continue;
            };
            if held.entry(&correction.path).is_none() {
                continue;
            }
            tracing::warn!(file = %correction.path, source = %self.name, size = correction.size, metadata = ?correction.core_metadata, "the index says something else of the file than what it is; its page is corrected");
            let corrected = Arc::new(held.corrected(correction.clone(), self.options.vanished));
            self.pages.insert(project.clone(), corrected.clone());
            self.persist(&project, corrected).await;
        }
    }

    /// A file name stands for the bytes that were held under it first. Other ones are reported, not taken.
    async fn with_known_bytes(self: &Arc<Self>, held: &HeldPage, page: Arc<ProjectPage>) -> Arc<ProjectPage> {
        let changed = changed(held, &page);
        if changed.is_empty() {
            return page;
        }
        let kept = self
            .only_held(changed.iter().map(|(_, known)| known.clone()).collect())
            .await;
        let kept: HashSet<_> = kept.iter().map(|file| file.filename.clone()).collect();
        let mut page = Arc::unwrap_or_clone(page);
        for (number, known) in changed {
            let is_kept = kept.contains(&known.filename);
            let detail = match is_kept {
                true => "the index lists other bytes under a file name that was known; the held ones stay",
                false => {
                    "the index lists other bytes under a file name that was known; none were held, the new ones are taken"
                }
            };
            self.options
                .alarms
                .raise(AlarmKind::OtherBytes, &self.name, &known.path, detail);
            if let Some(file) = page.files.get_mut(number).filter(|_| is_kept) {
                *file = known;
            }
        }
        Arc::new(page)
    }

    /// Those of the files that the store has.
    pub(super) async fn only_held(self: &Arc<Self>, files: Vec<FileEntry>) -> Vec<FileEntry> {
        if files.is_empty() {
            return files;
        }
        let shared = self.clone();
        let look = move || {
            let is_held = |file: &FileEntry| shared.has_file(file, Sibling::File);
            Ok(files.into_iter().filter(is_held).collect())
        };
        offload(look).await.unwrap_or_default()
    }

    /// What another flight brought after this client had looked and before it began its own.
    fn fetched_meanwhile(
        &self,
        project: &ProjectName,
        looked_at: Option<&Arc<HeldPage>>,
    ) -> Option<FetchedPage> {
        let now = self.options.clock.now();
        let known = self
            .pages
            .get(project)
            .filter(|known| looked_at.is_none_or(|held| !Arc::ptr_eq(held, known)));
        match known.filter(|known| !known.gone && known.freshness(now).is_fresh()) {
            Some(known) => Some(FetchedPage::Concurrent(known)),
            None if looked_at.is_none() => self
                .known_not_found(project)
                .map(|freshness| FetchedPage::NotFound(freshness, None)),
            None => None,
        }
    }

    pub(super) fn remember(&self, project: &ProjectName, held: &Arc<HeldPage>) {
        for file in held
            .page
            .files
            .iter()
            .filter(|file| !file.filename.is_of(project))
        {
            let stray = || Stray::new(project.clone());
            self.strays.entry_by_ref(&file.path).or_insert_with(stray);
        }
        self.pages.insert(project.clone(), held.clone());
    }

    async fn persist(self: &Arc<Self>, project: &ProjectName, held: Arc<HeldPage>) {
        // The semaphore is never closed; without a permit there would merely be one more writer.
        let _permit = self.writers.acquire().await.ok();
        let (shared, key) = (self.clone(), project.clone());
        // What is newest in memory, so that a late writer never puts an old page back.
        let held = self.pages.get(project).unwrap_or(held);
        let write = move || {
            shared.keep_strays(&key, &held.page)?;
            shared
                .store
                .write_record(RecordKind::Page, &shared.name, key.as_str(), &*held)
        };
        if let Err(error) = offload(write).await {
            tracing::warn!(%project, store = %self.store, %error, "a page was served but cannot be kept");
        }
    }
}
