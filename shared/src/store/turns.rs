//! Who comes first: providers wait for the database, and nobody waits for anybody else.
//!
//! While calls pour in, what else writes to SQLite's one connection waits a little for its turn, and the relay waits a
//! little for more events to publish together. Both have bounds, so that a burst that never ends starves nobody.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

/// Between two batches of a burst there is less than this; who has answered and has no next batch by then has a lull.
const LULL: Duration = Duration::from_micros(300);

/// How often it is looked for a lull: the grain of the runtime's timers.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// How long a turn waits for a lull. In a burst without end the others so get one transaction for every ten or so of
/// the intake's.
const GIVE_WAY: Duration = Duration::from_millis(10);

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
        self.batches.load(Ordering::Relaxed) > 0 || u128::from(since_end()) < LULL.as_nanos()
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

/// Turns at the one writing connection of SQLite, for everybody but the intake. One at a time: so the intake never
/// waits for more than one of the others, however many there are.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Turns {
    /// The next turn, in a lull of the ingestion or after [`GIVE_WAY`]. It ends when it is dropped.
    pub(super) async fn next(&self, ingestion: &Ingestion) -> Option<SemaphorePermit<'_>> {
        let turn = self.0.acquire().await.ok()?;
        let asked = Instant::now();
        while ingestion.is_busy() && asked.elapsed() < GIVE_WAY {
            sleep(LOOK_INTERVAL).await;
        }
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_waits_for_a_lull_and_not_for_ever() {
        let (ingestion, turns) = (Ingestion::default(), Turns::default());
        while ingestion.is_busy() {
            tokio::task::yield_now().await;
        }
        drop(turns.next(&ingestion).await);
        let batch = ingestion.begin();
        assert!(ingestion.is_busy());
        let asked = Instant::now();
        drop(turns.next(&ingestion).await);
        assert!(asked.elapsed() >= GIVE_WAY);
        drop(batch);
        assert!(ingestion.is_busy(), "the next batch may follow at once");
    }
}
