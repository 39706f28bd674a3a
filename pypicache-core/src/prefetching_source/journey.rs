//! One journey: from a page that an installer asked for to what it will ask for next, as far as the bounds allow.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::installer::Installer;
use super::{Shared, Thing, is_fetched, likely};
use crate::model::{FileEntry, ProjectName, ProjectPage};
use crate::source::{Answer, Ask, FileQuestion, IndexSource as _};

/// The largest METADATA that is looked at, in bytes.
const METADATA_LIMIT: usize = 1024 * 1024;

/// Pages with more files than this are looked through off the runtime's threads.
const LARGE: usize = 300;

pub(super) struct Journey {
    shared: Arc<Shared>,
    installer: Arc<Installer>,
    ask: Ask,
    requests_left: u32,
    bytes_left: u64,
    seen: HashSet<ProjectName>,
}

impl Journey {
    pub(super) fn new(shared: Arc<Shared>, installer: Installer, ask: &Ask) -> Self {
        let (requests_left, bytes_left) = (shared.options.requests, shared.options.bytes);
        Self {
            shared,
            installer: Arc::new(installer),
            ask: Ask {
                agent: None,
                ..ask.without_validators()
            },
            requests_left,
            bytes_left,
            seen: HashSet::new(),
        }
    }

    /// Follows requirements from page to page, nearest first.
    pub(super) async fn travel(mut self, start: Arc<ProjectPage>) {
        self.seen.insert(start.name.clone());
        let (mut to_fetch, mut under_way) = (VecDeque::new(), FuturesUnordered::new());
        under_way.push(self.visit(Stop::Page(start)));
        while let Some(found) = under_way.next().await {
            self.account(&found);
            to_fetch.extend(
                found
                    .next
                    .into_iter()
                    .filter(|name| self.seen.insert(name.clone())),
            );
            while self.requests_left > 0
                && self.bytes_left > 0
                && let Some(name) = to_fetch.pop_front()
            {
                self.requests_left -= 1;
                under_way.push(self.visit(Stop::Project(name)));
            }
        }
    }

    fn account(&mut self, found: &Found) {
        self.requests_left = self
            .requests_left
            .saturating_sub(u32::from(found.fetched_metadata));
        self.bytes_left = self.bytes_left.saturating_sub(found.bytes);
    }

    /// Fetches what is at one stop, in the installer's place.
    fn visit(&self, stop: Stop) -> impl Future<Output = Found> + Send + use<> {
        let (shared, installer, ask) = (self.shared.clone(), self.installer.clone(), self.ask.clone());
        async move {
            let page = match stop {
                Stop::Page(page) => Some(page),
                Stop::Project(name) => shared.page_ahead(&name, &ask).await,
            };
            let Some(page) = page else { return Found::default() };
            let Some(wheel) = likely_wheel(page, installer.clone()).await else {
                return Found::default();
            };
            shared.metadata_ahead(&wheel, &installer, &ask).await
        }
    }
}

/// Where a journey goes.
enum Stop {
    /// A page that is there already.
    Page(Arc<ProjectPage>),
    /// A project whose page is yet to be asked for.
    Project(ProjectName),
}

/// What a stop led to.
#[derive(Default)]
struct Found {
    next: Vec<ProjectName>,
    fetched_metadata: bool,
    bytes: u64,
}

/// A thing that is asked for ahead. Unless it turns out to have been fetched, it is nothing to keep account of.
struct Begun<'a> {
    shared: &'a Shared,
    thing: Option<Thing>,
}

impl Begun<'_> {
    fn is_fetched(mut self) {
        self.thing = None;
        self.shared.fetched.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            self.shared.unasked.forget(&thing);
        }
    }
}

async fn likely_wheel(page: Arc<ProjectPage>, installer: Arc<Installer>) -> Option<Arc<FileEntry>> {
    let is_large = page.files.len() > LARGE;
    let look = move || likely::wheel(&page, &installer).cloned().map(Arc::new);
    match is_large {
        true => tokio::task::spawn_blocking(look).await.ok().flatten(),
        false => look(),
    }
}

impl Shared {
    /// A project's page, asked for when no client needs the way.
    async fn page_ahead(&self, project: &ProjectName, ask: &Ask) -> Option<Arc<ProjectPage>> {
        let _permit = self.turn().await?;
        let thing = self.begin(Thing::Page(project.clone()));
        let reply = self.inner.page(project, ask).await.ok()?.found()?;
        if is_fetched(&reply.trail) {
            thing.is_fetched();
        }
        Some(reply.page)
    }

    /// METADATA of a wheel, asked for when no client needs the way, and what it leads to.
    async fn metadata_ahead(&self, wheel: &Arc<FileEntry>, installer: &Installer, ask: &Ask) -> Found {
        let Some(_permit) = self.turn().await else {
            return Found::default();
        };
        let thing = self.begin(Thing::Metadata(wheel.path.clone()));
        let question = FileQuestion::metadata(wheel.path.clone()).with_entry(wheel.clone());
        let Ok(Answer::Found(reply)) = self.inner.file(&question, ask).await else {
            return Found::default();
        };
        let is_new = is_fetched(&reply.trail);
        let Ok(metadata) = reply.body.collect(METADATA_LIMIT).await else {
            return Found::default();
        };
        let bytes = if is_new { metadata.len() as u64 } else { 0 };
        if is_new {
            thing.is_fetched();
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Found {
            next: likely::requirements(&metadata, installer),
            fetched_metadata: is_new,
            bytes,
        }
    }

    /// From now on, an installer that asks for the thing is one that it was fetched for.
    fn begin(&self, thing: Thing) -> Begun<'_> {
        self.unasked.add(thing.clone());
        Begun {
            shared: self,
            thing: Some(thing),
        }
    }

    /// Waits until few enough clients wait, and few enough questions are under way.
    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let permit = self.under_way.acquire().await.ok();
        loop {
            let answered = self.answered.notified();
            if self.waiting.load(Ordering::Relaxed) <= self.options.gives_way_to {
                return permit;
            }
            answered.await;
        }
    }
}
