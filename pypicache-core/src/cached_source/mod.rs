//! A store in front of another source: answers from what is held, fetches the rest once, survives outages.
//!
//! This is the tier. It knows nothing of HTTP: nested or chained with other sources it behaves the same, and
//! put in front of another tier it inherits that one's ages instead of adding a lifetime of its own.
//!
//! A **page** (`pages`) is answered from memory or disk while it is fresh; when stale it is confirmed by a conditional request
//! (`revalidate`); while the source behind is slow or broken, the held page goes out with its age, whole or cut down to
//! what can be installed (`views`). The rules about ages and replacement are in `held`. A **file** (`files`) is
//! answered from the store, or fetched by one `transfer` that every client follows. METADATA that no upstream
//! offers is taken out of the wheel (`siblings`). The **project list** (`projects`) is one record.
//!
//! | asked for | held, fresh | held, stale | not held |
//! |---|---|---|---|
//! | page | at once | confirmed, or with its age | fetched, or "could not tell" |
//! | file | at once | (files do not age) | streamed while it is fetched, verified at the end |
//!
//! Imports: `archive`, `model`, `offload`, `resilience`, `source`, `store`.

mod counters;
mod entries;
mod files;
mod flight;
mod held;
mod hot;
mod options;
mod pages;
mod pass_through;
mod projects;
mod revalidate;
mod siblings;
mod transfer;
mod views;

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::model::{FilePath, ProjectName};
use crate::source::{
    Answer, CacheMode, CacheStatus, FileReply, FileRequest, Freshness, IndexSource, ListReply, PageReply,
    RequestContext, Sibling, SourceError,
};
use crate::store::DiskStore;
use counters::Counters;
pub use counters::TransferTotals;
use entries::Stray;
use flight::Flights;
use held::HeldPage;
use hot::HotFiles;
pub use options::{CacheOptions, Files, Retention, Unreachable};
use projects::ListFlightResult;
use siblings::Metadata;
use transfer::Progress;

/// A source with a store in front. Clones share everything.
#[derive(Clone)]
pub struct CachedSource {
    shared: Arc<Shared>,
}

/// How much is written to disk at a time behind answers.
const WRITERS: usize = 2;

/// A file or sibling of it: what a transfer is about.
type FileKey = (FilePath, Sibling);

/// What a page flight ends with; `None` while it is under way.
type PageFlightResult = Option<Result<FetchedPage, SourceError>>;

/// What asking for a page brought.
#[derive(Debug, Clone)]
enum FetchedPage {
    /// A page that was not held, and the way that it came.
    New(Arc<HeldPage>, CacheStatus),
    /// The held page, confirmed.
    Confirmed(Arc<HeldPage>),
    /// A page that another flight had brought in the meantime.
    Concurrent(Arc<HeldPage>),
    /// The project does not exist; with the page that was held until now, if one was.
    NotFound(Freshness, Option<Arc<HeldPage>>),
}

struct Shared {
    name: Arc<str>,
    inner: Arc<dyn IndexSource>,
    store: DiskStore,
    options: CacheOptions,
    pages: moka::sync::Cache<ProjectName, Arc<HeldPage>>,
    hot: HotFiles,
    page_flights: Flights<ProjectName, PageFlightResult>,
    list_flights: Flights<(), ListFlightResult>,
    transfers: Flights<FileKey, Progress>,
    sibling_flights: Flights<FileKey, Option<Result<Answer<Metadata>, SourceError>>>,
    /// Absences that the origin told, while they count.
    not_found: moka::sync::Cache<ProjectName, (std::time::SystemTime, Freshness)>,
    /// Files that a page lists although their name speaks of another project.
    strays: moka::sync::Cache<FilePath, Stray>,
    /// Projects whose page lost all its files at once: not believed until it is said again.
    unconfirmed_removals: moka::sync::Cache<ProjectName, ()>,
    /// Files of which wrong bytes came lately: whoever has a part of these must not go on with it.
    recent_mismatches: moka::sync::Cache<FilePath, (Instant, SourceError)>,
    /// A permit for each thing that is written to disk behind an answer: more at a time would wait for each other in the
    /// file system, and burn processors doing so.
    writers: Semaphore,
    /// When the source behind last failed. A std mutex: held for a read or a write.
    failed_at: Mutex<Option<Instant>>,
    counters: Counters,
}

impl CachedSource {
    /// Puts `store` in front of `inner`. `name` is the source's name in the configuration: it keeps records
    /// apart in a shared store, and stands in `Cache-Status`.
    pub fn new(name: &str, inner: impl IndexSource, store: DiskStore, options: CacheOptions) -> Self {
        let pages = moka::sync::Cache::builder()
            .weigher(|_, held: &Arc<HeldPage>| u32::try_from(held.len() + 10).unwrap_or(u32::MAX))
            .max_capacity(options.pages_in_memory)
            .build();
        let shared = Shared {
            name: name.into(),
            inner: Arc::new(inner),
            store,
            options,
            pages,
            hot: HotFiles::default(),
            page_flights: Flights::new(Option::is_some),
            list_flights: Flights::new(Option::is_some),
            // A complete transfer is followed until its file stands in the store.
            transfers: Flights::new(|_| false),
            sibling_flights: Flights::new(Option::is_some),
            not_found: moka::sync::Cache::new(10_000),
            strays: moka::sync::Cache::new(10_000),
            unconfirmed_removals: moka::sync::Cache::new(1_000),
            recent_mismatches: moka::sync::Cache::new(1_000),
            writers: Semaphore::new(WRITERS),
            failed_at: Mutex::new(None),
            counters: Counters::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Shared {
    /// Whether the source behind may not be asked for this request.
    fn is_only_if_cached(&self, context: &RequestContext) -> bool {
        self.options.offline || context.cache_mode == CacheMode::OnlyIfCached
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for CachedSource {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        self.shared.projects(context).await
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        self.shared.page(project, context).await
    }

    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        match request.sibling {
            Sibling::File => self.shared.file(request, context).await,
            Sibling::Metadata => self.shared.metadata(request, context).await,
        }
    }
}

impl fmt::Display for CachedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cache {} over {}", self.shared.name, self.shared.inner)
    }
}

impl fmt::Debug for CachedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedSource({self})")
    }
}
