//! The queues of in-process delivery, as rows: a message that has left the outbox is not lost with the process.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use sqlx::QueryBuilder;

use super::dialect::{columns, json_array, with_pool, with_writer};
use super::upkeep::clocks::latest_lease_us;
use super::{Store, StoreError};
use crate::queue::Queue;

/// How long a claimed delivery is left alone unless its claim is renewed.
pub const LEASE: Duration = Duration::from_secs(15);

/// Rows of one page: some hundred kilobytes, and few round trips.
const PAGE: i64 = 1000;

/// Rows of one insert at most. Few enough that on SQLite, where a row takes some 10 us, the intake doesn't wait long for
/// the connection.
const PUSH_CHUNK: usize = 64;

/// Claims messages of a queue. A macro, because `concat!` takes literals alone.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "update deliveries set available_at = $3, attempts = attempts + 1
             where id in (select id from deliveries where queue = $1 and available_at <= $2
                          order by available_at, id limit $4",
            $lock,
            ") returning id, body, attempts"
        )
    };
}

columns! {
    /// A claimed delivery.
    #[derive(Clone, Debug)]
    pub struct DeliveryRow {
        /// The row's id.
        pub id: i64,
        /// A CloudEvents JSON object.
        pub body: String,
        /// How often it was claimed, this time included.
        pub attempts: i32,
    }
}

impl Store {
    /// Appends messages, each a queue's name, an event's id and its body.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written; then some may have been appended.
    pub async fn push_deliveries(
        &self,
        messages: &[(&str, &str, &str)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // All are in line at once, so that on SQLite they share a transaction if there is time.
        try_join_all(messages.chunks(PUSH_CHUNK).map(|chunk| self.push_chunk(chunk, now))).await?;
        Ok(())
    }

    async fn push_chunk(&self, chunk: &[(&str, &str, &str)], now: DateTime<Utc>) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            let mut insert =
                QueryBuilder::new("insert into deliveries (queue, event_id, body, available_at) ");
            insert.push_values(chunk, |mut row, (queue, event_id, body)| {
                row.push_bind(*queue).push_bind(*event_id).push_bind(*body).push_bind(now.timestamp_micros());
            });
            // Each length is a text of its own, and only the longest comes again and again.
            insert.build().persistent(chunk.len() == PUSH_CHUNK).execute(pool).await?;
        });
        Ok(())
    }

    /// Claims up to `limit` messages of a queue, oldest first, for [`LEASE`].
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn claim_deliveries(
        &self,
        queue: &str,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let text = self.locking(claim!(" for update skip locked"), claim!(""));
        let mut rows: Vec<DeliveryRow> = with_writer!(self, pool => {
            sqlx::query_as(text)
                .bind(queue)
                .bind(now.timestamp_micros())
                .bind((now + LEASE).timestamp_micros())
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(pool)
                .await?
        });
        rows.sort_unstable_by_key(|row| row.id);
        Ok(rows)
    }

    /// Prolongs the claims of these messages by [`LEASE`].
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn renew_deliveries(&self, ids: &[i64], now: DateTime<Utc>) -> Result<(), StoreError> {
        let until_us = (now + LEASE).timestamp_micros();
        with_writer!(self.write, self, pool => {
            postgres: {
                sqlx::query("update deliveries set available_at = $2 where id = any($1)")
                    .bind(ids)
                    .bind(until_us)
                    .execute(pool)
                    .await?;
            },
            sqlite: {
                sqlx::query(
                    "update deliveries set available_at = $2 where id in (select value from json_each($1))",
                )
                .bind(json_array(ids))
                .bind(until_us)
                .execute(pool)
                .await?;
            },
        });
        Ok(())
    }

    /// Removes a message that is done.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn remove_delivery(&self, id: i64) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            sqlx::query("delete from deliveries where id = $1").bind(id).execute(pool).await?;
        });
        Ok(())
    }

    /// Moves a message to another queue, where it counts from the start.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn move_delivery(&self, id: i64, queue: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            sqlx::query("update deliveries set queue = $2, available_at = $3, attempts = 0 where id = $1")
                .bind(id)
                .bind(queue)
                .bind(now.timestamp_micros())
                .execute(pool)
                .await?;
        });
        Ok(())
    }

    /// Whether messages of a queue wait to be claimed, or to be recalled because they were postponed under another clock.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn deliveries_wait(&self, queue: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let waiting: Option<i64> = with_pool!(self.read, pool => {
            sqlx::query_scalar(
                "select id from deliveries where queue = $1 and (available_at <= $2 or available_at > $3) limit 1",
            )
            .bind(queue)
            .bind(now.timestamp_micros())
            .bind(latest_lease_us(now))
            .fetch_optional(pool)
            .await?
        });
        Ok(waiting.is_some())
    }

    /// Messages in a queue, those in hand included.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn delivery_depth(&self, queue: &str) -> Result<i64, StoreError> {
        let depth = with_pool!(self.read, pool => {
            sqlx::query_scalar("select count(*) from deliveries where queue = $1").bind(queue).fetch_one(pool).await?
        });
        Ok(depth)
    }

    /// Messages in a queue of in-process delivery, by id, from above `after`: their ids and bodies.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn deliveries_in(&self, queue: Queue, after: i64) -> Result<Vec<(i64, String)>, StoreError> {
        Ok(with_pool!(self.read, pool => {
            sqlx::query_as("select id, body from deliveries where queue = $1 and id > $2 order by id limit $3")
                .bind(queue.name())
                .bind(after)
                .bind(PAGE)
                .fetch_all(pool)
                .await?
        }))
    }
}
