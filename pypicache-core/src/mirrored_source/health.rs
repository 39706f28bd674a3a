//! How one upstream is doing, and what each of its answers says about that.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::resilience::{Breaker, FailureKind, Permit};
use crate::source::{Cause, SourceError};

/// One upstream's breaker, with the last thing that went wrong.
#[derive(Debug)]
pub(super) struct Health {
    /// A std mutex: held for a look or a note, never across an await.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    last: Option<Last>,
}

/// Who failed, and with what.
#[derive(Debug, Clone)]
struct Last {
    upstream: Arc<str>,
    cause: Arc<str>,
}

impl Health {
    /// `cost_limit`: what failures in a row may cost before the upstream is left alone.
    pub(super) fn new(cost_limit: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                breaker: Breaker::new(cost_limit),
                last: None,
            }),
        }
    }

    /// Whether it may be asked now.
    pub(super) fn permit(&self) -> Permit {
        self.with(|state| state.breaker.permit(Instant::now()))
    }

    /// Whether it would be left alone now.
    pub(super) fn is_circuit_open(&self) -> bool {
        self.with(|state| state.breaker.is_open(Instant::now()))
    }

    /// Takes note of an answer to a request that was asked at `began`.
    pub(super) fn note<T>(&self, answer: &Result<T, SourceError>, began: Instant) {
        let now = Instant::now();
        self.with(|state| match answer {
            Ok(_) => state.breaker.answered(now),
            Err(error) => match sign_of(error) {
                Sign::Alive => state.breaker.answered(now),
                Sign::None => {}
                Sign::FailureKind(trouble) => {
                    state.breaker.failed(trouble, began, now);
                    if let SourceError::Unavailable { upstream, cause, .. } = error {
                        let (upstream, cause) = (upstream.clone(), cause.to_string().into());
                        state.last = Some(Last { upstream, cause });
                    }
                }
            },
        });
    }

    /// Why it is not asked.
    pub(super) fn circuit_open(
        &self,
        asked: impl fmt::Display,
        name: &Arc<str>,
        wait: Duration,
    ) -> SourceError {
        let last = self.with(|state| state.last.clone());
        let (upstream, last) = match last {
            Some(last) => (last.upstream, last.cause),
            None => (name.clone(), "no answer yet".into()),
        };
        SourceError::unavailable(asked, &upstream, Cause::CircuitOpen { wait, last })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What an error says about whoever was asked.
enum Sign {
    /// Somebody sensible is there.
    Alive,
    /// Nobody, or nobody sensible.
    FailureKind(FailureKind),
    /// Nothing.
    None,
}

fn sign_of(error: &SourceError) -> Sign {
    let cause = match error {
        SourceError::Unavailable { cause, .. } => cause,
        SourceError::Storage { .. } => return Sign::None,
        SourceError::NotHeld { .. }
        | SourceError::Denied { .. }
        | SourceError::Loop(_)
        | SourceError::RangeOutside { .. } => {
            return Sign::Alive;
        }
    };
    match cause {
        Cause::Name(_)
        | Cause::Connect(_)
        | Cause::Tls(_)
        | Cause::TimedOut(_)
        | Cause::ConnectionClosed(_) => Sign::FailureKind(FailureKind::Unreachable),
        Cause::Status(_) | Cause::InvalidResponse(_) => Sign::FailureKind(FailureKind::Unwell),
        Cause::Busy { wait, .. } => Sign::FailureKind(FailureKind::Busy(*wait)),
        Cause::Relayed(_)
        | Cause::Denied(_)
        | Cause::Refused(_)
        | Cause::Mismatch(_)
        | Cause::Forbidden(_) => Sign::Alive,
        Cause::CircuitOpen { .. } | Cause::Private(_) | Cause::All(_) => Sign::None,
    }
}
