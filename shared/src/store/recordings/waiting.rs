//! Recordings that wait for a worker, whichever message is first in the queue.

use chrono::{DateTime, Utc};

use crate::call::CallId;
use crate::store::dialect::with_pool;
use crate::store::upkeep::clocks::{latest_lease_us, latest_retry_us};
use crate::store::{Store, StoreError};

/// Calls of which the waiting recordings are wanted: those behind `after` up to `last`.
#[derive(Clone, Copy, Debug)]
pub struct WaitingSpan {
    /// The call before the first.
    pub after: CallId,
    /// The last call.
    pub last: CallId,
    /// Recordings of each client, at most.
    pub per_client: i64,
    /// Recordings in all, at most.
    pub limit: i64,
}

impl Store {
    /// Recordings of the span that are due and that no worker has leased, each with its client: the oldest of each client
    /// first, then the second of each, and so on.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn waiting_recordings(
        &self,
        span: WaitingSpan,
        now: DateTime<Utc>,
    ) -> Result<Vec<(CallId, String)>, StoreError> {
        let rows: Vec<(i64, String)> = with_pool!(self.read, pool => {
            sqlx::query_as(
                "select call_id, client from (
                     select r.call_id, c.client,
                            row_number() over (partition by c.client order by r.call_id) as turn
                     from recordings r join call_logs c on c.id = r.call_id
                     where r.call_id > $1 and r.call_id <= $2 and r.status = 'pending'
                       and (r.claimed_until <= $3 or r.claimed_until > $4)
                       and (coalesce(r.next_attempt_at, 0) <= $3 or r.next_attempt_at > $5)
                 ) as waiting
                 where turn <= $6 order by turn, call_id limit $7",
            )
            .bind(span.after.0)
            .bind(span.last.0)
            .bind(now.timestamp_micros())
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .bind(span.per_client)
            .bind(span.limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(|(call_id, client)| (CallId(call_id), client)).collect())
    }
}
