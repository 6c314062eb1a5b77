//! Finds pending recordings whose message was lost, and queues them again. Their queue was deleted or emptied, or
//! the broker dropped their message after too many deliveries.
//!
//! A search runs only while the queue is empty and the outbox keeps up. Then a recording that has been pending and
//! without a lease for some time has no message. If it has one after all, its lease still lets only one worker fetch it.

use std::sync::Arc;
use std::time::Duration;

use callvine_shared::bus::{Bus, BusError};
use callvine_shared::call::CallId;
use callvine_shared::error_chain::Chain;
use callvine_shared::pause::pause;
use callvine_shared::queue::Queue;
use callvine_shared::store::{SEARCH_STEP, Store, StoreError};
use chrono::{TimeDelta, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::recording::Recordings;

/// Searches within the time that a recording may be idle, so that a lost one is found at most a fifth later.
const SEARCHES: u32 = 5;

/// Every search covers this many of the newest calls: those of five minutes at 1,600 a second.
const RECENT: i64 = 500_000;

/// How often a search covers all calls, for retries that were lost long after their calls came.
const FULL_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The pause between two steps of a search, which leaves the database to others.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// The search for lost recordings.
pub(crate) struct Search {
    pub(crate) recordings: Arc<Recordings>,
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    /// A recording to which nothing happened for this long is lost: `CALLVINE_REQUEUE_AFTER`.
    pub(crate) requeue_after: Duration,
}

impl Search {
    /// Searches again and again until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut full_at = Instant::now();
        while pause(self.requeue_after / SEARCHES, &shutdown).await {
            let is_full = Instant::now() >= full_at;
            match self.search(is_full, &shutdown).await {
                Ok(true) if is_full => full_at = Instant::now() + FULL_INTERVAL,
                Ok(_) => {}
                // Consumer and relay log the same trouble louder.
                Err(error) => tracing::debug!(error = %Chain(&error), "cannot search for lost recordings"),
            }
        }
    }

    /// Searches once. `false`: lost recordings could not be told from others, or the shutdown came first.
    async fn search(&self, is_full: bool, shutdown: &CancellationToken) -> Result<bool, SearchError> {
        let now = Utc::now();
        let idle_for = TimeDelta::from_std(self.requeue_after).unwrap_or(TimeDelta::MAX);
        let Some(since) = now.checked_sub_signed(idle_for) else { return Ok(false) };
        let Some(newest) = self.store.newest_call().await? else { return Ok(true) };
        if !self.store.has_published_until(since, now).await?
            || self.bus.has_waiting(Queue::Recordings).await?
        {
            return Ok(false);
        }
        let mut after = if is_full { 0 } else { (newest.0 - RECENT).max(0) };
        while after < newest.0 {
            for call_id in self.store.idle_recordings_after(CallId(after), since, now).await? {
                self.recordings.queue_again(call_id).await?;
            }
            after += SEARCH_STEP;
            if !pause(STEP_PAUSE, shutdown).await {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
}
