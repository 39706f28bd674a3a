//! Answering for pages: from memory or disk while they are fresh, after a look at the source behind when they are
//! not, and as they are when that one is slow or cannot tell.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::blocking::blocking;
use super::flight::Flight;
use super::held::HeldPage;
use super::options::Unreachable;
use super::{Landed, PageLanding, Shared};
use crate::model::ProjectName;
use crate::source::{Answer, Ask, Cause, Freshness, Outcome, PageReply, Reach, SourceError, Trail, View};
use crate::store::RecordKind;

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
        if ask.view == View::Held {
            return Ok(self.held_view(held, ask).await);
        }
        if let Some(held) = &held
            && ask.reach != Reach::Revalidate
            && held.freshness(now).is_fresh()
        {
            return Ok(self.reply_here(held, Outcome::Hit, ask).await);
        }
        if ask.reach != Reach::Revalidate
            && let Some(freshness) = self.known_absent(project)
        {
            return Ok(Answer::Absent(freshness));
        }
        let servable = held.clone().filter(|held| !held.gone && held.is_servable(now));
        if self.is_held_only(ask) {
            return match &servable {
                Some(held) => Ok(self.reply_here(held, Outcome::Stale, ask).await),
                None => Err(SourceError::not_held(format_args!("the page of {project}"))),
            };
        }
        let flight = self.fetch(project, held, ask);
        match servable {
            Some(held) => self.confirmed_or_stale(&held, flight, ask).await,
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
        let held = Arc::new(blocking(read).await.ok()??.offering(self.options.vanished));
        self.remember(project, &held);
        Some(held)
    }

    /// A held page waits for its confirmation, but not for long.
    async fn confirmed_or_stale(
        self: &Arc<Self>,
        held: &Arc<HeldPage>,
        mut flight: Flight<PageLanding>,
        ask: &Ask,
    ) -> Result<Answer<PageReply>, SourceError> {
        let patience = match ask.reach {
            Reach::Revalidate => INSISTENCE,
            // The flight goes on behind, and the one that brings an answer ends this.
            _ if self.failed_lately() => return Ok(self.reply_unreachable(held, ask).await),
            _ => self.options.patience,
        };
        match tokio::time::timeout(patience, flight.landed()).await {
            Ok(Some(Ok(landed))) => Ok(self.reply_landed(landed, flight.led, ask)),
            // A rule above says no: what was held before there was this rule does not get round it.
            Ok(Some(Err(error @ SourceError::Denied { .. }))) => Err(error),
            Ok(Some(Err(_)) | None) => Ok(self.reply_unreachable(held, ask).await),
            Err(_) => {
                // It may be slow or gone; the next ones do not wait to find out.
                self.note_failure();
                Ok(self.reply(held, Outcome::Stale, ask))
            }
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
            Landed::New(held, trail) => {
                let outcome = if led { Outcome::Miss } else { Outcome::Collapsed };
                self.reply(&held, outcome, ask).map(|reply| PageReply {
                    trail: trail.then(&self.name, outcome),
                    ..reply
                })
            }
            Landed::Confirmed(held) if held.was_stale_when_heard() => self.reply(&held, Outcome::Stale, ask),
            Landed::Confirmed(held) => self.reply(&held, Outcome::Revalidated, ask),
            Landed::Known(held) => self.reply(&held, Outcome::Hit, ask),
            Landed::Absent(freshness, _) => Answer::Absent(freshness),
        }
    }

    /// What is held, without anybody having been asked: all of it, unless this tier is to be used offline as one
    /// that shows what it has.
    async fn reply_here(
        self: &Arc<Self>,
        held: &Arc<HeldPage>,
        outcome: Outcome,
        ask: &Ask,
    ) -> Answer<PageReply> {
        match self.options.offline {
            true => self.reply_unreachable(held, ask).await,
            false => self.reply(held, outcome, ask),
        }
    }

    /// What is held, since the source behind cannot be asked.
    async fn reply_unreachable(self: &Arc<Self>, held: &Arc<HeldPage>, ask: &Ask) -> Answer<PageReply> {
        let fresh = held.freshness(self.options.clock.now()).is_fresh();
        let outcome = if fresh { Outcome::Hit } else { Outcome::Stale };
        match self.options.unreachable {
            Unreachable::Everything => self.reply(held, outcome, ask),
            Unreachable::Held => self.reply_held_files(held, outcome).await,
        }
    }

    pub(super) fn reply(&self, held: &HeldPage, outcome: Outcome, ask: &Ask) -> Answer<PageReply> {
        let freshness = held.freshness(self.options.clock.now());
        if held.gone {
            return Answer::Absent(freshness);
        }
        if ask.validators.is_some() && ask.validators == held.validators {
            return Answer::Unchanged(freshness);
        }
        Answer::Found(PageReply {
            page: held.offered().clone(),
            freshness,
            validators: held.validators.clone(),
            trail: Trail::of(&self.name, outcome),
        })
    }

    pub(super) fn page_failed(&self, project: &ProjectName, cause: Cause) -> SourceError {
        SourceError::unavailable(format_args!("the page of {project}"), &self.name, cause)
    }

    pub(super) fn known_absent(&self, project: &ProjectName) -> Option<Freshness> {
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

    pub(super) fn note_failure(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn note_answer(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
