//! Showing only what can be installed right now: pages cut down to the files that are held.

use std::collections::HashSet;
use std::sync::Arc;

use super::Shared;
use super::held::HeldPage;
use crate::model::{FileEntry, ProjectPage};
use crate::offload::offload;
use crate::source::{Answer, CacheStatus, Freshness, Outcome, PageReply, RequestContext, Sibling};

impl Shared {
    /// Only what is held, however old. A project of which nothing is held does not exist in this view.
    pub(super) async fn held_view(
        self: &Arc<Self>,
        held: Option<Arc<HeldPage>>,
        context: &RequestContext,
    ) -> Answer<PageReply> {
        let Some(held) = held else {
            return Answer::NotFound(Freshness::default());
        };
        let outcome = match held.freshness(self.options.clock.now()).is_fresh() {
            true => Outcome::Hit,
            false => Outcome::Stale,
        };
        if held.gone {
            return self.reply(&held, outcome, context);
        }
        match self.reply_held_files(&held, outcome).await {
            Answer::Found(reply) if reply.page.files.is_empty() => Answer::NotFound(Freshness::default()),
            answer => answer,
        }
    }

    /// The page with those of its files that the store has.
    pub(super) async fn reply_held_files(
        self: &Arc<Self>,
        held: &Arc<HeldPage>,
        outcome: Outcome,
    ) -> Answer<PageReply> {
        let (shared, page) = (self.clone(), held.offered().clone());
        let page = offload(move || Ok(Arc::new(shared.cut_down(&page)))).await;
        Answer::Found(PageReply {
            page: page.unwrap_or_else(|_| held.offered().clone()),
            freshness: held.freshness(self.options.clock.now()),
            validators: None,
            cache_status: CacheStatus::of(&self.name, outcome),
        })
    }

    /// Blocks. METADATA is offered where it is held, or can be taken out of the held wheel.
    fn cut_down(&self, page: &ProjectPage) -> ProjectPage {
        let is_held = |file: &&FileEntry| self.has_file(file, Sibling::File);
        let files: Vec<_> = page.files.iter().filter(is_held).cloned().collect();
        let there: HashSet<_> = files
            .iter()
            .filter_map(|file| file.filename.version_for(&page.name))
            .collect();
        let versions = page.versions.as_ref().map(|versions| {
            let is_there = |text: &&String| text.parse().is_ok_and(|version| there.contains(&version));
            versions.iter().filter(is_there).cloned().collect()
        });
        ProjectPage {
            files,
            versions,
            ..page.clone()
        }
    }
}
