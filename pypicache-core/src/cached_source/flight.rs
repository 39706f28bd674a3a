//! One piece of work per key, however many ask for it.
//!
//! The work runs in a task of its own: a client who leaves stops nobody, and one who comes later joins. When
//! the work is done, or has panicked, its key is free again.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The pieces of work under way. Clones share them.
pub(super) struct Flights<K, V> {
    /// A std mutex: held for a look-up only, never across an await.
    under_way: UnderWay<K, V>,
    /// Whether work that has told this is over: nobody joins it any more.
    is_over: fn(&V) -> bool,
}

type UnderWay<K, V> = Arc<Mutex<HashMap<K, watch::Receiver<V>>>>;

/// A piece of work under way, to be watched.
pub(super) struct Flight<V> {
    /// What the work has told of itself so far.
    pub(super) progress: watch::Receiver<V>,
    /// Whether the work was begun for this client.
    pub(super) led: bool,
}

/// Frees the key when the work ends, in whichever way.
struct Cleanup<K: Hash + Eq, V> {
    key: K,
    progress: watch::Receiver<V>,
    under_way: UnderWay<K, V>,
}

impl<K: Hash + Eq, V> Drop for Cleanup<K, V> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // Work that is over may have been followed by other work for the same key already.
        if under_way
            .get(&self.key)
            .is_some_and(|progress| progress.same_channel(&self.progress))
        {
            under_way.remove(&self.key);
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(is_over: fn(&V) -> bool) -> Self {
        Self {
            under_way: Arc::default(),
            is_over,
        }
    }

    /// Joins the work for `key`; where it is not under way, `begin` makes it, and tells its progress from `initial` on.
    pub(super) fn join<F>(&self, key: &K, initial: V, begin: impl FnOnce(watch::Sender<V>) -> F) -> Flight<V>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = under_way.get(key)
            && !(self.is_over)(&progress.borrow())
        {
            return Flight {
                progress: progress.clone(),
                led: false,
            };
        }
        let (sender, progress) = watch::channel(initial);
        under_way.insert(key.clone(), progress.clone());
        let cleanup = Cleanup {
            key: key.clone(),
            progress: progress.clone(),
            under_way: self.under_way.clone(),
        };
        let work = begin(sender);
        tokio::spawn(async move {
            let _cleanup = cleanup;
            work.await;
        });
        Flight { progress, led: true }
    }

    /// What is under way for `key`, if anything is.
    pub(super) fn watch(&self, key: &K) -> Option<watch::Receiver<V>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }
}

impl<V: Clone> Flight<Option<V>> {
    /// The work's result; `None` where it panicked or the runtime is stopping.
    pub(super) async fn result(&mut self) -> Option<V> {
        self.progress.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_leader_that_leaves_stops_nobody_and_the_work_runs_once() {
        let flights: Flights<&str, Option<u32>> = Flights::new(Option::is_some);
        let (runs, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let begin = |told: watch::Sender<Option<u32>>| {
            let (runs, gate) = (runs.clone(), gate.clone());
            async move {
                gate.notified().await;
                let _ = told.send(Some(runs.fetch_add(1, Ordering::SeqCst) + 7));
            }
        };
        let leader = flights.join(&"key", None, begin);
        let mut follower = flights.join(&"key", None, begin);
        assert!(leader.led && !follower.led);
        drop(leader);
        gate.notify_one();
        assert_eq!(follower.result().await, Some(7));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_panic_frees_the_key() {
        let flights: Flights<&str, Option<u32>> = Flights::new(Option::is_some);
        let broken = |told: watch::Sender<_>| async move {
            let _told = told;
            panic!("on purpose")
        };
        assert_eq!(flights.join(&"key", None, broken).result().await, None);
        while flights.watch(&"key").is_some() {
            tokio::task::yield_now().await;
        }
        let again = |told: watch::Sender<_>| async move {
            told.send_replace(Some(1));
        };
        assert_eq!(flights.join(&"key", None, again).result().await, Some(1));
    }
}
