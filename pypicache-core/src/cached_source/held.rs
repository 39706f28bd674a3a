//! What a cache keeps of a page, and the pure rules about it: how old it is, and whether a new word replaces it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::model::{CoreMetadata, FileKind, ProjectPage};
use crate::source::{Freshness, Validators};

/// The origin's last word on one project, as this tier heard it. This is also the record on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HeldPage {
    /// The page, or the last one before the project vanished.
    pub(super) page: Arc<ProjectPage>,
    /// The origin has since said that the project does not exist. The page serves locked links only.
    pub(super) gone: bool,
    pub(super) validators: Option<Validators>,
    /// When the word was heard, by this machine's clock.
    heard_at: SystemTime,
    /// Its age when it was heard.
    age_then: Duration,
    lifetime: Duration,
}

/// Whether a new page takes the place of the held one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does.
    Replace,
    /// It is older than what is held: only the time of hearing is renewed.
    KeepHeld,
    /// All files vanished without a word about why: not believed at first sight.
    Doubt,
}

impl HeldPage {
    pub(super) fn new(
        page: Arc<ProjectPage>,
        validators: Option<Validators>,
        freshness: Freshness,
        now: SystemTime,
    ) -> Self {
        Self {
            page,
            gone: false,
            validators,
            heard_at: now,
            age_then: freshness.age,
            lifetime: freshness.lifetime,
        }
    }

    /// The same page, confirmed by the origin.
    pub(super) fn confirmed(&self, freshness: Freshness, now: SystemTime) -> Self {
        Self {
            gone: false,
            heard_at: now,
            age_then: freshness.age,
            lifetime: freshness.lifetime,
            ..self.clone()
        }
    }

    /// The origin says that the project is no more.
    pub(super) fn vanished(&self, freshness: Freshness, now: SystemTime) -> Self {
        Self {
            gone: true,
            validators: None,
            ..self.confirmed(freshness, now)
        }
    }

    /// Age and lifetime now. A clock that was set back makes nothing younger than when it was heard.
    pub(super) fn freshness(&self, now: SystemTime) -> Freshness {
        let rest = now.duration_since(self.heard_at).unwrap_or_default();
        Freshness {
            age: self.age_then,
            lifetime: self.lifetime,
        }
        .after(rest)
    }
}

/// Compares a new page with what is held (`None`: nothing).
pub(super) fn judge(held: Option<&HeldPage>, new: &ProjectPage) -> Verdict {
    let Some(held) = held.filter(|held| !held.gone) else {
        return Verdict::Replace;
    };
    if let (Some(known), Some(given)) = (held.page.last_serial, new.last_serial)
        && given < known
    {
        return Verdict::KeepHeld;
    }
    if new.files.is_empty() && !held.page.files.is_empty() && new.status.marker != "quarantined" {
        return Verdict::Doubt;
    }
    Verdict::Replace
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
mod tests {
    use super::*;
    use crate::Clock;
    use crate::model::{FileEntry, FilePath, ProjectName, ProjectStatus};

    fn page(files: usize, serial: Option<u64>) -> ProjectPage {
        let mut page = ProjectPage::new(ProjectName::parse("six").unwrap());
        let entry = |i| FileEntry::new(FilePath::new(&format!("pypi/x/six-1.{i}.tar.gz")).unwrap());
        page.files = (0..files).map(entry).collect();
        page.last_serial = serial;
        page
    }

    fn held(page: ProjectPage, clock: &Clock) -> HeldPage {
        let freshness = Freshness {
            age: Duration::from_secs(100),
            lifetime: Duration::from_secs(600),
        };
        HeldPage::new(Arc::new(page), None, freshness, clock.now())
    }

    #[test]
    fn age_is_inherited_and_grows() {
        let clock = Clock::manual();
        let held = held(page(1, None), &clock);
        assert!(held.freshness(clock.now()).is_fresh());
        clock.advance(Duration::from_secs(500));
        assert_eq!(held.freshness(clock.now()).age, Duration::from_secs(600));
        assert!(!held.freshness(clock.now()).is_fresh());
    }

    #[test]
    fn a_clock_set_back_makes_nothing_younger() {
        let clock = Clock::manual();
        let held = held(page(1, None), &clock);
        let earlier = clock.now() - Duration::from_secs(3600);
        assert_eq!(held.freshness(earlier).age, Duration::from_secs(100));
    }

    #[test]
    fn an_older_serial_and_a_sudden_empty_page_do_not_replace() {
        let clock = Clock::manual();
        let held = held(page(2, Some(10)), &clock);
        assert_eq!(judge(Some(&held), &page(3, Some(9))), Verdict::KeepHeld);
        assert_eq!(judge(Some(&held), &page(3, Some(11))), Verdict::Replace);
        assert_eq!(judge(Some(&held), &page(0, Some(11))), Verdict::Doubt);
        assert_eq!(judge(None, &page(0, None)), Verdict::Replace);
        let mut quarantined = page(0, None);
        quarantined.status = ProjectStatus {
            marker: "quarantined".into(),
            reason: None,
        };
        assert_eq!(judge(Some(&held), &quarantined), Verdict::Replace);
    }
}
