//! Asking the source behind for a page, once for all who want to know now, and what becomes of its answer: whether
//! it is believed, what of the held page stays, and where it is written down.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::blocking::blocking;
use super::flight::Flight;
use super::held::{HeldPage, Verdict, changed, judge, missing, offer_metadata};
use super::{Landed, PageLanding, Shared};
use crate::AlarmKind;
use crate::model::{FileEntry, ProjectName, ProjectPage};
use crate::source::{
    Answer, Ask, Cause, Freshness, IndexSource as _, PageReply, Reach, Sibling, SourceError,
};
use crate::store::RecordKind;

impl Shared {
    /// Asks the source behind, once for all who want to know now.
    pub(super) fn fetch(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        ask: &Ask,
    ) -> Flight<PageLanding> {
        let begin = |told: watch::Sender<PageLanding>| {
            let (shared, project) = (self.clone(), project.clone());
            let ask = Ask {
                validators: held.as_ref().and_then(|held| held.validators.clone()),
                leg: held.as_ref().and_then(|held| held.leg(&self.name)),
                ..ask.clone()
            };
            async move {
                let landing = shared.ask_behind(&project, held, &ask).await;
                match &landing {
                    Ok(_) | Err(SourceError::Denied { .. }) => shared.note_answer(),
                    Err(error) => {
                        tracing::warn!(%project, source = %shared.name, error = error.chain(), "a page could not be fetched");
                        shared.note_failure();
                    }
                }
                let changed = match &landing {
                    Ok(Landed::New(held, _) | Landed::Confirmed(held) | Landed::Absent(_, Some(held))) => {
                        Some(held.clone())
                    }
                    _ => None,
                };
                let writing = shared.store.writing();
                told.send_replace(Some(landing));
                if let Some(held) = changed {
                    // Not a part of the flight: who asks from now on must not be given what has just landed.
                    tokio::spawn(async move {
                        shared.persist(&project, held).await;
                        drop(writing);
                    });
                }
            }
        };
        self.page_flights.join(project, None, begin)
    }

    async fn ask_behind(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        ask: &Ask,
    ) -> Result<Landed, SourceError> {
        if ask.reach != Reach::Revalidate
            && let Some(landed) = self.landed_meanwhile(project, held.as_ref())
        {
            return Ok(landed);
        }
        let answer = self.inner.page(project, ask).await?;
        let landed = self.understood(project, held, answer).await?;
        match &landed {
            Landed::New(held, _) | Landed::Confirmed(held) | Landed::Known(held) => {
                self.remember(project, held);
                self.absent.invalidate(project);
                self.doubted.invalidate(project);
            }
            Landed::Absent(_, Some(held)) => self.remember(project, held),
            Landed::Absent(_, None) => {}
        }
        Ok(landed)
    }

    async fn understood(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        answer: Answer<PageReply>,
    ) -> Result<Landed, SourceError> {
        let now = self.options.clock.now();
        let nonsense = |what: &str| Err(self.page_failed(project, Cause::Nonsense(what.into())));
        match (answer, held) {
            (Answer::Found(reply), held) => match (judge(held.as_deref(), &reply.page), held) {
                (Verdict::Doubt, _) if !self.doubted.contains_key(project) => {
                    self.doubted.insert(project.clone(), ());
                    nonsense("all files of the project vanished from its page")
                }
                (Verdict::KeepHeld, Some(held)) => {
                    let held = held.confirmed(reply.freshness, now, &self.options);
                    Ok(Landed::Confirmed(Arc::new(held)))
                }
                (_, held) => {
                    let trail = reply.trail.clone();
                    let held = self.taken(held.as_deref(), reply).await;
                    Ok(Landed::New(Arc::new(held), trail))
                }
            },
            (Answer::Unchanged(freshness), Some(held)) => Ok(Landed::Confirmed(Arc::new(held.confirmed(
                freshness,
                now,
                &self.options,
            )))),
            (Answer::Unchanged(_), None) => nonsense("it confirms a page that is not held"),
            (Answer::Absent(told), held) => {
                let freshness = Freshness {
                    lifetime: told.lifetime.min(self.options.negative_lifetime),
                    ..told
                };
                self.absent.insert(project.clone(), (now, freshness));
                let held = held.map(|held| Arc::new(held.vanished(freshness, now, &self.options)));
                Ok(Landed::Absent(freshness, held))
            }
        }
    }

    /// A new page, with what stays of the held one.
    async fn taken(self: &Arc<Self>, held: Option<&HeldPage>, reply: PageReply) -> HeldPage {
        let mut page = offer_metadata(reply.page);
        let mut vanished = Vec::new();
        if let Some(held) = held {
            page = self.with_known_bytes(held, page).await;
            vanished = self.only_held(missing(held, &page)).await;
            match *held.page == *page {
                // Equal pages stay one value, so that what was rendered of the held one stays good.
                true => page = held.page.clone(),
                false => self.cool(held),
            }
        }
        let now = self.options.clock.now();
        HeldPage::new(
            page,
            vanished,
            reply.validators,
            reply.freshness,
            now,
            &self.options,
        )
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
        blocking(look).await.unwrap_or_default()
    }

    /// What another flight brought after this asker had looked and before it began its own.
    fn landed_meanwhile(&self, project: &ProjectName, looked_at: Option<&Arc<HeldPage>>) -> Option<Landed> {
        let now = self.options.clock.now();
        let known = self
            .pages
            .get(project)
            .filter(|known| looked_at.is_none_or(|held| !Arc::ptr_eq(held, known)));
        match known.filter(|known| !known.gone && known.freshness(now).is_fresh()) {
            Some(known) => Some(Landed::Known(known)),
            None if looked_at.is_none() => self
                .known_absent(project)
                .map(|freshness| Landed::Absent(freshness, None)),
            None => None,
        }
    }

    pub(super) fn remember(&self, project: &ProjectName, held: &Arc<HeldPage>) {
        for file in &held.page.files {
            if !file.filename.is_of(project) {
                self.strays.insert(file.path.clone(), project.clone());
            }
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
            shared
                .store
                .write_record(RecordKind::Page, &shared.name, key.as_str(), &*held)
        };
        if let Err(error) = blocking(write).await {
            tracing::warn!(%project, store = %self.store, %error, "a page was served but cannot be kept");
        }
    }
}
