//! One lookahead: from a page that an installer asked for to what it will ask for next, as far as the bounds allow.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;

use super::installer::Installer;
use super::prefetch_usage::Begun;
use super::requirements::requirements;
use super::{Shared, Thing, candidates, is_fetched};
use crate::model::{FileEntry, ProjectName, ProjectPage};
use crate::source::{FileRequest, IndexSource as _, RequestContext};

/// The largest METADATA that is looked at, in bytes.
const METADATA_LIMIT: usize = 1024 * 1024;

/// Pages with more files than this are looked through off the runtime's threads.
const LARGE: usize = 300;

/// Where a lookahead goes.
enum Stop {
    /// A page that is there already.
    Page(Arc<ProjectPage>),
    /// A project whose page is yet to be asked for.
    Project(ProjectName),
}

pub(super) struct Lookahead {
    shared: Arc<Shared>,
    installer: Arc<Installer>,
    context: RequestContext,
    /// What may still be asked of upstreams.
    requests_left: AtomicU32,
    bytes_left: AtomicU64,
}

impl Lookahead {
    pub(super) fn new(shared: Arc<Shared>, installer: Installer, context: &RequestContext) -> Self {
        let (requests, bytes) = (shared.options.requests, shared.options.bytes);
        Self {
            shared,
            installer: Arc::new(installer),
            context: RequestContext {
                agent: None,
                ..context.without_validators()
            },
            requests_left: requests.into(),
            bytes_left: bytes.into(),
        }
    }

    /// Follows requirements from page to page, nearest first.
    pub(super) async fn run(self, start: Arc<ProjectPage>) {
        let mut seen = HashSet::from([start.name.clone()]);
        let mut under_way = FuturesUnordered::new();
        under_way.push(self.visit(Stop::Page(start)));
        while let Some(next) = under_way.next().await {
            for name in next.into_iter().flatten() {
                if seen.insert(name.clone()) {
                    under_way.push(self.visit(Stop::Project(name)));
                }
            }
        }
    }

    /// Fetches what is at one stop, in the installer's place, and gives the projects that it leads to. `None` where the
    /// way ends: nothing is there, another lookahead goes on from here, or enough was asked.
    async fn visit(&self, stop: Stop) -> Option<Vec<ProjectName>> {
        let page = match stop {
            Stop::Page(page) => page,
            Stop::Project(name) => self.page(&name).await?,
        };
        let wheel = self.likely_wheel(page).await?;
        let metadata = self.metadata(wheel).await?;
        Some(requirements(&metadata, &self.installer))
    }

    async fn page(&self, project: &ProjectName) -> Option<Arc<ProjectPage>> {
        let (_permit, thing) = self.turn(Thing::Page(project.clone())).await?;
        let reply = self
            .shared
            .inner
            .page(project, &self.context)
            .await
            .ok()?
            .found()?;
        match is_fetched(&reply.cache_status) {
            true => thing.fetched(),
            false => self.give_back(),
        }
        Some(reply.page)
    }

    async fn likely_wheel(&self, page: Arc<ProjectPage>) -> Option<Arc<FileEntry>> {
        let (is_large, installer) = (page.files.len() > LARGE, self.installer.clone());
        let look = move || candidates::wheel(&page, &installer).cloned().map(Arc::new);
        match is_large {
            true => tokio::task::spawn_blocking(look).await.ok().flatten(),
            false => look(),
        }
    }

    async fn metadata(&self, wheel: Arc<FileEntry>) -> Option<Bytes> {
        let (_permit, thing) = self.turn(Thing::Metadata(wheel.path.clone())).await?;
        let request = FileRequest::metadata(wheel.path.clone()).with_entry(wheel);
        let reply = self
            .shared
            .inner
            .file(&request, &self.context)
            .await
            .ok()?
            .found()?;
        let is_new = is_fetched(&reply.cache_status);
        let metadata = reply.body.collect(METADATA_LIMIT).await.ok()?;
        if !is_new {
            self.give_back();
            return Some(metadata);
        }
        thing.fetched();
        let bytes = metadata.len() as u64;
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let _ = self
            .bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        Some(metadata)
    }

    /// Waits until few enough clients wait and few enough requests are under way, and takes one request off what is
    /// left.
    async fn turn(&self, thing: Thing) -> Option<(SemaphorePermit<'_>, Begun<'_>)> {
        let permit = self.shared.under_way.acquire().await.ok()?;
        loop {
            // Pairs with the fence of `Waiting`: the permit is taken before the clients are counted.
            fence(Ordering::SeqCst);
            let answered = self.shared.answered.notified();
            if self.shared.waiting.load(Ordering::Relaxed) <= self.shared.options.gives_way_to {
                break;
            }
            answered.await;
        }
        let begun = self.shared.prefetch_usage.begin(thing)?;
        let one_less = |left: u32| left.checked_sub(1);
        let is_left = self.bytes_left.load(Ordering::Relaxed) > 0
            && self
                .requests_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok();
        is_left.then_some((permit, begun))
    }

    /// The request reached no upstream.
    fn give_back(&self) {
        self.requests_left.fetch_add(1, Ordering::Relaxed);
    }
}
