//! The upstreams of one source, equals in order of preference: "the team's cache when reachable, else PyPI".
//!
//! Each request goes to the first upstream that is not known to be failing; if that one cannot tell, the next is
//! asked. "Absent" is an answer like any other: the upstreams are equals, so nobody else needs to be asked.
//!
//! The choice is made for each request, by `health`: an upstream that costs time and brings nothing is left alone,
//! so a dead one costs its time-out once, not per request. While it rests, one request after the other
//! goes there all the same, in a task that nobody waits long for, to find out whether it is back.
//!
//! ```text
//! preferred: asked, share of the time --(cannot tell, or too slow)--> next: asked, what is left --> error with all reasons
//!     resting: passed over, or probed behind the scenes
//! ```
//!
//! Imports: `model`, `resilience`, `source`.

mod health;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use crate::model::ProjectName;
use crate::resilience::Permit;
use crate::source::{
    Answer, Cause, FileReply, FileRequest, IndexSource, ListReply, PageReply, RequestContext, Sibling,
    SourceError,
};
use health::Health;

/// What failures in a row of an upstream may cost where another stands behind it.
const PREFERRED_COST_LIMIT: Duration = Duration::from_millis(400);

/// The same for the last one: nobody else could be asked, so it has to fail twice.
const LAST_COST_LIMIT: Duration = Duration::from_secs(2);

/// How long the client whose request is the probe waits for it.
const PROBE_PATIENCE: Duration = Duration::from_millis(80);

/// How a [`MirroredSource`] shares out time.
#[derive(Debug, Clone)]
pub struct MirrorOptions {
    /// How long all upstreams together may take to begin the answer to a request about a page.
    pub page_timeout: Duration,
    /// The same for a file.
    pub file_timeout: Duration,
    /// After so long without an answer the next upstream is asked as well, and the first answer counts. `None`: the
    /// next one hears of a name only when the one before it failed.
    pub hedge: Option<Duration>,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self {
            page_timeout: Duration::from_millis(1800),
            file_timeout: Duration::from_secs(10),
            hedge: None,
        }
    }
}

/// Equal upstreams in order of preference.
#[derive(Debug)]
pub struct MirroredSource {
    name: Arc<str>,
    upstreams: Vec<Arc<Upstream>>,
    options: MirrorOptions,
}

#[derive(Debug)]
struct Upstream {
    source: Arc<dyn IndexSource>,
    health: Health,
}

/// An upstream's answer, or why there is none.
type Outcome<T> = Result<Answer<T>, SourceError>;

impl MirroredSource {
    /// `upstreams` of the source `name`, the preferred one first.
    #[must_use]
    pub fn new(name: &str, upstreams: Vec<Arc<dyn IndexSource>>, options: MirrorOptions) -> Self {
        let last = upstreams.len().saturating_sub(1);
        let upstream = |(number, source)| {
            let limit = if number == last {
                LAST_COST_LIMIT
            } else {
                PREFERRED_COST_LIMIT
            };
            let health = Health::new(limit);
            Arc::new(Upstream { source, health })
        };
        Self {
            name: name.into(),
            upstreams: upstreams.into_iter().enumerate().map(upstream).collect(),
            options,
        }
    }

    /// Asks one upstream after the other until one can tell.
    async fn first_answer<T, Q>(
        &self,
        asked: &str,
        bound: Duration,
        context: &RequestContext,
        request: Q,
    ) -> Outcome<T>
    where
        T: Send + 'static,
        Q: Fn(Arc<dyn IndexSource>, RequestContext) -> BoxFuture<'static, Outcome<T>> + Sync,
    {
        let deadline = Instant::now() + context.timeout_within(bound);
        let mut errors = Vec::new();
        let mut under_way = FuturesUnordered::new();
        let mut next = 0;
        loop {
            if under_way.is_empty() {
                let Some(upstream) = self.upstreams.get(next) else {
                    break;
                };
                let context = self.share(next, deadline, context);
                under_way.push(upstream.asked(asked, &self.name, request(upstream.source.clone(), context)));
                next += 1;
            }
            let hedge = self.options.hedge.filter(|_| next < self.upstreams.len());
            tokio::select! {
                Some(outcome) = under_way.next() => match outcome {
                    Err(error) if may_know_elsewhere(&error) => {
                        tracing::debug!(source = %self.name, error = error.chain(), "an upstream could not tell");
                        errors.push(error);
                    }
                    told => return told,
                },
                () = sleep_until(Instant::now() + hedge.unwrap_or_default()), if hedge.is_some() => {
                    if let Some(upstream) = self.upstreams.get(next) {
                        let context = self.share(next, deadline, context);
                        under_way.push(upstream.asked(asked, &self.name, request(upstream.source.clone(), context)));
                        next += 1;
                    }
                }
            }
        }
        Err(self.nobody_could_tell(asked, errors))
    }

    /// The request for one upstream: what time is left is shared with those behind it that can be asked.
    fn share(&self, number: usize, deadline: Instant, context: &RequestContext) -> RequestContext {
        let behind = self.upstreams.iter().skip(number + 1);
        let sharers = 1 + behind
            .filter(|upstream| !upstream.health.is_circuit_open())
            .count();
        let left = deadline.saturating_duration_since(Instant::now());
        RequestContext {
            timeout: Some(left / u32::try_from(sharers).unwrap_or(u32::MAX)),
            ..context.clone()
        }
    }

    fn nobody_could_tell(&self, asked: &str, mut errors: Vec<SourceError>) -> SourceError {
        let only_loops = errors.iter().all(|error| matches!(error, SourceError::Loop(_)));
        match errors.len() {
            1 => errors.remove(0),
            0 => SourceError::unavailable(asked, &self.name, Cause::All("it has no upstream".into())),
            _ if only_loops => errors.remove(0),
            _ => {
                let reasons: Vec<_> = errors.iter().map(SourceError::chain).collect();
                SourceError::unavailable(asked, &self.name, Cause::All(reasons.join("; ").into()))
            }
        }
    }
}

impl Upstream {
    /// Puts the request if the upstream may be asked, and takes note of what comes of it.
    fn asked<T: Send + 'static>(
        self: &Arc<Self>,
        asked: &str,
        name: &Arc<str>,
        request: BoxFuture<'static, Outcome<T>>,
    ) -> impl Future<Output = Outcome<T>> + Send + use<T> {
        let (upstream, asked, name) = (self.clone(), asked.to_owned(), name.clone());
        let is_sibling = asked.ends_with(Sibling::Metadata.suffix());
        async move {
            match upstream.health.permit() {
                Permit::Go if is_sibling => upstream.noted_if_answered(request).await,
                Permit::Go => upstream.noted(request).await,
                Permit::Refused(wait) => Err(upstream.health.circuit_open(asked, &name, wait)),
                Permit::Probe => {
                    let circuit_open = upstream.health.circuit_open(asked, &name, PROBE_PATIENCE);
                    // A task of its own, so that the report comes whether or not the client stays.
                    let probe = tokio::spawn(async move { upstream.noted(request).await });
                    match timeout(PROBE_PATIENCE, probe).await {
                        Ok(Ok(outcome)) => outcome,
                        Ok(Err(_)) | Err(_) => Err(circuit_open),
                    }
                }
            }
        }
    }

    /// For what can be had in another way: that it is not answered says nothing about the upstream.
    async fn noted_if_answered<T>(&self, request: BoxFuture<'static, Outcome<T>>) -> Outcome<T> {
        let began = Instant::now();
        let outcome = request.await;
        if outcome.is_ok() {
            self.health.note(&outcome, began);
        }
        outcome
    }

    async fn noted<T>(&self, request: BoxFuture<'static, Outcome<T>>) -> Outcome<T> {
        let began = Instant::now();
        let outcome = request.await;
        self.health.note(&outcome, began);
        outcome
    }
}

/// Whether an equal may know what this one could not tell.
fn may_know_elsewhere(error: &SourceError) -> bool {
    error.is_unavailable() || matches!(error, SourceError::Loop(_))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for MirroredSource {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        let request = |source: Arc<dyn IndexSource>, context: RequestContext| -> BoxFuture<'static, _> {
            Box::pin(async move { source.projects(&context).await })
        };
        self.first_answer("the project list", self.options.page_timeout, context, request)
            .await
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let asked = format!("the page of {project}");
        let request = |source: Arc<dyn IndexSource>, context: RequestContext| -> BoxFuture<'static, _> {
            let project = project.clone();
            Box::pin(async move { source.page(&project, &context).await })
        };
        self.first_answer(&asked, self.options.page_timeout, context, request)
            .await
    }

    async fn file(
        &self,
        wanted: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let asked = format!("{}{}", wanted.path, wanted.sibling.suffix());
        let request = |source: Arc<dyn IndexSource>, context: RequestContext| -> BoxFuture<'static, _> {
            let wanted = wanted.clone();
            Box::pin(async move { source.file(&wanted, &context).await })
        };
        self.first_answer(&asked, self.options.file_timeout, context, request)
            .await
    }
}

impl fmt::Display for MirroredSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.upstreams[..] {
            [only] => write!(f, "{}", only.source),
            several => {
                let names: Vec<_> = several
                    .iter()
                    .map(|upstream| upstream.source.to_string())
                    .collect();
                write!(f, "{} from any of [{}]", self.name, names.join(", "))
            }
        }
    }
}
