//! Files of one's own laid over a project of somebody else: the one way to a page of two sources, and only where the
//! configuration names the project.
//!
//! A team that builds wheels which the project itself does not offer attaches them under a local version (`2.1+acme.1`) or a
//! build tag, so that no name stands for two files. The page says of each file whose it is.

use std::collections::HashSet;
use std::sync::Arc;

use moka::sync::Cache;

use crate::model::{FileEntry, ProjectName, ProjectPage};

/// How many files the merged pages in memory list together.
const FILES_IN_MEMORY: u64 = 50_000;

/// Pages that were put together, as long as neither of their parts changes.
#[derive(Debug)]
pub(super) struct Overlays(Cache<ProjectName, Merged>);

#[derive(Debug, Clone)]
struct Merged {
    below: Arc<ProjectPage>,
    above: Vec<Arc<ProjectPage>>,
    page: Arc<ProjectPage>,
}

impl Overlays {
    pub(super) fn new() -> Self {
        let weigh =
            |_: &ProjectName, merged: &Merged| u32::try_from(merged.page.files.len()).unwrap_or(u32::MAX);
        Self(
            Cache::builder()
                .max_capacity(FILES_IN_MEMORY)
                .weigher(weigh)
                .build(),
        )
    }

    /// The owner's page with the others' files behind its own.
    pub(super) fn merged(&self, below: Arc<ProjectPage>, above: Vec<Arc<ProjectPage>>) -> Arc<ProjectPage> {
        if above.iter().all(|page| page.files.is_empty()) {
            return below;
        }
        let is_same = |merged: &Merged| {
            let pairs = || merged.above.iter().zip(&above);
            Arc::ptr_eq(&merged.below, &below)
                && merged.above.len() == above.len()
                && pairs().all(|(known, now)| Arc::ptr_eq(known, now))
        };
        if let Some(known) = self.0.get(&below.name).filter(is_same) {
            return known.page;
        }
        let page = Arc::new(merge(&below, &above));
        let merged = Merged {
            below,
            above,
            page: page.clone(),
        };
        self.0.insert(page.name.clone(), merged);
        page
    }
}

/// No name twice: the owner's file counts.
fn merge(below: &ProjectPage, above: &[Arc<ProjectPage>]) -> ProjectPage {
    let mut page = below.clone();
    let mut names: HashSet<_> = below.files.iter().map(|file| file.filename.clone()).collect();
    for over in above {
        let new = |file: &&FileEntry| names.insert(file.filename.clone());
        page.files.extend(over.files.iter().filter(new).cloned());
        if let Some(versions) = &mut page.versions {
            let more = over.versions.iter().flatten();
            let more: Vec<_> = more
                .filter(|version| !versions.contains(version))
                .cloned()
                .collect();
            versions.extend(more);
        }
    }
    page
}
