//! Pages and the project list: memory, disk, the source behind, and what is held when that one fails.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::flight::Flight;
use super::held::{HeldPage, Verdict, judge, offer_metadata};
use super::transfer::blocking;
use super::{PageLanding, PageNews, Shared};
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
            Ok(Some(Ok((Some(new), PageNews::Confirmed)))) => self.reply(&new, Outcome::Revalidated, ask),
            Ok(Some(Ok((Some(new), PageNews::New)))) => self.reply(&new, fetched(flight.led), ask),
            Ok(Some(Ok((_, PageNews::Absent(freshness))))) => Answer::Absent(freshness),
            Ok(Some(Ok((None, _))) | None | Some(Err(_))) | Err(_) => self.reply(held, Outcome::Stale, ask),
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
            let cause = Cause::Broken("the fetch was given up".into());
            Err(SourceError::unavailable(
                format_args!("the page of {project}"),
                &self.name,
                cause,
            ))
        })?;
        Ok(match landing {
            (_, PageNews::Absent(freshness)) => Answer::Absent(freshness),
            (Some(held), _) => self.reply(&held, fetched(flight.led), ask),
            (None, _) => Answer::Absent(freshness_of_nothing()),
        })
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
                reach: ask.reach,
                validators,
                via: ask.via.clone(),
            };
            async move {
                let landing = shared.ask_behind(&project, held, &ask).await;
                if let Err(error) = &landing {
                    tracing::warn!(%project, source = %shared.name, error = error.chain(), "a page could not be fetched");
                    *shared.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                let changed = match &landing {
                    Ok((Some(held), _)) => Some(held.clone()),
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
    ) -> Result<(Option<Arc<HeldPage>>, PageNews), SourceError> {
        let answer = self.inner.page(project, ask).await?;
        let now = self.options.clock.now();
        let (new, news) = match answer {
            Answer::Found(reply) => match judge(held.as_deref(), &reply.page) {
                Verdict::Doubt if !self.doubted.contains_key(project) => {
                    self.doubted.insert(project.clone(), ());
                    let cause = Cause::Nonsense("all files of the project vanished from its page".into());
                    return Err(SourceError::unavailable(
                        format_args!("the page of {project}"),
                        &self.name,
                        cause,
                    ));
                }
                Verdict::KeepHeld => (
                    held.map(|held| held.confirmed(reply.freshness, now)),
                    PageNews::Confirmed,
                ),
                Verdict::Replace | Verdict::Doubt => {
                    let page = same_or_new(held.as_deref(), offer_metadata(reply.page));
                    (
                        Some(HeldPage::new(page, reply.validators, reply.freshness, now)),
                        PageNews::New,
                    )
                }
            },
            Answer::Unchanged(freshness) => (
                held.map(|held| held.confirmed(freshness, now)),
                PageNews::Confirmed,
            ),
            Answer::Absent(told) => {
                let freshness = Freshness {
                    lifetime: told.lifetime.min(ABSENCE_LIFETIME),
                    ..told
                };
                self.absent.insert(project.clone(), (now, freshness));
                (
                    held.map(|held| held.vanished(freshness, now)),
                    PageNews::Absent(freshness),
                )
            }
        };
        let new = new.map(Arc::new);
        if let Some(held) = &new {
            self.remember(project, held);
        }
        if !matches!(news, PageNews::Absent(_)) {
            self.absent.invalidate(project);
            self.doubted.invalidate(project);
        }
        Ok((new, news))
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

fn fetched(led: bool) -> Outcome {
    if led { Outcome::Miss } else { Outcome::Collapsed }
}

/// Good for nothing but this one answer.
fn freshness_of_nothing() -> Freshness {
    Freshness::new(Duration::ZERO)
}
