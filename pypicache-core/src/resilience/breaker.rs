//! Whether an upstream is asked at all.
//!
//! ```text
//! closed --(failures cost too much, or are too many)--> open --(pause over, one request)--> probing
//!    ^                                                   ^                                     |
//!    +-------------------- any answer -------------------+------------- failed: longer pause --+
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// How many answers in a row may be nonsense.
const INVALID_RESPONSE_LIMIT: u32 = 5;

/// The first pause; each failed probe doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that we choose ourselves: how long somebody who comes back online may be turned away.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The longest pause that an upstream may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Nobody there, or not in time: what it cost counts.
    Unreachable,
    /// Somebody is there and answers nonsense: counts once, since only this one thing may be broken.
    Unwell,
    /// It asks to be left alone for so long.
    Busy(Duration),
}

/// Whether to ask now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Yes.
    Go,
    /// Yes, but nobody should wait for it long: it finds out whether the upstream is back.
    Probe,
    /// No, not for so long.
    Refused(Duration),
}

/// One upstream's health.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    /// What failures in a row may cost before the upstream is left alone.
    cost_limit: Duration,
    invalid_responses: u32,
    cost: Duration,
    answered_at: Option<Instant>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
        pause: Duration,
    },
    /// One request is out to find out; it is given up for lost after the pause.
    Probing {
        since: Instant,
        pause: Duration,
    },
}

impl Breaker {
    pub(crate) fn new(cost_limit: Duration) -> Self {
        Self {
            cost_limit,
            invalid_responses: 0,
            cost: Duration::ZERO,
            answered_at: None,
            state: State::Closed,
        }
    }

    /// Whether a request may go out at `now`. A [`Permit::Probe`] has to be followed by a report.
    pub(crate) fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed => Permit::Go,
            State::Open { until, .. } if now < until => Permit::Refused(until - now),
            State::Probing { since, pause } if now < since + pause => Permit::Refused(since + pause - now),
            State::Open { pause, .. } | State::Probing { pause, .. } => {
                self.state = State::Probing { since: now, pause };
                Permit::Probe
            }
        }
    }

    /// It answered something that makes sense.
    pub(crate) fn answered(&mut self, now: Instant) {
        *self = Self {
            answered_at: Some(now),
            ..Self::new(self.cost_limit)
        };
    }

    /// A request that was asked at `began` failed at `now`.
    pub(crate) fn failed(&mut self, trouble: FailureKind, began: Instant, now: Instant) {
        if let FailureKind::Busy(retry_after) = trouble {
            let pause = retry_after.clamp(FIRST_PAUSE, LONGEST_RETRY_AFTER);
            self.open(now, pause);
            return;
        }
        // Others were answered meanwhile: it is this request that is difficult, not the upstream that is gone.
        if self.answered_at.is_some_and(|at| at > began) && self.state == State::Closed {
            return;
        }
        match trouble {
            // A refused connection costs next to nothing: then there is nothing to be saved by not asking.
            FailureKind::Unreachable => self.cost += now.saturating_duration_since(began),
            FailureKind::Unwell | FailureKind::Busy(_) => self.invalid_responses += 1,
        }
        match self.state {
            State::Closed
                if self.cost > self.cost_limit || self.invalid_responses >= INVALID_RESPONSE_LIMIT =>
            {
                self.open(now, FIRST_PAUSE);
            }
            State::Probing { since, pause } if began >= since => {
                self.open(now, (pause * 2).min(LONGEST_PAUSE));
            }
            // Requests that were out already when it was opened say nothing new.
            State::Closed | State::Open { .. } | State::Probing { .. } => {}
        }
    }

    /// Whether a request would be refused at `now`.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until, .. } => now < until,
            State::Probing { since, pause } => now < since + pause,
        }
    }

    fn open(&mut self, now: Instant, pause: Duration) {
        self.state = State::Open {
            until: now + pause,
            pause,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn hang(breaker: &mut Breaker, now: &mut Instant) {
        let began = *now;
        *now += 1800 * MS;
        breaker.failed(FailureKind::Unreachable, began, *now);
    }

    #[test]
    fn one_hang_is_enough_and_one_probe_goes_out_at_a_time() {
        let (mut breaker, mut now) = (Breaker::new(400 * MS), Instant::now());
        assert_eq!(breaker.permit(now), Permit::Go);
        hang(&mut breaker, &mut now);
        assert_eq!(breaker.permit(now + 999 * MS), Permit::Refused(MS));
        now += 1000 * MS;
        assert_eq!(breaker.permit(now), Permit::Probe);
        assert_eq!(breaker.permit(now), Permit::Refused(1000 * MS));
        hang(&mut breaker, &mut now);
        assert_eq!(
            breaker.permit(now + 1999 * MS),
            Permit::Refused(MS),
            "twice the pause"
        );
        assert_eq!(breaker.permit(now + 2000 * MS), Permit::Probe);
        breaker.answered(now + 2010 * MS);
        assert_eq!(breaker.permit(now + 2010 * MS), Permit::Go);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_a_lost_probe_blocks_nothing() {
        let (mut breaker, mut now) = (Breaker::new(400 * MS), Instant::now());
        hang(&mut breaker, &mut now);
        for _ in 0..10 {
            now += LONGEST_PAUSE;
            assert_eq!(breaker.permit(now), Permit::Probe);
            hang(&mut breaker, &mut now);
        }
        assert_eq!(breaker.permit(now), Permit::Refused(LONGEST_PAUSE));
        assert_eq!(breaker.permit(now + LONGEST_PAUSE), Permit::Probe);
        // Whoever was to report was cancelled: the next one is let through in its place.
        assert_eq!(breaker.permit(now + 2 * LONGEST_PAUSE), Permit::Probe);
    }

    #[test]
    fn nonsense_counts_by_its_number() {
        let (mut breaker, now) = (Breaker::new(400 * MS), Instant::now());
        for _ in 0..4 {
            breaker.failed(FailureKind::Unwell, now, now + 700 * MS);
            assert_eq!(breaker.permit(now + 700 * MS), Permit::Go);
        }
        breaker.failed(FailureKind::Unwell, now, now + 700 * MS);
        assert_eq!(breaker.permit(now + 700 * MS), Permit::Refused(1000 * MS));
    }

    #[test]
    fn a_slow_question_among_answered_ones_opens_nothing() {
        let (mut breaker, began) = (Breaker::new(400 * MS), Instant::now());
        breaker.answered(began + 100 * MS);
        breaker.failed(FailureKind::Unreachable, began, began + 1800 * MS);
        assert_eq!(breaker.permit(began + 1800 * MS), Permit::Go);
    }

    #[test]
    fn who_asks_to_be_left_alone_is_left_alone_for_a_while() {
        let (mut breaker, now) = (Breaker::new(400 * MS), Instant::now());
        breaker.failed(FailureKind::Busy(Duration::from_secs(7)), now, now);
        assert_eq!(breaker.permit(now), Permit::Refused(Duration::from_secs(7)));
        breaker.failed(FailureKind::Busy(Duration::from_secs(86_400)), now, now);
        assert_eq!(breaker.permit(now), Permit::Refused(LONGEST_RETRY_AFTER));
    }
}
