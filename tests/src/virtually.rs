//! Time that goes on only while nothing else does.
//!
//! Timers wait for a clock that is moved here, in steps, whenever the process has had nothing to do for a moment. So
//! a test that waits for a hanging upstream takes milliseconds, and says exactly how long a user would have waited.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

/// How far time goes on at once: how exact the answer is.
pub const STEP: Duration = Duration::from_millis(20);

/// The same where nobody looks at the answer.
const COARSE_STEP: Duration = Duration::from_millis(500);

/// How long nothing may happen before time goes on. Sockets and disks take real time, but not that much at once.
const QUIET: Duration = Duration::from_millis(2);

/// Does the work and says how long it took. For tests with `start_paused = true`.
pub async fn virtually<T>(work: impl Future<Output = T>) -> (T, Duration) {
    in_steps(STEP, work).await
}

/// Lets so much time pass, with all that happens in it.
pub async fn pass(time: Duration) {
    in_steps(COARSE_STEP, tokio::time::sleep(time)).await;
}

async fn in_steps<T>(step: Duration, work: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    // As long as a blocking task runs, tokio does not move the time by itself.
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || hold.recv());
    let mut work = pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = quiet() => tokio::time::advance(step).await,
        }
    };
    drop(release);
    let _ = holding.await;
    (done, began.elapsed())
}

/// Done when the runtime has rested for a moment.
pub async fn quiet() {
    let metrics = Handle::current().metrics();
    loop {
        let busy = metrics.worker_total_busy_duration(0);
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(QUIET)).await;
        // Waking up for this very look takes some microseconds.
        if metrics.worker_total_busy_duration(0) - busy < QUIET / 20 {
            return;
        }
    }
}
