//! The time of day, as a value: nothing in this crate reads the system's clock by itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Tells the time of day. Cheap to clone; clones of a manual clock move together.
///
/// The system's time is read once, when the clock is made; from then on the clock follows a timer that counts
/// the time asleep as well and cannot be set. So a laptop that wakes up finds its pages older, and a system
/// clock that is corrected by a year changes the age of nothing.
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
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    /// The time of day and the steady timer when the clock was made.
    System {
        made_at: SystemTime,
        steady_then: Duration,
    },
    /// Milliseconds since 1970 that it stands at.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System {
            made_at: SystemTime::now(),
            steady_then: steady(),
        })
    }

    /// A clock that stands still until it is moved, for tests.
    #[must_use]
    pub fn manual() -> Self {
        Self::manual_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
    }

    /// The same, standing at a time of one's choice.
    #[must_use]
    pub fn manual_at(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(Kind::Manual(Arc::new(AtomicU64::new(millis(since)))))
    }

    /// Moves a manual clock on. A system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(at) = &self.0 {
            at.fetch_add(millis(by), Ordering::SeqCst);
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::System { made_at, steady_then } => *made_at + steady().saturating_sub(*steady_then),
            Kind::Manual(at) => SystemTime::UNIX_EPOCH + Duration::from_millis(at.load(Ordering::SeqCst)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A timer that only ever goes on, also while the machine sleeps.
fn steady() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    let id = ClockId::Boottime;
    // Counts the time asleep on macOS.
    #[cfg(not(target_os = "linux"))]
    let id = ClockId::Monotonic;
    let read = clock_gettime(id);
    Duration::new(
        u64::try_from(read.tv_sec).unwrap_or_default(),
        u32::try_from(read.tv_nsec).unwrap_or_default(),
    )
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::System { .. } => "Clock(system)",
            Kind::Manual(_) => "Clock(manual)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_goes_on_from_the_time_of_day() {
        let clock = Clock::system();
        let (first, second) = (clock.now(), clock.now());
        assert!(second >= first);
        let off = SystemTime::now().duration_since(first).unwrap_or_default();
        assert!(off < Duration::from_secs(60));
    }
}
