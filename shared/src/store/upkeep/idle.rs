//! Recordings and analyses to which nothing happens.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::clocks::{latest_arrival, latest_lease_us, latest_retry_us};
use crate::call::CallId;
use crate::store::dialect::{with_pool, within_years};
use crate::store::{Pool, Store, StoreError};

/// A recording or an analysis to which nothing has happened for a while.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// The call that it belongs to.
    pub call_id: CallId,
    /// When the call was stored.
    pub created_at: DateTime<Utc>,
}

/// Calls of which the idle recordings are wanted: those behind `after` up to `last`, `limit` at most.
#[derive(Clone, Copy)]
pub(super) struct IdleSpan {
    pub(super) after: CallId,
    pub(super) last: CallId,
    pub(super) limit: i64,
}

impl Store {
    /// Pending recordings of the span to which nothing has happened since `since`, unless that was under another clock; by
    /// id.
    pub(super) async fn idle_recordings_in(
        &self,
        pool: &Pool,
        span: IdleSpan,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Idle>, StoreError> {
        let rows: Vec<(i64, NaiveDateTime)> = with_pool!(*pool, pool => {
            sqlx::query_as(
                "select r.call_id, c.created_at from recordings r join call_logs c on c.id = r.call_id
                 where r.call_id > $1 and r.call_id <= $2 and r.status = 'pending'
                   and (r.claimed_until <= $3 or r.claimed_until > $4)
                   and (coalesce(r.next_attempt_at, 0) <= $3 or r.next_attempt_at > $5)
                   and (c.created_at < $6 or c.created_at > $7)
                 order by r.call_id limit $8",
            )
            .bind(span.after.0)
            .bind(span.last.0)
            .bind(since.timestamp_micros())
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .bind(within_years(since))
            .bind(latest_arrival(now))
            .bind(span.limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(idle).collect())
    }
}

pub(super) fn idle((id, created_at): (i64, NaiveDateTime)) -> Idle {
    Idle { call_id: CallId(id), created_at: created_at.and_utc() }
}
