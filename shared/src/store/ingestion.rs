//! Who comes first: providers wait for the database, and nobody waits for anybody else.
//!
//! While calls pour in, what else writes to SQLite's one connection waits a little for its turn, and the relay waits a
//! little for more events to publish together. Both have bounds, so that a burst that never ends starves nobody.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Between two batches of a burst there is less than this; who has answered and has no next batch by then has a lull.
const LULL: Duration = Duration::from_micros(300);

/// How often it is looked for a lull: the grain of the runtime's timers.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What the intake is doing.
#[derive(Debug)]
pub(crate) struct Ingestion {
    start: Instant,
    batches: AtomicUsize,
    /// When the last batch ended, in nanoseconds since `start`.
    last_end: AtomicU64,
}

impl Default for Ingestion {
    fn default() -> Self {
        Self { start: Instant::now(), batches: AtomicUsize::new(0), last_end: AtomicU64::new(0) }
    }
}

impl Ingestion {
    /// A batch is being stored until the guard is dropped.
    pub(super) fn begin(&self) -> Batch<'_> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        Batch(self)
    }

    /// Whether one batch follows the other.
    pub(crate) fn is_busy(&self) -> bool {
        let since_end = || self.now().saturating_sub(self.last_end.load(Ordering::Relaxed));
        self.is_storing() || u128::from(since_end()) < LULL.as_nanos()
    }

    /// Whether a batch is being stored, or waits for a connection to be stored by.
    pub(super) fn is_storing(&self) -> bool {
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
pub(super) struct Batch<'a>(&'a Ingestion);

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
        let ingestion = Ingestion::default();
        ingestion.lull(Duration::MAX).await;
        let batch = ingestion.begin();
        assert!(ingestion.is_busy() && ingestion.is_storing());
        let asked = Instant::now();
        ingestion.lull(LONGEST).await;
        assert!(asked.elapsed() >= LONGEST);
        drop(batch);
        assert!(ingestion.is_busy(), "the next batch may follow at once");
        assert!(!ingestion.is_storing());
    }
}
