//! The shipped analysis of a call is leased to one process for a while.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::StoredRow;
use crate::analysis::Status;
use crate::call::CallId;
use crate::recording::StoredRecording;
use crate::store::dialect::{from_us, parsed, with_pool, with_writer};
use crate::store::upkeep::clocks::{latest_lease_us, latest_retry_us};
use crate::store::{Store, StoreError};

/// The answer to a process that wants to begin with an analysis.
#[derive(Debug)]
pub enum BegunAnalysis {
    /// It is the process's until the lease ends.
    Leased(RequestedAnalysis),
    /// Another process has it until then. It may die, so look again then.
    Busy(DateTime<Utc>),
    /// It was attempted and is due again then; a message for it is in the outbox.
    NotDue(DateTime<Utc>),
    /// It is completed or failed, or its recording is not stored any more: nothing is left to do.
    Settled,
    /// There is no such analysis: its call was erased, or the message is not ours.
    Unknown,
}

/// An analysis that is to be made.
#[derive(Clone, Debug)]
pub struct RequestedAnalysis {
    /// The call that it belongs to.
    pub call_id: CallId,
    /// Its recording.
    pub recording: StoredRecording,
    /// When the call began, in the provider's own time.
    pub start_time: NaiveDateTime,
    /// When it ended.
    pub end_time: NaiveDateTime,
    /// How often it was attempted before, ever.
    pub attempts: u32,
    /// How many of these count: those since an operator asked for another attempt, if one did.
    pub attempts_counted: u32,
}

/// Counts an attempt, once for each lease.
const COUNT_ATTEMPT: &str = "update analyses set attempts = attempts + case when attempt_counted then 0 else 1 end, \
    attempt_counted = true where call_id = $1 and analyzer = 'quality' and status = 'requested'";

impl Store {
    /// Leases a requested analysis until `until`.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn begin_analysis(
        &self,
        call_id: CallId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<BegunAnalysis, StoreError> {
        let leased: Option<(i32, i32)> = with_writer!(self, pool => {
            sqlx::query_as(
                "update analyses set claimed_until = $3, attempt_counted = false
                 where call_id = $1 and analyzer = 'quality' and status = 'requested'
                   and (claimed_until <= $2 or claimed_until > $4)
                   and (coalesce(next_attempt_at, 0) <= $2 or next_attempt_at > $5)
                 returning attempts, attempts - attempts_forgiven",
            )
            .bind(call_id.0)
            .bind(now.timestamp_micros())
            .bind(until.timestamp_micros())
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .fetch_optional(pool)
            .await?
        });
        let Some((attempts, attempts_counted)) = leased else {
            return self.why_analysis_not_leased(call_id, now).await;
        };
        let recording: Option<StoredRow> = with_pool!(self.read, pool => {
            sqlx::query_as(StoredRow::SELECT).bind(call_id.0).fetch_optional(pool).await?
        });
        let times: Option<(NaiveDateTime, NaiveDateTime)> = with_pool!(self.read, pool => {
            sqlx::query_as("select start_time, end_time from call_logs where id = $1")
                .bind(call_id.0)
                .fetch_optional(pool)
                .await?
        });
        let (Some(recording), Some((start_time, end_time))) = (recording, times) else {
            return Ok(BegunAnalysis::Settled);
        };
        Ok(BegunAnalysis::Leased(RequestedAnalysis {
            call_id,
            recording: recording.into_recording()?,
            start_time,
            end_time,
            attempts: u32::try_from(attempts).unwrap_or(0),
            attempts_counted: u32::try_from(attempts_counted).unwrap_or(0),
        }))
    }

    async fn why_analysis_not_leased(
        &self,
        call_id: CallId,
        now: DateTime<Utc>,
    ) -> Result<BegunAnalysis, StoreError> {
        // From the writing pool: a row that was just committed must be seen.
        let row: Option<(String, i64, Option<i64>)> = with_writer!(self, pool => {
            sqlx::query_as(
                "select status, claimed_until, next_attempt_at from analyses where call_id = $1 and analyzer = 'quality'",
            )
            .bind(call_id.0)
            .fetch_optional(pool)
            .await?
        });
        let Some((status, claimed_until_us, next_attempt_at_us)) = row else {
            return Ok(BegunAnalysis::Unknown);
        };
        if parsed::<Status>(&status)? != Status::Requested {
            return Ok(BegunAnalysis::Settled);
        }
        match (from_us(claimed_until_us), next_attempt_at_us.and_then(from_us)) {
            (_, Some(at)) if at > now => Ok(BegunAnalysis::NotDue(at)),
            (Some(until), _) if until > now => Ok(BegunAnalysis::Busy(until)),
            // It became free between the two statements.
            _ => Ok(BegunAnalysis::Busy(now)),
        }
    }

    /// Counts the attempt that a process is making, before it has ended: what kills its process is given up as well. The step
    /// that settles it, or postpones it as failed, doesn't count it again. `false`: it is settled already.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn count_analysis_attempt(&self, call_id: CallId) -> Result<bool, StoreError> {
        // A process's death is what this must survive, not the server's.
        let counted = with_writer!(self.unsynced, self, pool => {
            postgres: sqlx::query(COUNT_ATTEMPT).bind(call_id.0).execute(pool).await?.rows_affected(),
            sqlite: sqlx::query(COUNT_ATTEMPT).bind(call_id.0).execute(pool).await?.rows_affected(),
        });
        Ok(counted == 1)
    }

    /// Prolongs the lease of an analysis that is still requested.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn renew_analysis_lease(
        &self,
        call_id: CallId,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            sqlx::query(
                "update analyses set claimed_until = $2
                 where call_id = $1 and analyzer = 'quality' and status = 'requested'",
            )
            .bind(call_id.0)
            .bind(until.timestamp_micros())
            .execute(pool)
            .await?;
        });
        Ok(())
    }
}
