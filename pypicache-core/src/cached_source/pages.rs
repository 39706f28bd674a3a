//! Pages and the project list: memory, disk, the source behind, and what is held when that one fails.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::flight::Flight;
use super::held::{HeldPage, Verdict, judge, offer_metadata};
use super::transfer::blocking;
use super::{Landed, PageLanding, Shared};
use crate::model::{ProjectList, ProjectName, ProjectPage};
use crate::source::{
    Answer, Ask, Cause, Freshness, IndexSource as _, ListReply, Outcome, PageReply, Reach, SourceError, Trail,
};
use crate::store::RecordKind;

/// How long "there is no such project" counts at the most, whatever the origin says.
const ABSENCE_LIFETIME: Duration = Duration::from_secs(60);

/// How long a client that insists on a confirmation (`no-cache`) waits for it when a page is held.
const INSISTENCE: Duration = Duration::from_secs(2);

impl Shared {
    pub(super) async fn page(
        self: &Arc<Self>,
        project: &ProjectName,
        ask: &Ask,
    ) -> Result<Answer<PageReply>, SourceError> {
        let held = self.held(project).await;
        let now = self.options.clock.now();
        if let Some(held) = &held
            && ask.reach != Reach::Revalidate
            && held.freshness(now).is_fresh()
        {
            return Ok(self.reply(held, Outcome::Hit, ask));
        }
        if ask.reach != Reach::Revalidate
            && let Some(freshness) = self.known_absent(project)
        {
            return Ok(Answer::Absent(freshness));
        }
        if self.is_held_only(ask) {
            return match &held {
                Some(held) if !held.gone => Ok(self.reply(held, Outcome::Stale, ask)),
                _ => Err(SourceError::not_held(format_args!("the page of {project}"))),
            };
        }
        let flight = self.fetch(project, held.clone(), ask);
        match held.filter(|held| !held.gone) {
            Some(held) => Ok(self.confirmed_or_stale(&held, flight, ask).await),
            None => self.landed(project, flight, ask).await,
        }
    }

    /// The page as last heard, from memory or disk, however old.
    pub(super) async fn held(self: &Arc<Self>, project: &ProjectName) -> Option<Arc<HeldPage>> {
        if let Some(held) = self.pages.get(project) {
            return Some(held);
        }
        let (shared, key) = (self.clone(), project.clone());
        let read = move || {
            Ok(shared
                .store
                .read_record::<HeldPage>(RecordKind::Page, &shared.name, key.as_str()))
        };
        let held = Arc::new(blocking(read).await.ok()??);
        self.remember(project, &held);
        Some(held)
    }

    /// A held page waits for its confirmation, but not for long.
    async fn confirmed_or_stale(
        &self,
        held: &Arc<HeldPage>,
        mut flight: Flight<PageLanding>,
        ask: &Ask,
    ) -> Answer<PageReply> {
        let patience = match ask.reach {
            Reach::Revalidate => INSISTENCE,
            _ if self.failed_lately() => Duration::ZERO,
            _ => self.options.patience,
        };
        match tokio::time::timeout(patience, flight.landed()).await {
            Ok(Some(Ok(landed))) => self.reply_landed(landed, flight.led, ask),
            Ok(Some(Err(_)) | None) | Err(_) => self.reply(held, Outcome::Stale, ask),
        }
    }

    /// Nothing is held: the asker waits for what the source behind says.
    async fn landed(
        &self,
        project: &ProjectName,
        mut flight: Flight<PageLanding>,
        ask: &Ask,
    ) -> Result<Answer<PageReply>, SourceError> {
        let landing = flight.landed().await.unwrap_or_else(|| {
            Err(self.page_failed(project, Cause::Broken("the fetch was given up".into())))
        })?;
        Ok(self.reply_landed(landing, flight.led, ask))
    }

    fn reply_landed(&self, landed: Landed, led: bool, ask: &Ask) -> Answer<PageReply> {
        match landed {
            Landed::New(held) if led => self.reply(&held, Outcome::Miss, ask),
            Landed::New(held) => self.reply(&held, Outcome::Collapsed, ask),
            Landed::Confirmed(held) => self.reply(&held, Outcome::Revalidated, ask),
            Landed::Known(held) => self.reply(&held, Outcome::Hit, ask),
            Landed::Absent(freshness, _) => Answer::Absent(freshness),
        }
    }

    /// Asks the source behind, once for all who want to know now.
    fn fetch(
        self: &Arc<Self>,
        project: &ProjectName,
        held: Option<Arc<HeldPage>>,
        ask: &Ask,
    ) -> Flight<PageLanding> {
        let begin = |told: watch::Sender<PageLanding>| {
            let (shared, project) = (self.clone(), project.clone());
            let validators = held.as_ref().and_then(|held| held.validators.clone());
            let ask = Ask {
                validators,
                ..ask.clone()
            };
            async move {
                let landing = shared.ask_behind(&project, held, &ask).await;
                if let Err(error) = &landing {
                    tracing::warn!(%project, source = %shared.name, error = error.chain(), "a page could not be fetched");
                    *shared.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                let changed = match &landing {
                    Ok(Landed::New(held) | Landed::Confirmed(held) | Landed::Absent(_, Some(held))) => {
                        Some(held.clone())
                    }
                    _ => None,
                };
                told.send_replace(Some(landing));
                if let Some(held) = changed {
                    // Not a part of the flight: who asks from now on must not be given what has just landed.
                    tokio::spawn(async move { shared.persist(&project, held).await });
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
        let now = self.options.clock.now();
        let landed = match (answer, held) {
            (Answer::Found(reply), held) => match (judge(held.as_deref(), &reply.page), held) {
                (Verdict::Doubt, _) if !self.doubted.contains_key(project) => {
                    self.doubted.insert(project.clone(), ());
                    return Err(self.page_failed(
                        project,
                        Cause::Nonsense("all files of the project vanished from its page".into()),
                    ));
                }
                (Verdict::KeepHeld, Some(held)) => {
                    Landed::Confirmed(Arc::new(held.confirmed(reply.freshness, now)))
                }
                (_, held) => {
                    let page = same_or_new(held.as_deref(), offer_metadata(reply.page));
                    Landed::New(Arc::new(HeldPage::new(
                        page,
                        reply.validators,
                        reply.freshness,
                        now,
                    )))
                }
            },
            (Answer::Unchanged(freshness), Some(held)) => {
                Landed::Confirmed(Arc::new(held.confirmed(freshness, now)))
            }
            (Answer::Unchanged(_), None) => {
                return Err(self.page_failed(
                    project,
                    Cause::Nonsense("it confirms a page that is not held".into()),
                ));
            }
            (Answer::Absent(told), held) => {
                let freshness = Freshness {
                    lifetime: told.lifetime.min(ABSENCE_LIFETIME),
                    ..told
                };
                self.absent.insert(project.clone(), (now, freshness));
                Landed::Absent(
                    freshness,
                    held.map(|held| Arc::new(held.vanished(freshness, now))),
                )
            }
        };
        match &landed {
            Landed::New(held) | Landed::Confirmed(held) | Landed::Known(held) => {
                self.remember(project, held);
                self.absent.invalidate(project);
                self.doubted.invalidate(project);
            }
            Landed::Absent(_, Some(held)) => self.remember(project, held),
            Landed::Absent(_, None) => {}
        }
        Ok(landed)
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

    fn page_failed(&self, project: &ProjectName, cause: Cause) -> SourceError {
        SourceError::unavailable(format_args!("the page of {project}"), &self.name, cause)
    }

    fn remember(&self, project: &ProjectName, held: &Arc<HeldPage>) {
        for file in &held.page.files {
            if file.filename.version_for(project).is_none() {
                self.strays.insert(file.path.clone(), project.clone());
            }
        }
        self.pages.insert(project.clone(), held.clone());
    }

    async fn persist(self: &Arc<Self>, project: &ProjectName, held: Arc<HeldPage>) {
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

    fn reply(&self, held: &HeldPage, outcome: Outcome, ask: &Ask) -> Answer<PageReply> {
        let freshness = held.freshness(self.options.clock.now());
        if held.gone {
            return Answer::Absent(freshness);
        }
        if ask.validators.is_some() && ask.validators == held.validators {
            return Answer::Unchanged(freshness);
        }
        Answer::Found(PageReply {
            page: held.page.clone(),
            freshness,
            validators: held.validators.clone(),
            trail: Trail::of(&self.name, outcome),
        })
    }

    fn known_absent(&self, project: &ProjectName) -> Option<Freshness> {
        let (told_at, freshness) = self.absent.get(project)?;
        let rest = self
            .options
            .clock
            .now()
            .duration_since(told_at)
            .unwrap_or_default();
        Some(freshness.after(rest)).filter(Freshness::is_fresh)
    }

    fn failed_lately(&self) -> bool {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|at| at.elapsed() < self.options.wariness)
    }

    /// The list of the source behind; while that cannot be had, the projects whose pages are held.
    pub(super) async fn projects(self: &Arc<Self>, ask: &Ask) -> Result<Answer<ListReply>, SourceError> {
        if !self.is_held_only(ask) {
            match self.inner.projects(ask).await {
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(source = %self.name, error = error.chain(), "the project list could not be fetched; the held projects are listed");
                }
                answer => return answer,
            }
        }
        let shared = self.clone();
        let read = move || {
            Ok(shared
                .store
                .all_records::<HeldPage>(RecordKind::Page, &shared.name))
        };
        let records = blocking(read).await.unwrap_or_default();
        let list: ProjectList = records
            .into_iter()
            .filter(|held| !held.gone)
            .map(|held| held.page.name.clone())
            .collect();
        let trail = Trail::of(&self.name, Outcome::Stale);
        Ok(Answer::Found(ListReply {
            list: Arc::new(list),
            freshness: freshness_of_nothing(),
            trail,
        }))
    }
}

/// Equal pages stay one value, so that what was rendered of the held one stays good.
fn same_or_new(held: Option<&HeldPage>, new: Arc<ProjectPage>) -> Arc<ProjectPage> {
    match held {
        Some(held) if held.page == new => held.page.clone(),
        _ => new,
    }
}

/// Good for nothing but this one answer.
fn freshness_of_nothing() -> Freshness {
    Freshness::new(Duration::ZERO)
}
