//! Answering for pages: from memory or disk while they are fresh, after a look at the source behind when they are
//! not, and as they are when that one is slow or cannot tell.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::flight::Flight;
use super::held::HeldPage;
use super::options::Unreachable;
use super::{FetchedPage, PageFlightResult, Shared};
use crate::model::ProjectName;
use crate::offload::offload;
use crate::source::{
    Answer, CacheMode, CacheStatus, Cause, Freshness, Outcome, PageReply, RequestContext, SourceError, View,
};
use crate::store::RecordKind;

/// How long a client that insists on a confirmation (`no-cache`) waits for it when a page is held.
const NO_CACHE_TIMEOUT: Duration = Duration::from_secs(2);

impl Shared {
    pub(super) async fn page(
        self: &Arc<Self>,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let held = self.held(project).await;
        let now = self.options.clock.now();
        if context.view == View::Held {
            return Ok(self.held_view(held, context).await);
        }
        if let Some(held) = &held
            && context.cache_mode != CacheMode::NoCache
            && held.freshness(now).is_fresh()
        {
            return Ok(self.reply_here(held, Outcome::Hit, context).await);
        }
        if context.cache_mode != CacheMode::NoCache
            && let Some(freshness) = self.known_not_found(project)
        {
            return Ok(Answer::NotFound(freshness));
        }
        let servable = held.clone().filter(|held| !held.gone && held.is_servable(now));
        if self.is_only_if_cached(context) {
            return match &servable {
                Some(held) => Ok(self.reply_here(held, Outcome::Stale, context).await),
                None => Err(SourceError::not_held(format_args!("the page of {project}"))),
            };
        }
        let flight = self.fetch(project, held, context);
        match servable {
            Some(held) => self.revalidated_or_stale(&held, flight, context).await,
            None => self.fetched(project, flight, context).await,
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
        let held = Arc::new(offload(read).await.ok()??.offering(self.options.vanished));
        self.remember(project, &held);
        Some(held)
    }

    /// A held page waits for its confirmation, but not for long.
    async fn revalidated_or_stale(
        self: &Arc<Self>,
        held: &Arc<HeldPage>,
        mut flight: Flight<PageFlightResult>,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let revalidate_timeout = match context.cache_mode {
            CacheMode::NoCache => NO_CACHE_TIMEOUT,
            // The flight goes on behind, and the one that brings an answer ends this.
            _ if self.failed_lately() => return Ok(self.reply_unreachable(held, context).await),
            _ => self.options.revalidate_timeout,
        };
        match tokio::time::timeout(revalidate_timeout, flight.result()).await {
            Ok(Some(Ok(fetched))) => Ok(self.reply_fetched(fetched, flight.led, context)),
            // A rule above says no: what was held before there was this rule does not get round it.
            Ok(Some(Err(error @ SourceError::Denied { .. }))) => Err(error),
            Ok(Some(Err(_)) | None) => Ok(self.reply_unreachable(held, context).await),
            Err(_) => {
                // It may be slow or gone; the next ones do not wait to find out.
                self.note_failure();
                Ok(self.reply(held, Outcome::Stale, context))
            }
        }
    }

    /// Nothing is held: the client waits for what the source behind says.
    async fn fetched(
        &self,
        project: &ProjectName,
        mut flight: Flight<PageFlightResult>,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let result = flight.result().await.unwrap_or_else(|| {
            Err(self.page_failed(project, Cause::ConnectionClosed("the fetch was given up".into())))
        })?;
        Ok(self.reply_fetched(result, flight.led, context))
    }

    fn reply_fetched(&self, fetched: FetchedPage, led: bool, context: &RequestContext) -> Answer<PageReply> {
        match fetched {
            FetchedPage::New(held, cache_status) => {
                let outcome = if led { Outcome::Miss } else { Outcome::Collapsed };
                self.reply(&held, outcome, context).map(|reply| PageReply {
                    cache_status: cache_status.then(&self.name, outcome),
                    ..reply
                })
            }
            FetchedPage::Confirmed(held) if held.was_stale_at_response() => {
                self.reply(&held, Outcome::Stale, context)
            }
            FetchedPage::Confirmed(held) => self.reply(&held, Outcome::Revalidated, context),
            FetchedPage::Concurrent(held) => self.reply(&held, Outcome::Hit, context),
            FetchedPage::NotFound(freshness, _) => Answer::NotFound(freshness),
        }
    }

    /// What is held, without anybody having been asked: all of it, unless this tier is to be used offline as one
    /// that shows what it has.
    async fn reply_here(
        self: &Arc<Self>,
        held: &Arc<HeldPage>,
        outcome: Outcome,
        context: &RequestContext,
    ) -> Answer<PageReply> {
        match self.options.offline {
            true => self.reply_unreachable(held, context).await,
            false => self.reply(held, outcome, context),
        }
    }

    /// What is held, since the source behind cannot be asked.
    async fn reply_unreachable(
        self: &Arc<Self>,
        held: &Arc<HeldPage>,
        context: &RequestContext,
    ) -> Answer<PageReply> {
        let fresh = held.freshness(self.options.clock.now()).is_fresh();
        let outcome = if fresh { Outcome::Hit } else { Outcome::Stale };
        match self.options.unreachable {
            Unreachable::Everything => self.reply(held, outcome, context),
            Unreachable::Held => self.reply_held_files(held, outcome).await,
        }
    }

    pub(super) fn reply(
        &self,
        held: &HeldPage,
        outcome: Outcome,
        context: &RequestContext,
    ) -> Answer<PageReply> {
        let freshness = held.freshness(self.options.clock.now());
        if held.gone {
            return Answer::NotFound(freshness);
        }
        if context.validators.is_some() && context.validators == held.validators {
            return Answer::NotModified(freshness);
        }
        Answer::Found(PageReply {
            page: held.offered().clone(),
            freshness,
            validators: held.validators.clone(),
            cache_status: CacheStatus::of(&self.name, outcome),
        })
    }

    pub(super) fn page_failed(&self, project: &ProjectName, cause: Cause) -> SourceError {
        SourceError::unavailable(format_args!("the page of {project}"), &self.name, cause)
    }

    pub(super) fn known_not_found(&self, project: &ProjectName) -> Option<Freshness> {
        let (told_at, freshness) = self.not_found.get(project)?;
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
        failed_at.is_some_and(|at| at.elapsed() < self.options.failure_backoff)
    }

    pub(super) fn note_failure(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn note_answer(&self) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
