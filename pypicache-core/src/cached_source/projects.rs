//! Answering for the project list: kept as one record, read where it is asked for (seldom), and shown with its age
//! while the source behind cannot tell.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Shared;
use super::held::HeldPage;
use crate::model::ProjectList;
use crate::offload::offload;
use crate::source::{
    Answer, CacheMode, CacheStatus, Cause, Freshness, IndexSource as _, ListReply, Outcome, RequestContext,
    SourceError, View,
};
use crate::store::RecordKind;

/// The one record of its kind.
const KEY: &str = "projects";

/// How long a held list waits for a newer one. Lists are large, and whoever asks for one is no installer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The origin's last list, as this tier heard it; the record on disk.
#[derive(Debug, Serialize, Deserialize)]
struct HeldList {
    list: Arc<ProjectList>,
    response_time: SystemTime,
    age_at_response: Duration,
    lifetime: Duration,
}

impl HeldList {
    fn freshness(&self, now: SystemTime) -> Freshness {
        Freshness {
            age: self.age_at_response,
            lifetime: self.lifetime,
        }
        .after(now.duration_since(self.response_time).unwrap_or_default())
    }
}

/// What a flight for the list ends with.
pub(super) type ListFlightResult = Option<Result<Answer<ListReply>, SourceError>>;

impl Shared {
    pub(super) async fn projects(
        self: &Arc<Self>,
        context: &RequestContext,
    ) -> Result<Answer<ListReply>, SourceError> {
        if context.view == View::Held {
            return Ok(Answer::Found(self.held_projects().await));
        }
        let held = self.held_list().await;
        let now = self.options.clock.now();
        if let Some(held) = &held
            && context.cache_mode != CacheMode::NoCache
            && (held.freshness(now).is_fresh() || self.is_only_if_cached(context))
        {
            return Ok(Answer::Found(self.reply_list(held)));
        }
        if self.is_only_if_cached(context) {
            return Err(SourceError::not_held("the project list"));
        }
        let mut flight = self
            .list_flights
            .join(&(), None, |sender| self.clone().hear_list(context, sender));
        let Some(held) = held else {
            return flight.result().await.unwrap_or_else(|| Err(self.list_given_up()));
        };
        match tokio::time::timeout(PATIENCE, flight.result()).await {
            Ok(Some(Err(error))) if !error.is_unavailable() => Err(error),
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(_)) | None) | Err(_) => Ok(Answer::Found(self.reply_list(&held))),
        }
    }

    fn hear_list(
        self: Arc<Self>,
        context: &RequestContext,
        sender: watch::Sender<ListFlightResult>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let context = context.without_validators();
        async move {
            let answer = self.inner.projects(&context).await;
            let held = match &answer {
                Ok(Answer::Found(reply)) => Some(HeldList {
                    list: reply.list.clone(),
                    response_time: self.options.clock.now(),
                    age_at_response: reply.freshness.age,
                    lifetime: reply.freshness.lifetime,
                }),
                Ok(_) => None,
                Err(error) => {
                    tracing::warn!(source = %self.name, error = error.chain(), "the project list could not be fetched");
                    None
                }
            };
            let answer = answer.map(|answer| {
                answer.map(|reply| ListReply {
                    cache_status: reply.cache_status.then(&self.name, Outcome::Miss),
                    ..reply
                })
            });
            sender.send_replace(Some(answer));
            if let Some(held) = held {
                self.persist_list(held).await;
            }
        }
    }

    async fn held_list(self: &Arc<Self>) -> Option<HeldList> {
        let shared = self.clone();
        let read = move || Ok(shared.store.read_record(RecordKind::List, &shared.name, KEY));
        offload(read).await.ok()?
    }

    async fn persist_list(self: &Arc<Self>, held: HeldList) {
        let shared = self.clone();
        let write = move || {
            shared
                .store
                .write_record(RecordKind::List, &shared.name, KEY, &held)
        };
        if let Err(error) = offload(write).await {
            tracing::warn!(store = %self.store, %error, "the project list was served but cannot be kept");
        }
    }

    fn reply_list(&self, held: &HeldList) -> ListReply {
        let freshness = held.freshness(self.options.clock.now());
        let outcome = if freshness.is_fresh() {
            Outcome::Hit
        } else {
            Outcome::Stale
        };
        ListReply {
            list: held.list.clone(),
            freshness,
            cache_status: CacheStatus::of(&self.name, outcome),
        }
    }

    /// The projects of which something can be installed right now.
    async fn held_projects(self: &Arc<Self>) -> ListReply {
        let shared = self.clone();
        let read = move || {
            let pages = shared
                .store
                .all_records::<HeldPage>(RecordKind::Page, &shared.name);
            let is_held = |held: &HeldPage| !held.gone && shared.has_any_file(held);
            Ok(pages
                .into_iter()
                .filter(is_held)
                .map(|held| held.page.name.clone())
                .collect())
        };
        let list: ProjectList = offload(read).await.unwrap_or_default();
        ListReply {
            list: Arc::new(list),
            freshness: Freshness::default(),
            cache_status: CacheStatus::of(&self.name, Outcome::Hit),
        }
    }

    fn list_given_up(&self) -> SourceError {
        SourceError::unavailable(
            "the project list",
            &self.name,
            Cause::ConnectionClosed("the fetch was given up".into()),
        )
    }
}
