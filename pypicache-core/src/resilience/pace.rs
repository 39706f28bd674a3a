//! Whether a body is still coming in, or only pretends to.

use std::time::Duration;

/// Counts what comes in while somebody waits for it. Time in which nobody waits does not count: a slow reader
/// says nothing about the sender.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    window: Duration,
    /// Bytes that have to come in each window.
    minimum: u64,
    waited: Duration,
    received: u64,
}

impl Pace {
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
    pub(crate) fn patience(&self) -> Duration {
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
        let mut pace = Pace::new(10 * SECOND, 10_240);
        assert!((0..100_000).all(|_| pace.keeps_up(SECOND, 1100)));
    }

    #[test]
    fn a_trickle_and_a_silence_do_not() {
        let mut pace = Pace::new(10 * SECOND, 10_240);
        let kept = (0..100).take_while(|_| pace.keeps_up(SECOND, 1)).count();
        assert_eq!(kept, 9);
        let mut pace = Pace::new(10 * SECOND, 10_240);
        assert!(pace.keeps_up(7 * SECOND, 100));
        assert_eq!(pace.patience(), 3 * SECOND);
        assert!(!pace.keeps_up(3 * SECOND, 0));
    }
}
