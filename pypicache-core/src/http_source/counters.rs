//! What is counted of an upstream, for whoever watches it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::HttpSource;

/// Bounds of the times that are counted apart, in seconds.
const BOUNDS: [f64; 8] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What became of an upstream's requests since the process began.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamTotals {
    /// Its index URL, without credentials.
    pub upstream: String,
    /// Requests that it answered, in whatever way.
    pub answered: u64,
    /// Requests that it did not answer.
    pub failed: u64,
    /// Whether it answered the last one; true before the first.
    pub is_well: bool,
    /// How long the heads of its answers took, all together, in seconds.
    pub seconds: f64,
    /// How many of them took at most so long (in seconds), cumulated.
    pub within: Vec<(f64, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    failed: AtomicU64,
    is_unwell: AtomicBool,
    micros: AtomicU64,
    within: [AtomicU64; BOUNDS.len()],
}

impl Counters {
    /// Takes note of a request that took so long.
    pub(super) fn note(&self, is_answered: bool, took: Duration) {
        self.is_unwell.store(!is_answered, Ordering::Relaxed);
        if !is_answered {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        for (bound, count) in BOUNDS.iter().zip(&self.within) {
            if took.as_secs_f64() <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl HttpSource {
    /// What was counted so far.
    #[must_use]
    pub fn totals(&self) -> UpstreamTotals {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counters = &self.counters;
        UpstreamTotals {
            upstream: self.label.to_string(),
            answered: of(&counters.answered),
            failed: of(&counters.failed),
            is_well: !counters.is_unwell.load(Ordering::Relaxed),
            seconds: of(&counters.micros) as f64 / 1e6,
            within: BOUNDS
                .iter()
                .copied()
                .zip(counters.within.iter().map(of))
                .collect(),
        }
    }
}
