//! The time of day, as a value: nothing in this crate reads the system's clock by itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Tells the time of day. Cheap to clone; clones of a manual clock move together.
///
/// ```
/// use std::time::Duration;
/// use pypicache_core::Clock;
/// let clock = Clock::manual();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(600));
/// assert_eq!(clock.now().duration_since(before)?, Duration::from_secs(600));
/// # Ok::<(), std::time::SystemTimeError>(())
/// ```
#[derive(Clone, Default)]
pub struct Clock {
    /// Milliseconds that a manual clock stands at; `None` follows the system.
    manual: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until it is moved, for tests.
    #[must_use]
    pub fn manual() -> Self {
        Self {
            manual: Some(Arc::new(AtomicU64::new(1_700_000_000_000))),
        }
    }

    /// Moves a manual clock on. A system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Some(millis) = &self.manual {
            millis.fetch_add(
                u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
                Ordering::SeqCst,
            );
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.manual {
            Some(millis) => SystemTime::UNIX_EPOCH + Duration::from_millis(millis.load(Ordering::SeqCst)),
            None => SystemTime::now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.manual.is_some() {
            "Clock(manual)"
        } else {
            "Clock(system)"
        })
    }
}
