//! What was written under a clock that has since been set back: it would be left alone until the clock gets there
//! again. Nothing is ever put off for longer than a lease or the longest wait of a retry, so what is, was.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::{LONGEST_LEASE_US, Store, StoreError, seconds, with_transaction};
use crate::queue::Queue;
use crate::retry::LONGEST_WAIT;

/// The clocks of machines that share a database differ by less.
const SLACK_US: i64 = 60 * 1_000_000;

/// A lease that ends later, in microseconds since 1970 UTC, was taken under another clock.
pub(super) fn latest_lease_us(now: DateTime<Utc>) -> i64 {
    now.timestamp_micros() + LONGEST_LEASE_US + SLACK_US
}

/// A retry that is due later, in microseconds since 1970 UTC, was put off under another clock.
pub(super) fn latest_retry_us(now: DateTime<Utc>) -> i64 {
    now.timestamp_micros() + i64::try_from(LONGEST_WAIT.as_micros()).unwrap_or(i64::MAX / 2) + SLACK_US
}

/// What came later came under another clock. Of when it seems to have come, nothing follows.
pub(super) fn latest_arrival(now: DateTime<Utc>) -> NaiveDateTime {
    seconds(now + TimeDelta::microseconds(SLACK_US))
}

impl Store {
    /// Makes due what lies in the outbox and in the queues of in-process delivery and was put off for longer than
    /// anything can be; returns how much that was.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn recall_postponed(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let (lease_us, retry_us) = (latest_lease_us(now), latest_retry_us(now));
        let recalled = with_transaction!(self, tx => {
            // Only what goes to a queue alone may be a retry.
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
            recalled
        });
        Ok(recalled)
    }
}
