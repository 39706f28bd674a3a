//! Whether a body is still coming in, or only pretends to.

use std::time::Duration;

/// Counts what comes in while somebody waits for it. Time in which nobody waits does not count: a slow reader
/// says nothing about the sender.
#[derive(Debug, Clone)]
pub(crate) struct MinRate {
    window: Duration,
    /// Bytes that have to come in each window.
    minimum: u64,
    waited: Duration,
    received: u64,
}

impl MinRate {
    /// At least `minimum` bytes have to come within each `window` of waiting.
    pub(crate) fn new(window: Duration, minimum: u64) -> Self {
        Self {
            window,
            minimum,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// How long to wait for the next piece before it is too late for this window.
    pub(crate) fn remaining_window(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// `bytes` came in after `waited`. Whether that is enough.
    pub(crate) fn keeps_up(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.received += bytes;
        if self.received >= self.minimum {
            (self.waited, self.received) = (Duration::ZERO, 0);
        }
        self.waited < self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_body_keeps_up_however_long_it_takes() {
        let mut min_rate = MinRate::new(10 * SECOND, 10_240);
        assert!((0..100_000).all(|_| min_rate.keeps_up(SECOND, 1100)));
    }

    #[test]
    fn a_trickle_and_a_silence_do_not() {
        let mut min_rate = MinRate::new(10 * SECOND, 10_240);
        let kept = (0..100).take_while(|_| min_rate.keeps_up(SECOND, 1)).count();
        assert_eq!(kept, 9);
        let mut min_rate = MinRate::new(10 * SECOND, 10_240);
        assert!(min_rate.keeps_up(7 * SECOND, 100));
        assert_eq!(min_rate.remaining_window(), 3 * SECOND);
        assert!(!min_rate.keeps_up(3 * SECOND, 0));
    }
}
