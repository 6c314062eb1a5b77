//! Recordings of which no message is left: their queue was deleted, or their message was delivered too often.

use chrono::{DateTime, Utc};

use super::clocks::{latest_lease_us, latest_retry_us};
use super::idle::IdleSpan;
use crate::call::CallId;
use crate::store::dialect::{from_us, with_pool};
use crate::store::{Store, StoreError};

/// The calls whose recordings one step of a search looks at: a few milliseconds of the database's time.
pub const SEARCH_STEP: i64 = 20_000;

impl Store {
    /// The highest id of a call; none: there are no calls.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn newest_call(&self) -> Result<Option<CallId>, StoreError> {
        let newest: Option<i64> = with_pool!(self.read, pool => {
            sqlx::query_scalar("select max(call_id) from recordings").fetch_one(pool).await?
        });
        Ok(newest.map(CallId))
    }

    /// Pending recordings, of the [`SEARCH_STEP`] calls behind `after`, to which nothing has happened since `since`: no
    /// worker had it, and it was not postponed until later.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn idle_recordings_after(
        &self,
        after: CallId,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<CallId>, StoreError> {
        let last = CallId(after.0.saturating_add(SEARCH_STEP));
        let span = IdleSpan { after, last, limit: SEARCH_STEP };
        let idle = self.idle_recordings_in(&self.read, span, since, now).await?;
        Ok(idle.into_iter().map(|idle| idle.call_id).collect())
    }

    /// Whether everything that was to be published by `since` is, as far as the outbox tells; else a recording's message
    /// may be in there. A row that was postponed under another clock counts as unpublished.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn has_published_until(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (due_us, oldest_us, postponed): (Option<i64>, Option<i64>, i64) = with_pool!(self.read, pool => {
            sqlx::query_as(
                "select min(available_at), min(case when queue is null then created_at end),
                        count(case when available_at > $1 and (queue is null or available_at > $2) then 1 end)
                 from outbox",
            )
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .fetch_one(pool)
            .await?
        });
        let is_late = |at_us: i64| from_us(at_us).is_some_and(|at| at <= since);
        Ok(!due_us.is_some_and(is_late) && !oldest_us.is_some_and(is_late) && postponed == 0)
    }
}
