//! Leases and waits that were written under a clock that has since been set back: they would last until the clock gets
//! there again. None is ever longer than a lease or the longest wait of a retry, so one that ends later is recalled.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use crate::queue::Queue;
use crate::retry::LONGEST_WAIT;
use crate::store::dialect::Ending::Commit;
use crate::store::dialect::{seconds, with_transaction};
use crate::store::{Store, StoreError};

/// No lease on an outbox row or a delivery is longer than this.
const LONGEST_LEASE_US: i64 = 60 * 1_000_000;

/// The clocks of machines that share a database differ by less.
const SLACK_US: i64 = 60 * 1_000_000;

/// A lease that ends later, in microseconds since 1970 UTC, was taken under another clock.
pub(in crate::store) fn latest_lease_us(now: DateTime<Utc>) -> i64 {
    now.timestamp_micros() + LONGEST_LEASE_US + SLACK_US
}

/// A retry that is due later, in microseconds since 1970 UTC, was postponed under another clock.
pub(in crate::store) fn latest_retry_us(now: DateTime<Utc>) -> i64 {
    now.timestamp_micros() + i64::try_from(LONGEST_WAIT.as_micros()).unwrap_or(i64::MAX / 2) + SLACK_US
}

/// A call dated after this was stamped by a clock since set back; its age is unknown.
pub(in crate::store) fn latest_arrival(now: DateTime<Utc>) -> NaiveDateTime {
    seconds(now + TimeDelta::microseconds(SLACK_US))
}

impl Store {
    /// Gives up every lease on outbox rows, deliveries, recordings and analyses. Only for a process that owns the database alone: a
    /// lease was then left by a process that died, and nothing need wait for it to end.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn release_leases(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let now_us = now.timestamp_micros();
        with_transaction!(self, tx => {
            for statement in [
                "update recordings set claimed_until = 0 where claimed_until > $1",
                "update analyses set claimed_until = 0 where claimed_until > $1",
            ] {
                sqlx::query(statement).bind(now_us).execute(&mut *tx).await?;
            }
            // A leased row is due within a lease; a row that is due later is a retry that waits for its time.
            for statement in [
                "update outbox set available_at = $1 where available_at > $1 and available_at <= $2 and queue is null",
                "update deliveries set available_at = $1 where available_at > $1 and available_at <= $2",
            ] {
                sqlx::query(statement).bind(now_us).bind(now_us + LONGEST_LEASE_US).execute(&mut *tx).await?;
            }
            Commit(())
        });
        Ok(())
    }

    /// Makes messages due that were postponed for longer than any can be, in the outbox and in the queues of in-process
    /// delivery; returns how many.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn recall_postponed(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let (lease_us, retry_us) = (latest_lease_us(now), latest_retry_us(now));
        let recalled = with_transaction!(self, tx => {
            // Only a row for one queue alone may be a retry.
            let mut recalled = sqlx::query(
                "update outbox set available_at = $1
                 where available_at > $2 and (queue is null or available_at > $3)",
            )
            .bind(now.timestamp_micros())
            .bind(lease_us)
            .bind(retry_us)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            // Queue by queue, as the index has them.
            for queue in Queue::ALL {
                recalled += sqlx::query("update deliveries set available_at = $1 where queue = $2 and available_at > $3")
                    .bind(now.timestamp_micros())
                    .bind(queue.name())
                    .bind(lease_us)
                    .execute(&mut *tx)
                    .await?
                    .rows_affected();
            }
            Commit(recalled)
        });
        Ok(recalled)
    }
}
