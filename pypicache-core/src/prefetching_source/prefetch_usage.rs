//! What is fetched ahead and not asked for yet: the account of what asking ahead is good for.

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

/// The things, and what became of earlier ones.
#[derive(Default)]
pub(super) struct PrefetchUsage {
    /// How many there are: while this is 0, which is nearly always, nobody needs the lock.
    count: AtomicUsize,
    /// A std mutex: held for a look-up only.
    things: Mutex<Things>,
    fetched: AtomicU64,
    used: AtomicU64,
    wasted: AtomicU64,
}

#[derive(Default)]
struct Things {
    notes: HashMap<Thing, Note>,
    /// Those that were fetched, oldest first.
    fetched: VecDeque<(Thing, Instant)>,
}

/// What is known of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    /// It is being fetched.
    Begun,
    /// The same, and an installer has got it in the meantime.
    BegunAndAsked,
    /// It was fetched then.
    Fetched(Instant),
}

/// A thing that one lookahead is fetching.
pub(super) struct Begun<'a> {
    prefetch_usage: &'a PrefetchUsage,
    /// `None` once it was fetched.
    thing: Option<Thing>,
}

impl PrefetchUsage {
    /// Begins to fetch a thing; `None` where another lookahead is at it, or was.
    pub(super) fn begin(&self, thing: Thing) -> Option<Begun<'_>> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        if things.notes.contains_key(&thing) {
            return None;
        }
        things.notes.insert(thing.clone(), Note::Begun);
        self.tidy(&mut things);
        Some(Begun {
            prefetch_usage: self,
            thing: Some(thing),
        })
    }

    /// Whether the thing is fetched ahead and an installer has got it now for the first time.
    pub(super) fn is_asked(&self, thing: impl FnOnce() -> Thing) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let thing = thing();
        let is_asked = match things.notes.get(&thing) {
            Some(Note::Begun) => {
                things.notes.insert(thing, Note::BegunAndAsked);
                true
            }
            Some(Note::Fetched(_)) => {
                things.notes.remove(&thing);
                self.used.fetch_add(1, Ordering::Relaxed);
                true
            }
            Some(Note::BegunAndAsked) | None => false,
        };
        self.tidy(&mut things);
        is_asked
    }

    /// How many were fetched, asked for, and not asked for.
    pub(super) fn totals(&self) -> [u64; 3] {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        self.tidy(&mut things);
        [&self.fetched, &self.used, &self.wasted].map(|total| total.load(Ordering::Relaxed))
    }

    /// Gives up what is old.
    fn tidy(&self, things: &mut Things) {
        while let Some((thing, since)) = things.fetched.front() {
            let is_unasked = things.notes.get(thing) == Some(&Note::Fetched(*since));
            let is_old = since.elapsed() > PATIENCE || things.fetched.len() > CAPACITY;
            if is_unasked && !is_old {
                break;
            }
            if is_unasked {
                things.notes.remove(thing);
                self.wasted.fetch_add(1, Ordering::Relaxed);
            }
            things.fetched.pop_front();
        }
        self.count.store(things.notes.len(), Ordering::Relaxed);
    }
}

impl Begun<'_> {
    /// It was not held before: it counts.
    pub(super) fn fetched(mut self) {
        let Some(thing) = self.thing.take() else { return };
        let mut things = self
            .prefetch_usage
            .things
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.prefetch_usage.fetched.fetch_add(1, Ordering::Relaxed);
        if things.notes.remove(&thing) == Some(Note::BegunAndAsked) {
            self.prefetch_usage.used.fetch_add(1, Ordering::Relaxed);
        } else {
            let now = Instant::now();
            things.notes.insert(thing.clone(), Note::Fetched(now));
            things.fetched.push_back((thing, now));
        }
        self.prefetch_usage.tidy(&mut things);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            let mut things = self
                .prefetch_usage
                .things
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            things.notes.remove(&thing);
            self.prefetch_usage.tidy(&mut things);
        }
    }
}
