//! What a cache keeps of a page, and the pure rules about it: how old it is, how long it may be shown, and whether
//! a new word replaces it. All of them are told the time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::options::{CacheOptions, Retention};
use crate::model::{CoreMetadata, FileEntry, FileKind, FilePath, ProjectPage, Sha256, Yanked};
use crate::source::{Freshness, Validators};

/// How far ahead of this machine's clock a record may be before its own word about its age counts for nothing.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// The origin's last word on one project, as this tier heard it. This is also the record on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HeldPage {
    /// The page, or the last one before the project vanished.
    pub(super) page: Arc<ProjectPage>,
    /// Files that were on the page once and are held: locked links to them go on working.
    #[serde(default)]
    vanished: Vec<FileEntry>,
    /// What the page says wrongly of files: found out by having them.
    #[serde(default)]
    corrections: Vec<Correction>,
    /// The origin has since said that the project does not exist. The page serves locked links only.
    pub(super) gone: bool,
    pub(super) validators: Option<Validators>,
    /// When the answer came, by this machine's clock (RFC 9111 section 4.2.3).
    #[serde(alias = "heard_at")]
    response_time: SystemTime,
    /// Its age at that time.
    #[serde(alias = "age_then")]
    age_at_response: Duration,
    lifetime: Duration,
    /// How long past its lifetime it may be shown while the origin cannot be asked; `None`: for ever.
    #[serde(default)]
    stale_for: Option<Duration>,
    /// The page with vanished files among the others, where they are to be shown.
    #[serde(skip)]
    offered: Option<Arc<ProjectPage>>,
}

/// What is known better of a file than its page says. It counts for these bytes only, on every page that lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Correction {
    pub(super) path: FilePath,
    pub(super) sha256: Option<Sha256>,
    /// The length in bytes of what the digest was found right of.
    pub(super) size: Option<u64>,
    /// The METADATA in the wheel: its digest, or that there is none.
    pub(super) core_metadata: Option<CoreMetadata>,
}

impl Correction {
    pub(super) fn of_size(entry: &FileEntry, size: u64) -> Self {
        Self {
            size: Some(size),
            ..Self::of(entry)
        }
    }

    pub(super) fn of_metadata(entry: &FileEntry, core_metadata: CoreMetadata) -> Self {
        Self {
            core_metadata: Some(core_metadata),
            ..Self::of(entry)
        }
    }

    fn of(entry: &FileEntry) -> Self {
        Self {
            path: entry.path.clone(),
            sha256: entry.hashes.get_sha256(),
            size: None,
            core_metadata: None,
        }
    }

    fn applies_to(&self, file: &FileEntry) -> bool {
        file.path == self.path && file.hashes.get_sha256() == self.sha256
    }

    fn apply(&self, file: &mut FileEntry) {
        // What a page does not say is not added to it.
        if file.size.is_some() {
            file.size = self.size.or(file.size);
        }
        file.core_metadata = self.core_metadata.unwrap_or(file.core_metadata);
    }
}

/// Whether a new page takes the place of the held one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// It does.
    Replace,
    /// It is older than what is held: only the time of hearing is renewed.
    KeepHeld,
    /// All files vanished without a word about why: not believed at first sight.
    Unconfirmed,
}

impl HeldPage {
    pub(super) fn new(
        page: Arc<ProjectPage>,
        vanished: Vec<FileEntry>,
        validators: Option<Validators>,
        freshness: Freshness,
        now: SystemTime,
        options: &CacheOptions,
    ) -> Self {
        let held = Self {
            page,
            vanished,
            corrections: Vec::new(),
            gone: false,
            validators,
            response_time: now,
            age_at_response: freshness.age,
            lifetime: capped(freshness, options),
            stale_for: options.max_stale,
            offered: None,
        };
        held.offering(options.vanished)
    }

    /// The same page, confirmed by the origin.
    pub(super) fn confirmed(&self, freshness: Freshness, now: SystemTime, options: &CacheOptions) -> Self {
        Self {
            gone: false,
            response_time: now,
            age_at_response: freshness.age,
            lifetime: capped(freshness, options),
            stale_for: options.max_stale,
            ..self.clone()
        }
    }

    /// The origin says that the project is no more.
    pub(super) fn vanished(&self, freshness: Freshness, now: SystemTime, options: &CacheOptions) -> Self {
        Self {
            gone: true,
            validators: None,
            ..self.confirmed(freshness, now, options)
        }
    }

    /// The same page with one thing more that is known better. What confirmed it before confirms it no more.
    pub(super) fn corrected(&self, correction: Correction, retention: Retention) -> Self {
        let mut corrected = Self {
            validators: None,
            ..self.clone()
        };
        for files in [
            &mut Arc::make_mut(&mut corrected.page).files,
            &mut corrected.vanished,
        ] {
            let mut same = files.iter_mut().filter(|file| correction.applies_to(file));
            same.by_ref().for_each(|file| correction.apply(file));
        }
        corrected.corrections.push(correction);
        corrected.offering(retention)
    }

    /// With the corrections of the page that was held before, as far as they are about files of this one.
    pub(super) fn with_corrections_of(mut self, held: &Self) -> Self {
        let files = &self.page.files;
        let is_meant = |correction: &&Correction| files.iter().any(|file| correction.applies_to(file));
        self.corrections = held.corrections.iter().filter(is_meant).cloned().collect();
        self
    }

    /// A new page as it is with what is known better of its files.
    pub(super) fn correct(&self, page: Arc<ProjectPage>) -> Arc<ProjectPage> {
        if self.corrections.is_empty() {
            return page;
        }
        let mut page = Arc::unwrap_or_clone(page);
        for correction in &self.corrections {
            let mut files = page.files.iter_mut();
            if let Some(file) = files.find(|file| correction.applies_to(file)) {
                correction.apply(file);
            }
        }
        Arc::new(page)
    }

    /// Puts vanished files on the page, as far as they are to be shown.
    pub(super) fn offering(mut self, retention: Retention) -> Self {
        let is_shown = retention != Retention::Drop && !self.vanished.is_empty() && !self.is_quarantined();
        self.offered = is_shown.then(|| {
            let mut page = ProjectPage::clone(&self.page);
            page.files.extend(self.vanished.iter().cloned().map(|mut file| {
                if retention == Retention::Mark && !file.yanked.is_yanked() {
                    file.yanked = Yanked::Because("no longer offered by the index it came from".to_owned());
                }
                file
            }));
            Arc::new(page)
        });
        self
    }

    /// The page as it is shown.
    pub(super) fn offered(&self) -> &Arc<ProjectPage> {
        self.offered.as_ref().unwrap_or(&self.page)
    }

    /// The entry of a file that is or was on the page. What is quarantined is not handed out at all.
    pub(super) fn entry(&self, path: &FilePath) -> Option<&FileEntry> {
        self.page.file(path).or_else(|| {
            let mut vanished = self.vanished.iter().filter(|_| !self.is_quarantined());
            vanished.find(|file| file.path == *path)
        })
    }

    /// All files that it knows of.
    pub(super) fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.page.files.iter().chain(&self.vanished)
    }

    /// How many files it knows of.
    pub(super) fn len(&self) -> usize {
        self.page.files.len() + self.vanished.len()
    }

    fn is_quarantined(&self) -> bool {
        self.page.status.marker == "quarantined"
    }

    /// The upstream that the project belongs to, where it came from a source of that upstream's own and not from
    /// the one that all upstreams of the source `name` are equals for.
    pub(super) fn pinned_upstream(&self, name: &str) -> Option<Arc<str>> {
        self.page
            .files
            .first()
            .and_then(|file| pinned_upstream_of(file, name))
    }

    /// Age and lifetime now. A clock that was set back makes nothing younger than when it was heard; a record from
    /// the future has lost its claim to be fresh.
    pub(super) fn freshness(&self, now: SystemTime) -> Freshness {
        let (rest, ahead) = match now.duration_since(self.response_time) {
            Ok(rest) => (rest, Duration::ZERO),
            Err(error) => (Duration::ZERO, error.duration()),
        };
        let lost = if ahead > CLOCK_TOLERANCE {
            self.lifetime
        } else {
            Duration::ZERO
        };
        Freshness {
            age: self.age_at_response.max(lost),
            lifetime: self.lifetime,
        }
        .after(rest)
    }

    /// Whether whoever told it could not ask either: it was past its lifetime when it was heard. Less than a second
    /// is what just now means where nothing has a lifetime.
    pub(super) fn was_stale_at_response(&self) -> bool {
        self.age_at_response >= Duration::from_secs(1) && self.age_at_response >= self.lifetime
    }

    /// Whether it may still be shown while the origin cannot be asked.
    pub(super) fn is_servable(&self, now: SystemTime) -> bool {
        let Freshness { age, lifetime } = self.freshness(now);
        self.stale_for
            .is_none_or(|bound| age.saturating_sub(lifetime) <= bound)
    }
}

/// The lifetime that counts here: what is left of the origin's, within the configured cap.
fn capped(freshness: Freshness, options: &CacheOptions) -> Duration {
    let cap = options.max_lifetime.map(|cap| freshness.age.saturating_add(cap));
    cap.map_or(freshness.lifetime, |cap| freshness.lifetime.min(cap))
}

/// The upstream that alone may be asked for the file: see [`HeldPage::pinned_upstream`].
pub(super) fn pinned_upstream_of(file: &FileEntry, name: &str) -> Option<Arc<str>> {
    let source = file.path.as_str().split('/').next();
    let link = file.link.as_ref().filter(|_| source != Some(name));
    link.map(|link| link.upstream.clone())
}

/// What was on the held page and is not on the new one: the candidates for being kept.
pub(super) fn missing(held: &HeldPage, new: &ProjectPage) -> Vec<FileEntry> {
    let listed: HashSet<_> = new.files.iter().map(|file| &file.filename).collect();
    held.files()
        .filter(|file| !listed.contains(&file.filename))
        .cloned()
        .collect()
}

/// Files that were known with other bytes than the new page tells: the known entry and where it stands on the new page.
pub(super) fn changed(held: &HeldPage, new: &ProjectPage) -> Vec<(usize, FileEntry)> {
    let known: HashMap<_, _> = held.files().map(|file| (&file.filename, file)).collect();
    let differs = |(number, file): (usize, &FileEntry)| {
        let before = known.get(&file.filename)?;
        let (old, new) = (before.hashes.get_sha256()?, file.hashes.get_sha256()?);
        (old != new).then(|| (number, FileEntry::clone(before)))
    };
    new.files.iter().enumerate().filter_map(differs).collect()
}

/// Compares a new page with what is held (`None`: nothing).
pub(super) fn replacement(held: Option<&HeldPage>, new: &ProjectPage) -> Replacement {
    let Some(held) = held.filter(|held| !held.gone) else {
        return Replacement::Replace;
    };
    if let (Some(known), Some(given)) = (held.page.last_serial, new.last_serial)
        && given < known
    {
        return Replacement::KeepHeld;
    }
    if new.files.is_empty() && !held.page.files.is_empty() && new.status.marker != "quarantined" {
        return Replacement::Unconfirmed;
    }
    Replacement::Replace
}

/// Marks the wheels whose METADATA the upstream does not offer: this tier takes it out of the wheel.
pub(super) fn offer_metadata(page: Arc<ProjectPage>) -> Arc<ProjectPage> {
    let lacks = |page: &ProjectPage| {
        page.files
            .iter()
            .any(|file| file.filename.kind() == FileKind::Wheel && file.core_metadata == CoreMetadata::None)
    };
    if !lacks(&page) {
        return page;
    }
    let mut page = Arc::unwrap_or_clone(page);
    for file in &mut page.files {
        if file.filename.kind() == FileKind::Wheel && file.core_metadata == CoreMetadata::None {
            file.core_metadata = CoreMetadata::Derived;
        }
    }
    Arc::new(page)
}

#[cfg(test)]
mod tests;
