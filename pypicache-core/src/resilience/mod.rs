//! When to ask again, whom not to ask, and what is too slow: rules that are told the time.
//!
//! Plain values without clocks, tasks or sockets of their own, so that a test can walk them through a year in
//! a microsecond. Who asks upstreams keeps one of each and tells it what happened.
//!
//! * [`Breaker`]: an upstream that costs time and brings nothing is left alone, and tried by one request at a time.
//! * [`Retry`]: how often, and after which pause, the same thing is asked again.
//! * [`MinRate`]: a body that trickles counts as broken, however long it has been coming in properly.
//!
//! Imports: nothing else of the crate.

mod breaker;
mod min_rate;
mod retry;

pub(crate) use breaker::{Breaker, FailureKind, Permit};
pub(crate) use min_rate::MinRate;
pub(crate) use retry::{Retry, jitter};
