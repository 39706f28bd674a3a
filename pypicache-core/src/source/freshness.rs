//! How old an answer is, and which way it took.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An answer's age and lifetime (RFC 9111 section 4.2) at the moment it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freshness {
    /// The time since the origin said it, all tiers together.
    pub age: Duration,
    /// How long the origin's word counts, from when it was said.
    pub lifetime: Duration,
}

impl Freshness {
    /// Just said, good for `lifetime`.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        Self {
            age: Duration::ZERO,
            lifetime,
        }
    }

    /// Within its lifetime.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.age < self.lifetime
    }

    /// The same answer after it rested for a while.
    #[must_use]
    pub fn after(self, rest: Duration) -> Self {
        Self {
            age: self.age.saturating_add(rest),
            ..self
        }
    }

    /// The shorter of two remaining lifetimes: for an answer made of two.
    #[must_use]
    pub fn or_shorter(self, other: Self) -> Self {
        let left = |f: &Self| f.lifetime.saturating_sub(f.age);
        if left(&other) < left(&self) { other } else { self }
    }
}

/// What a cache did for an answer, in the words of RFC 9211.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Held and fresh.
    Hit,
    /// Held, past its lifetime, and the upstream could not be asked (in time).
    Stale,
    /// Held, past its lifetime, confirmed by the upstream.
    Revalidated,
    /// Fetched for this request.
    Miss,
    /// Fetched for another request that was under way.
    Collapsed,
    /// Passed through without being kept.
    Bypass,
}

impl Outcome {
    /// The word for logs, headers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Bypass => "bypass",
        }
    }

    /// The parameters of a `Cache-Status` member (RFC 9211 section 2).
    #[must_use]
    pub fn cache_status(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "hit; fwd=stale; detail=stale-served",
            Self::Revalidated => "fwd=stale; fwd-status=304",
            Self::Miss => "fwd=uri-miss; stored",
            Self::Collapsed => "fwd=uri-miss; collapsed; stored",
            Self::Bypass => "fwd=bypass",
        }
    }
}

/// One cache's part in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The cache's name: the source's name in the configuration.
    pub cache: Arc<str>,
    /// What it did.
    pub outcome: Outcome,
}

/// The caches an answer passed, nearest to the client last; other tiers' `Cache-Status` in front, verbatim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// What the tiers above reported, as received.
    pub received: Option<Arc<str>>,
    /// This tier's caches.
    pub hops: Vec<Hop>,
    /// How much of the answer rules of this tier keep out, in words for the client.
    pub notice: Option<Arc<str>>,
}

impl CacheStatus {
    /// What one cache of this tier did, after whatever came before.
    #[must_use]
    pub fn then(mut self, cache: &Arc<str>, outcome: Outcome) -> Self {
        self.hops.push(Hop {
            cache: cache.clone(),
            outcome,
        });
        self
    }

    /// A trail that begins here.
    #[must_use]
    pub fn of(cache: &Arc<str>, outcome: Outcome) -> Self {
        Self::default().then(cache, outcome)
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self
            .hops
            .iter()
            .map(|hop| format!("{}={}", hop.cache, hop.outcome.as_str()))
            .collect();
        f.write_str(&words.join(" "))
    }
}
