//! Tells whether calls are pouring in, so that the relay and SQLite's other writers give way to them.
//!
//! Giving way is always bounded, so that a burst that never ends starves nobody.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Batches of one burst start within this time of each other; a longer gap is a lull.
const LULL: Duration = Duration::from_micros(300);

/// The interval at which a waiting task looks for a lull: the grain of the runtime's timers.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Counts the batches of calls that are being stored.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    batches: AtomicUsize,
    /// When the last batch ended, in nanoseconds since `start`.
    last_end: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { start: Instant::now(), batches: AtomicUsize::new(0), last_end: AtomicU64::new(0) }
    }
}

impl Throttle {
    /// Counts a batch as being stored until the guard is dropped.
    pub(crate) fn begin(&self) -> Batch<'_> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        Batch(self)
    }

    /// Whether batches follow each other without a lull.
    pub(crate) fn is_busy(&self) -> bool {
        let since_end = || self.now().saturating_sub(self.last_end.load(Ordering::Relaxed));
        self.is_storing() || u128::from(since_end()) < LULL.as_nanos()
    }

    /// Whether a batch is being stored, or waits for a connection to be stored by.
    pub(crate) fn is_storing(&self) -> bool {
        self.batches.load(Ordering::Relaxed) > 0
    }

    /// Returns in a lull, or after `longest`.
    pub(crate) async fn lull(&self, longest: Duration) {
        let asked = Instant::now();
        while self.is_busy() && asked.elapsed() < longest {
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A batch that is being stored.
pub(crate) struct Batch<'a>(&'a Throttle);

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.0.last_end.store(self.0.now(), Ordering::Relaxed);
        self.0.batches.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lull_is_waited_for_and_not_for_ever() {
        const LONGEST: Duration = Duration::from_millis(10);
        let throttle = Throttle::default();
        throttle.lull(Duration::MAX).await;
        let batch = throttle.begin();
        assert!(throttle.is_busy() && throttle.is_storing());
        let asked = Instant::now();
        throttle.lull(LONGEST).await;
        assert!(asked.elapsed() >= LONGEST);
        drop(batch);
        assert!(throttle.is_busy(), "the next batch may follow at once");
        assert!(!throttle.is_storing());
    }
}
