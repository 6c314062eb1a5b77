//! The state machine of a recording: pending, leased to a worker for a while, then stored or failed. Each step and the
//! events that tell of it are one transaction.

mod lease;
mod waiting;

use chrono::{DateTime, Utc};

pub use self::lease::{Begun, PendingRecording};
pub use self::waiting::WaitingSpan;
use super::analyses::request_analysis;
use super::calls::{CallRow, SELECT_CALL};
use super::dialect::Ending::{Commit, Leave};
use super::dialect::{parsed, seconds, with_pool, with_transaction};
use super::outbox::insert_event;
use super::{Store, StoreError};
use crate::call::CallId;
use crate::queue::Queue;
use crate::recording::{Cause, FailedRecording, StoredRecording};

/// Queues a call's recording for the workers, due at `$at`. `false`: there is no such call. A function can't: the two
/// databases' transactions have no common type.
macro_rules! queue_recording {
    ($tx:ident, $events:expr, $call_id:expr, $at:expr, $now:expr) => {{
        let call: Option<$crate::store::calls::CallRow> = sqlx::query_as($crate::store::calls::SELECT_CALL)
            .bind($call_id.0)
            .fetch_optional(&mut *$tx)
            .await?;
        match call {
            Some(call) => {
                let event = $events.call_created(&call.into_call()?);
                $crate::store::outbox::insert_event!(
                    $tx,
                    event,
                    Some($crate::queue::Queue::Recordings),
                    $at,
                    $now
                );
                true
            }
            None => false,
        }
    }};
}

pub(in crate::store) use queue_recording;

/// Why a recording is postponed.
#[derive(Clone, Copy, Debug)]
pub enum Postponed<'a> {
    /// It was attempted and could not be had. Counted as an attempt, unless [`Store::count_recording_attempt`] did.
    Failed(Cause<'a>),
    /// It was fetched, and leaves its size open: it may still be being written. Counted as an attempt.
    Open {
        /// Why it is not taken yet.
        cause: Cause<'a>,
        /// The SHA-256 of its bytes, in lower-case hexadecimal, for the next look.
        sha256: &'a str,
    },
    /// It was not attempted, since its host fails and rests. Counted, but not as an attempt.
    HostRests,
    /// It was not attempted, since its host is slow and has no free permit. Not counted: the host gets on.
    HostIsFull,
}

impl Store {
    /// The recording is kept: writes its facts, asks for its analysis, and emits `recording.stored` and
    /// `analysis.requested`. `false`: it was settled already, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn recording_stored(
        &self,
        call_id: CallId,
        recording: &StoredRecording,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let updated = sqlx::query(
                "update recordings set status = 'stored', claimed_until = 0,
                     attempts = attempts + case when attempt_counted then 0 else 1 end, attempt_counted = false,
                     next_attempt_at = null, reason = null, last_error = null, url_userinfo = null, location = $2,
                     size_bytes = $3, sha256 = $4, media_type = $5, codec = $6, verification = $7,
                     duration_seconds = $8, channels = $9, sample_rate = $10, stored_at = $11,
                     waveform = $12
                 where call_id = $1 and status = 'pending'",
            )
            .bind(call_id.0)
            .bind(&recording.location)
            .bind(i64::try_from(recording.size_bytes).unwrap_or(i64::MAX))
            .bind(&recording.sha256)
            .bind(&recording.media_type)
            .bind(&recording.codec)
            .bind(recording.verification.name())
            .bind(recording.duration_seconds)
            .bind(i32::from(recording.channels))
            .bind(i32::try_from(recording.sample_rate).unwrap_or(i32::MAX))
            .bind(seconds(now))
            .bind(recording.waveform.as_deref())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if updated == 0 {
                Leave(false)
            } else {
                request_analysis!(tx, call_id, now);
                let call: CallRow = sqlx::query_as(SELECT_CALL).bind(call_id.0).fetch_one(&mut *tx).await?;
                let call = call.into_call()?;
                insert_event!(tx, events.recording_stored((call_id, call.env), recording, now), None, now, now);
                insert_event!(tx, events.analysis_requested(&call, recording, now), None, now, now);
                Commit(true)
            }
        }))
    }

    /// Gives the lease back and postpones the recording until `at`: notes why, and puts the next attempt into the outbox.
    /// Nothing is done when it is settled already.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn postpone_recording(
        &self,
        call_id: CallId,
        why: Postponed<'_>,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let events = self.events().await?;
        let (tries, refusals, cause, open_sha256) = match why {
            Postponed::Failed(cause) => (1, 0, Some(cause), None),
            Postponed::Open { cause, sha256 } => (1, 0, Some(cause), Some(sha256)),
            Postponed::HostRests => (0, 1, None, None),
            Postponed::HostIsFull => (0, 0, None, None),
        };
        with_transaction!(self, tx => {
            let updated = sqlx::query(
                "update recordings set claimed_until = 0, next_attempt_at = $2,
                     attempts = attempts + case when attempt_counted then 0 else $3 end, attempt_counted = false,
                     refusals = refusals + $4, reason = coalesce($5, reason), last_error = coalesce($6, last_error),
                     open_sha256 = coalesce($7, open_sha256)
                 where call_id = $1 and status = 'pending'",
            )
            .bind(call_id.0)
            .bind(at.timestamp_micros())
            .bind(tries)
            .bind(refusals)
            .bind(cause.map(|cause| cause.reason.name()))
            .bind(cause.map(|cause| cause.last_error))
            .bind(open_sha256)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if updated == 1 && queue_recording!(tx, events, call_id, at, now) { Commit(()) } else { Leave(()) }
        });
        Ok(())
    }

    /// Looks at the recording again at `at`, without counting an attempt: another worker has it, and may die.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn defer_recording(
        &self,
        call_id: CallId,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let events = self.events().await?;
        with_transaction!(self, tx => {
            if queue_recording!(tx, events, call_id, at, now) { Commit(()) } else { Leave(()) }
        });
        Ok(())
    }

    /// Gives the recording up: writes why, emits `recording.failed`, and sends the same event to the dead letters.
    /// `false`: it was settled already, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn recording_failed(
        &self,
        call_id: CallId,
        Cause { reason, last_error }: Cause<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let failed: Option<(i32, String)> = sqlx::query_as(
                "update recordings set status = 'failed', claimed_until = 0,
                     attempts = attempts + case when attempt_counted then 0 else 1 end, attempt_counted = false,
                     next_attempt_at = null, reason = $2, last_error = $3, failed_at = $4
                 where call_id = $1 and status = 'pending'
                 returning attempts, coalesce((select env from call_logs where id = recordings.call_id), 'live')",
            )
            .bind(call_id.0)
            .bind(reason.name())
            .bind(last_error)
            .bind(seconds(now))
            .fetch_optional(&mut *tx)
            .await?;
            match failed {
                None => Leave(false),
                Some((attempts, env)) => {
                    let attempts = u32::try_from(attempts).unwrap_or(0);
                    let failed = FailedRecording { reason, attempts, last_error };
                    let event = events.recording_failed((call_id, parsed(&env)?), &failed, now);
                    insert_event!(tx, event, None, now, now);
                    insert_event!(tx, event, Some(Queue::RecordingsDead), now, now);
                    Commit(true)
                }
            }
        }))
    }

    /// The peaks of a stored recording, as [`crate::waveform`] writes them; `None` where its sound was not decoded.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn waveform(&self, call_id: CallId) -> Result<Option<Vec<u8>>, StoreError> {
        let peaks: Option<Option<Vec<u8>>> = with_pool!(self.read, pool => {
            sqlx::query_scalar("select waveform from recordings where call_id = $1")
                .bind(call_id.0)
                .fetch_optional(pool)
                .await?
        });
        Ok(peaks.flatten())
    }
}
