//! How a cache behaves.

use std::time::Duration;

use crate::{Alarms, Clock};

/// How a [`super::CachedSource`] behaves; the defaults suit PyPI and other tiers alike.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Never ask the source behind; answer from what is held.
    pub offline: bool,
    /// How long a held, stale page may wait for its confirmation before it goes out as it is.
    pub revalidate_timeout: Duration,
    /// For how long after a failure held pages do not wait at all (confirmation goes on behind).
    pub failure_backoff: Duration,
    /// A page counts as fresh for so long at the most, from when it is heard. `None`: as long as the origin says.
    pub max_lifetime: Option<Duration>,
    /// "There is no such project" counts for so long at the most.
    pub negative_lifetime: Duration,
    /// How long past its lifetime a page is shown while the origin cannot be asked. `None`: for ever.
    pub max_stale: Option<Duration>,
    /// What becomes of held files that the origin no longer lists.
    pub vanished: Retention,
    /// What a stale page lists while the origin cannot be asked.
    pub unreachable: Unreachable,
    /// Whether files are kept.
    pub files: Files,
    /// How many connections one large file may have whose upstream is slow on each; 1: no further ones.
    pub connections_per_file: u32,
    /// How many files on pages are kept in memory, counted over all pages.
    pub pages_in_memory: u64,
    /// What tells the time.
    pub clock: Clock,
    /// Who is told of bytes that are not what they should be.
    pub alarms: Alarms,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            offline: false,
            revalidate_timeout: Duration::from_millis(500),
            failure_backoff: Duration::from_secs(5),
            max_lifetime: None,
            negative_lifetime: Duration::from_secs(60),
            max_stale: None,
            vanished: Retention::default(),
            unreachable: Unreachable::default(),
            files: Files::default(),
            connections_per_file: 4,
            pages_in_memory: 250_000,
            clock: Clock::system(),
            alarms: Alarms::default(),
        }
    }
}

/// What becomes of held files that the origin no longer lists. Links that somebody locked go on working in each
/// case; files of a quarantined project are not handed out in any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// They stay on the page.
    Keep,
    /// They stay on the page, yanked: installers take them only where they are pinned.
    Mark,
    /// They leave the page, as at the origin.
    #[default]
    Drop,
}

/// What a stale page lists while the origin cannot be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unreachable {
    /// All that the origin listed.
    #[default]
    Everything,
    /// What is held, so that a resolver picks what can be installed.
    Held,
}

/// Whether files are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Files {
    /// In the store.
    #[default]
    Store,
    /// Not here: they are passed through, and checked on the way. Suits a tier whose local client keeps them.
    Stream,
}
