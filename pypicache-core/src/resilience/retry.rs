//! How often the same thing is asked again, and after which pause.

use std::time::Duration;

/// Attempts that follow each other without bringing anything. Progress begins the count anew.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    /// How many further attempts in a row may bring nothing.
    limit: u32,
    /// How many there may be in all, progress or not: an upstream that hands out single bytes ends too.
    total_limit: u32,
    first_pause: Duration,
    fruitless: u32,
    total: u32,
}

impl Retry {
    /// Up to `limit` further attempts in a row; the pause before the first is about `first_pause`, then doubles.
    pub(crate) fn new(limit: u32, first_pause: Duration) -> Self {
        Self {
            limit,
            total_limit: limit.saturating_mul(20),
            first_pause,
            fruitless: 0,
            total: 0,
        }
    }

    /// The last attempt brought something.
    pub(crate) fn progressed(&mut self) {
        self.fruitless = 0;
    }

    /// The pause before the next attempt; `None` where there is to be none. `jitter` between 0 and 1 spreads
    /// the pauses of many clients: it takes away up to half.
    pub(crate) fn next_pause(&mut self, jitter: f64) -> Option<Duration> {
        if self.fruitless >= self.limit || self.total >= self.total_limit {
            return None;
        }
        let pause = self.first_pause * 2u32.saturating_pow(self.fruitless.min(6));
        self.fruitless += 1;
        self.total += 1;
        Some(pause.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0)))
    }
}

/// A number between 0 and 1 that nobody else draws at the same time. Not for secrets.
pub(crate) fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let drawn = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(drawn >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let mut retry = Retry::new(3, Duration::from_millis(100));
        let pauses: Vec<_> = std::iter::from_fn(|| retry.next_pause(0.0))
            .map(|p| p.as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400]);
    }

    #[test]
    fn progress_begins_anew_but_not_for_ever() {
        let mut retry = Retry::new(2, Duration::from_millis(100));
        let mut attempts = 0;
        while let Some(pause) = retry.next_pause(1.0) {
            assert_eq!(pause, Duration::from_millis(50));
            retry.progressed();
            attempts += 1;
        }
        assert_eq!(attempts, 40);
    }

    #[test]
    fn chances_differ_and_stay_within_bounds() {
        let drawn: Vec<_> = (0..20).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|jitter| (0.0..=1.0).contains(jitter)));
        assert!(drawn.iter().any(|jitter| *jitter != drawn[0]));
    }
}
