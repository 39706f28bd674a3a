//! What was fetched ahead and not asked for yet: the account of what asking ahead is good for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Thing;

/// What nobody has asked for after so long was fetched in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many things are remembered; the oldest are given up first.
const CAPACITY: usize = 10_000;

/// The things, oldest first.
#[derive(Default)]
pub(super) struct Unasked {
    /// How many there are: while this is 0, which is nearly always, nobody needs the lock.
    count: AtomicUsize,
    /// A std mutex: held for a look-up only.
    things: Mutex<Things>,
    used: AtomicU64,
    wasted: AtomicU64,
}

#[derive(Default)]
struct Things {
    since: HashMap<Thing, Instant>,
    in_order: VecDeque<(Thing, Instant)>,
}

impl Unasked {
    /// Notes what is fetched ahead.
    pub(super) fn add(&self, thing: Thing) {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        things.since.insert(thing.clone(), now);
        things.in_order.push_back((thing, now));
        self.give_up_old(&mut things, now);
    }

    /// Whether the thing was fetched ahead and is asked for now for the first time.
    pub(super) fn is_asked(&self, thing: impl FnOnce() -> Thing) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = things.since.remove(&thing()).is_some();
        if is_asked {
            self.used.fetch_add(1, Ordering::Relaxed);
        }
        self.give_up_old(&mut things, Instant::now());
        is_asked
    }

    /// It was not fetched after all.
    pub(super) fn forget(&self, thing: &Thing) {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        things.since.remove(thing);
        self.give_up_old(&mut things, Instant::now());
    }

    /// How many were asked for, and how many were not.
    pub(super) fn totals(&self) -> (u64, u64) {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        self.give_up_old(&mut things, Instant::now());
        (
            self.used.load(Ordering::Relaxed),
            self.wasted.load(Ordering::Relaxed),
        )
    }

    fn give_up_old(&self, things: &mut Things, now: Instant) {
        while let Some((thing, since)) = things.in_order.front() {
            let is_known = things.since.get(thing) == Some(since);
            let is_old = now.duration_since(*since) > PATIENCE || things.since.len() > CAPACITY;
            if is_known && !is_old {
                break;
            }
            if is_known {
                things.since.remove(thing);
                self.wasted.fetch_add(1, Ordering::Relaxed);
            }
            things.in_order.pop_front();
        }
        self.count.store(things.since.len(), Ordering::Relaxed);
    }
}
