//! Requests as they are counted: each thread counts for itself, and whoever looks adds up.
//!
//! Counters that all threads share would have the processors send one cache line to and fro with each request.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pypicache_core::source::{CacheStatus, Hop};

/// Bounds of the times that are counted apart, in seconds.
pub(super) const SECONDS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0];

/// How many counts there are. With more threads than this, some count together.
const SHARDS: usize = 16;

/// What was counted: few things each, so that they are found by looking at all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// By route and status.
    pub(super) requests: Vec<((&'static str, u16), u64)>,
    /// By route.
    pub(super) times: Vec<(&'static str, Times)>,
    /// By cache and what it did.
    pub(super) answers: Vec<((Arc<str>, &'static str), u64)>,
}

/// How long requests took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) seconds: f64,
    /// Within each of [`SECONDS`] and above the one before; the last are the others.
    pub(super) within: [u64; SECONDS.len() + 1],
}

impl Times {
    fn note(&mut self, seconds: f64) {
        let bound = SECONDS.iter().position(|bound| seconds <= *bound);
        self.within[bound.unwrap_or(SECONDS.len())] += 1;
        self.count += 1;
        self.seconds += seconds;
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.seconds += other.seconds;
        let pairs = self.within.iter_mut().zip(other.within);
        pairs.for_each(|(sum, count)| *sum += count);
    }
}

impl Counts {
    fn note(&mut self, route: &'static str, status: u16, took: Duration, cache_status: &CacheStatus) {
        *entry(
            &mut self.requests,
            |known| *known == (route, status),
            || (route, status),
        ) += 1;
        entry(&mut self.times, |known| *known == route, || route).note(took.as_secs_f64());
        for Hop { cache, outcome } in &cache_status.hops {
            let outcome = outcome.as_str();
            let is_same = |known: &(Arc<str>, &str)| known.1 == outcome && known.0 == *cache;
            *entry(&mut self.answers, is_same, || (cache.clone(), outcome)) += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        for (key, count) in &other.requests {
            *entry(&mut self.requests, |known| known == key, || *key) += count;
        }
        for (route, times) in &other.times {
            entry(&mut self.times, |known| known == route, || *route).add(times);
        }
        for (key, count) in &other.answers {
            *entry(&mut self.answers, |known| known == key, || key.clone()) += count;
        }
    }
}

fn entry<K, V: Default>(
    entries: &mut Vec<(K, V)>,
    is_it: impl Fn(&K) -> bool,
    key: impl FnOnce() -> K,
) -> &mut V {
    let place = entries.iter().position(|(known, _)| is_it(known));
    let place = place.unwrap_or_else(|| {
        entries.push((key(), V::default()));
        entries.len() - 1
    });
    &mut entries[place].1
}

/// A count that lies on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Counts>);

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts of all threads.
#[derive(Debug, Default)]
pub(super) struct Shards([Shard; SHARDS]);

impl Shards {
    /// A request was answered.
    pub(super) fn note(&self, route: &'static str, status: u16, took: Duration, cache_status: &CacheStatus) {
        let shard = &self.0[own_number() % SHARDS];
        shard.lock().note(route, status, took, cache_status);
    }

    /// All of them together.
    pub(super) fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for shard in &self.0 {
            sum.add(&shard.lock());
        }
        sum
    }
}

/// The number of this thread, in the order in which threads first counted something.
fn own_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let number = THREADS.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pypicache_core::source::Outcome;

    #[test]
    fn threads_count_together() {
        let shards = Shards::default();
        let status = CacheStatus::of(&"pypi".into(), Outcome::Hit);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    shards.note("page", 200, Duration::from_micros(300), &status);
                    shards.note("page", 304, Duration::from_secs(60), &CacheStatus::default());
                });
            }
        });
        let (sum, each) = (shards.sum(), 2 * SHARDS as u64);
        assert_eq!(sum.requests, [(("page", 200), each), (("page", 304), each)]);
        assert_eq!(sum.answers, [(("pypi".into(), "hit"), each)]);
        let [("page", times)] = sum.times[..] else {
            panic!("{sum:?}")
        };
        assert_eq!(
            (times.count, times.within[1], times.within[SECONDS.len()]),
            (2 * each, each, each)
        );
    }
}
