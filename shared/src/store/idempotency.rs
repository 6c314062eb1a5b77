//! Marks of posts that were stored, when they have expired. [`super::insert`] is how they come in.

use chrono::{DateTime, Utc};

use super::dialect::with_writer;
use super::{Store, StoreError};

/// Marks that one step removes at most: a few milliseconds, for which others may have to wait on SQLite.
pub const MARKS_STEP: u16 = 1000;

/// Rows that another process has locked are left to it: an insert that renews one, or another sweep.
const REMOVE_EXPIRED: &str = "delete from idempotency_marks where mark = any(array(
    select mark from idempotency_marks where expires_at <= $1 order by expires_at limit $2 for update skip locked))";

impl Store {
    /// Removes marks that have expired at `now`, [`MARKS_STEP`] at most; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn remove_expired_marks(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let removed = with_writer!(self.unsynced, self, pool => {
            postgres: {
                sqlx::query(REMOVE_EXPIRED)
                    .bind(now.timestamp_micros())
                    .bind(i64::from(MARKS_STEP))
                    .execute(pool)
                    .await?
                    .rows_affected()
            },
            sqlite: {
                sqlx::query(
                    "delete from idempotency_marks where mark in (
                         select mark from idempotency_marks where expires_at <= $1 order by expires_at limit $2)",
                )
                .bind(now.timestamp_micros())
                .bind(i64::from(MARKS_STEP))
                .execute(pool)
                .await?
                .rows_affected()
            },
        });
        Ok(removed)
    }
}
