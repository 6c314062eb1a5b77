//! The outbox: what is to be published. Rows come in with the change that they tell of, in its transaction, and leave
//! when the bus has confirmed them.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Pool, Store, StoreError, postgres, sqlite, with_pool};

/// How long a claimed row is left alone. Longer than a publish may take, so that a slow one isn't published twice;
/// short, because the rows of a relay that was killed wait for it to end.
pub const LEASE: Duration = Duration::from_secs(8);

/// A claimed row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OutboxRow {
    /// Of the row, not of the event.
    pub id: i64,
    /// The event's id.
    pub event_id: String,
    /// The event's routing key.
    pub routing_key: String,
    /// Straight to this queue, or to whoever is bound to the routing key.
    pub queue: Option<String>,
    /// A CloudEvents JSON object.
    pub body: String,
}

impl Store {
    /// Claims up to `limit` rows that are due, those that have waited longest first, for [`LEASE`].
    ///
    /// Claims are leases and never a "last id seen": ids become visible out of order, and a cursor would step over
    /// what commits late.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn claim_due(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<OutboxRow>, StoreError> {
        match &self.write {
            Pool::Postgres(pool) => postgres::claim_due(pool, now, limit).await,
            Pool::Sqlite(pool) => sqlite::claim_due(pool, now, limit).await,
        }
    }

    /// Removes rows whose publishing was confirmed.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written; the rows are then published again when their lease ends.
    pub async fn remove_published(&self, ids: &[i64]) -> Result<(), StoreError> {
        match &self.write {
            Pool::Postgres(pool) => {
                sqlx::query("delete from outbox where id = any($1)").bind(ids).execute(pool).await?;
            }
            Pool::Sqlite(pool) => {
                sqlx::query("delete from outbox where id in (select value from json_each($1))")
                    .bind(json_array(ids))
                    .execute(pool)
                    .await?;
            }
        }
        Ok(())
    }

    /// Makes claimed rows due again at `at`.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written; the rows then become due when their lease ends.
    pub async fn release_unpublished(&self, ids: &[i64], at: DateTime<Utc>) -> Result<(), StoreError> {
        let at_us = at.timestamp_micros();
        match &self.write {
            Pool::Postgres(pool) => {
                sqlx::query("update outbox set available_at = $2 where id = any($1)")
                    .bind(ids)
                    .bind(at_us)
                    .execute(pool)
                    .await?;
            }
            Pool::Sqlite(pool) => {
                sqlx::query(
                    "update outbox set available_at = $2 where id in (select value from json_each($1))",
                )
                .bind(json_array(ids))
                .bind(at_us)
                .execute(pool)
                .await?;
            }
        }
        Ok(())
    }

    /// When the next row becomes due; `None` when the outbox is empty.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at_us: Option<i64> = with_pool!(self.read, pool => {
            sqlx::query_scalar("select min(available_at) from outbox").fetch_one(pool).await?
        });
        Ok(at_us.and_then(super::from_us))
    }

    /// Rows in the outbox, and when the oldest of them was written.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn outbox_backlog(&self) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
        let (rows, oldest_us): (i64, Option<i64>) = with_pool!(self.read, pool => {
            sqlx::query_as("select count(*), min(created_at) from outbox").fetch_one(pool).await?
        });
        Ok((rows, oldest_us.and_then(super::from_us)))
    }
}

/// SQLite binds no arrays; it takes a list as a JSON array.
pub(super) fn json_array(ids: &[i64]) -> String {
    let digits: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", digits.join(","))
}
