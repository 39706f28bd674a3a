//! Slowing down those who guess: each address has a few wrong attempts, which come back one by one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many wrong attempts an address has in a row.
const BUDGET: u32 = 10;

/// How long it takes until one of them comes back.
const REFILL: Duration = Duration::from_secs(6);

/// How many addresses are remembered. Beyond that, those that have their whole budget again are forgotten.
const ADDRESSES: usize = 10_000;

/// When an address will have its whole budget again, for each that has not.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Instant>>);

impl Attempts {
    /// Whether the address has an attempt left.
    pub(super) fn is_left(&self, from: IpAddr) -> bool {
        let whole_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = whole_at
            .get(&network(from))
            .map(|at| at.saturating_duration_since(Instant::now()));
        used.unwrap_or_default() + REFILL <= REFILL * BUDGET
    }

    /// Writes down a wrong attempt. Where the budget is used up: how long until the next one is answered.
    pub(super) fn failed(&self, from: IpAddr) -> Option<Duration> {
        let now = Instant::now();
        let mut whole_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if whole_at.len() >= ADDRESSES {
            whole_at.retain(|_, whole_at| *whole_at > now);
        }
        let whole_at = whole_at.entry(network(from)).or_insert(now);
        let used = whole_at.saturating_duration_since(now);
        match used + REFILL > REFILL * BUDGET {
            true => Some(used + REFILL - REFILL * BUDGET),
            false => {
                *whole_at = now + used + REFILL;
                None
            }
        }
    }
}

/// A house has one IPv4 address, but at least 2^64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_in_a_row_then_one_in_six_seconds() {
        let attempts = Attempts::default();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..BUDGET).all(|_| attempts.failed(from).is_none()));
        assert_eq!(attempts.failed(from), Some(REFILL));
        assert!(
            attempts.failed("192.0.2.2".parse().unwrap()).is_none(),
            "others are not slowed"
        );
        tokio::time::advance(REFILL).await;
        assert!(attempts.failed(from).is_none());
        assert!(attempts.failed(from).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_address() {
        let attempts = Attempts::default();
        for number in 0..BUDGET {
            assert!(
                attempts
                    .failed(format!("2001:db8::{number}").parse().unwrap())
                    .is_none()
            );
        }
        assert!(attempts.failed("2001:db8::ffff".parse().unwrap()).is_some());
        assert!(attempts.failed("2001:db8:0:1::1".parse().unwrap()).is_none());
    }
}
