//! Asking ahead: what an installer will ask for next is fetched while it still thinks.
//!
//! pip asks for one thing after the other: a page, METADATA of one file, the page of the first requirement, and so on;
//! each costs it the upstream's latency. So when an installer asks for a page that was not held, this source asks the
//! source behind, in the installer's place, for METADATA of the wheel that it will likely take (`candidates`, by what its
//! `User-Agent` says, `installer`), and for the pages of the projects which that wheel requires (`requirements`), and so on (`lookahead`).
//! The caches behind keep what comes; nothing is handed on here.
//!
//! It stands in front of everything else of an index, so that guard, claims and rules count for its requests as for
//! any others. It is bounded: a number of requests and bytes for each page that an installer asks for, a number of
//! lookaheads at a time, no whole distribution files, and no request while clients wait for theirs.
//!
//! ```text
//! installer: page of A --> [A] .... METADATA of A --> (held) ... page of B --> (held) ...
//!                           \-> METADATA of A -> page of B -> METADATA of B -> ...      lookahead
//! ```
//!
//! Imports: `archive`, `model`, `source`.

mod candidates;
mod installer;
mod lookahead;
mod prefetch_usage;
mod requirements;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};

use crate::model::{FilePath, ProjectName};
use crate::source::{
    Answer, CacheMode, CacheStatus, FileReply, FileRequest, IndexSource, ListReply, Outcome, PageReply,
    RequestContext, Sibling, SourceError, View,
};
use installer::Installer;
use lookahead::Lookahead;
use prefetch_usage::PrefetchUsage;

/// How far ahead is asked.
#[derive(Debug, Clone)]
pub struct PrefetchOptions {
    /// The most requests for one page that an installer asks for.
    pub requests: u32,
    /// The most bytes of METADATA for one such page.
    pub bytes: u64,
    /// How many requests are under way at a time, all lookaheads together.
    pub at_once: usize,
    /// While more clients than this wait for an answer, nothing further is asked ahead.
    pub gives_way_to: usize,
}

impl Default for PrefetchOptions {
    fn default() -> Self {
        Self {
            requests: 32,
            bytes: 4 * 1024 * 1024,
            at_once: 8,
            gives_way_to: 2,
        }
    }
}

/// Asks the source behind ahead of installers. Clones share everything.
#[derive(Clone)]
pub struct PrefetchingSource {
    shared: Arc<Shared>,
}

/// What asking ahead has brought so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefetchTotals {
    /// Pages and METADATA that were fetched ahead.
    pub fetched: u64,
    /// Those of them that an installer asked for afterwards.
    pub used: u64,
    /// Those of them that nobody asked for within a minute.
    pub wasted: u64,
    /// Bytes of METADATA among what was fetched.
    pub bytes: u64,
}

struct Shared {
    inner: Arc<dyn IndexSource>,
    options: PrefetchOptions,
    /// Clients that wait for an answer.
    waiting: AtomicUsize,
    /// Told when one of them has got it.
    answered: Notify,
    journeys: Arc<Semaphore>,
    /// A permit for each request under way.
    under_way: Semaphore,
    prefetch_usage: PrefetchUsage,
    bytes: AtomicU64,
}

/// How many lookaheads there are at a time; pages that are asked for meanwhile begin none.
const JOURNEYS: usize = 16;

/// Something that was fetched ahead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Thing {
    Page(ProjectName),
    Metadata(FilePath),
}

/// A client that waits for an answer, counted as long as it lives.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        // Telling takes a lock that all requests share, so it is done only while a lookahead holds a permit. The
        // fences (see `Lookahead::turn`) see to it that one of the two sides notices the other.
        fence(Ordering::SeqCst);
        if self.0.under_way.available_permits() < self.0.options.at_once {
            self.0.answered.notify_waiters();
        }
    }
}

impl PrefetchingSource {
    /// Puts asking ahead in front of `inner`, which has to keep what it is asked for.
    #[must_use]
    pub fn new(inner: Arc<dyn IndexSource>, options: PrefetchOptions) -> Self {
        let under_way = Semaphore::new(options.at_once);
        Self {
            shared: Arc::new(Shared {
                inner,
                options,
                waiting: AtomicUsize::new(0),
                answered: Notify::new(),
                journeys: Arc::new(Semaphore::new(JOURNEYS)),
                under_way,
                prefetch_usage: PrefetchUsage::default(),
                bytes: AtomicU64::new(0),
            }),
        }
    }

    /// What asking ahead has brought so far.
    #[must_use]
    pub fn totals(&self) -> PrefetchTotals {
        let [fetched, used, wasted] = self.shared.prefetch_usage.totals();
        PrefetchTotals {
            fetched,
            used,
            wasted,
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }

    /// Goes on from a page that an installer has got, if it is news to it.
    fn go_on_from(&self, reply: &PageReply, context: &RequestContext) {
        let page = || Thing::Page(reply.page.name.clone());
        if !self.was_ahead(&reply.cache_status, page) && !is_new(&reply.cache_status) {
            return;
        }
        let agent = context.agent.as_ref().and_then(|agent| agent.to_str().ok());
        if let Some(installer) = agent.and_then(Installer::parse)
            && let Ok(permit) = self.shared.journeys.clone().try_acquire_owned()
        {
            let lookahead = Lookahead::new(self.shared.clone(), installer, context);
            let page = reply.page.clone();
            tokio::spawn(async move {
                lookahead.run(page).await;
                drop(permit);
            });
        }
    }

    /// Whether an installer has got something now that was fetched ahead. Looked at once it has it, since the two may
    /// ask at the same time; whoever had to fetch it himself has no use of the other's request.
    fn was_ahead(&self, cache_status: &CacheStatus, thing: impl FnOnce() -> Thing) -> bool {
        !is_fetched(cache_status) && self.shared.prefetch_usage.is_asked(thing)
    }
}

/// Whether the answer was fetched for this request, or for another one at the same time.
fn is_new(cache_status: &CacheStatus) -> bool {
    is_fetched(cache_status)
        || matches!(cache_status.hops.last(), Some(step) if step.outcome == Outcome::Collapsed)
}

/// Whether the answer was fetched for this request.
fn is_fetched(cache_status: &CacheStatus) -> bool {
    matches!(cache_status.hops.last(), Some(step) if step.outcome == Outcome::Miss)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for PrefetchingSource {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        self.shared.inner.projects(context).await
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let waiting = Waiting::begin(&self.shared);
        let answer = self.shared.inner.page(project, context).await;
        drop(waiting);
        if let Ok(Answer::Found(reply)) = &answer
            && (context.view, context.cache_mode) == (View::Everything, CacheMode::Default)
        {
            self.go_on_from(reply, context);
        }
        answer
    }

    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let _waiting = Waiting::begin(&self.shared);
        let answer = self.shared.inner.file(request, context).await;
        if let Ok(Answer::Found(reply)) = &answer
            && request.sibling == Sibling::Metadata
        {
            self.was_ahead(&reply.cache_status, || Thing::Metadata(request.path.clone()));
        }
        answer
    }
}

impl fmt::Display for PrefetchingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prefetching from {}", self.shared.inner)
    }
}

impl fmt::Debug for PrefetchingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrefetchingSource({self})")
    }
}
