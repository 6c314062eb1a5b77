//! The state machine of a recording: pending, leased to a worker for a while, then stored or failed. Each step and the
//! events that tell of it are one transaction.

use chrono::{DateTime, Utc};

use super::analyses::request_analysis;
use super::calls::{CallRow, SELECT_CALL};
use super::dialect::Ending::{Commit, Leave};
use super::dialect::{from_us, parsed, seconds, with_pool, with_transaction, with_writer};
use super::outbox::insert_event;
use super::upkeep::clocks::{latest_lease_us, latest_retry_us};
use super::{Store, StoreError};
use crate::call::CallId;
use crate::queue::Queue;
use crate::recording::{Cause, FailedRecording, Status, StoredRecording};

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
                let event = $events.call_created(&call.into_call());
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

pub(super) use queue_recording;

/// The answer to a worker that wants to begin with a recording.
#[derive(Debug)]
pub enum Begun {
    /// It is the worker's until the lease ends.
    Leased(PendingRecording),
    /// Another worker has it until then. It may die, so look again then.
    Busy(DateTime<Utc>),
    /// It was attempted and is due again then; a message for it is in the outbox.
    NotDue(DateTime<Utc>),
    /// It is stored or failed: nothing is left to do.
    Settled,
    /// There is no such call: it was erased, or the message is not ours.
    Unknown,
}

/// Why a recording is put off.
#[derive(Clone, Copy, Debug)]
pub enum PutOff<'a> {
    /// It was tried and could not be had. Counted as a try.
    Failed(Cause<'a>),
    /// It was not tried, since its host fails and rests. Counted, but not as a try.
    HostRests,
    /// It was not tried, since its host is slow and has no place. Not counted: the host gets on.
    HostIsFull,
}

/// A recording that a worker has to fetch.
#[derive(Clone)]
pub struct PendingRecording {
    /// Whose recording it is.
    pub call_id: CallId,
    /// Where to fetch it, with user name and password if it was sent with them. Not for logs.
    pub url: String,
    /// How often it was tried before, ever.
    pub attempts: u32,
    /// How many of these count: those since an operator had it tried again, if one did.
    pub attempts_counted: u32,
    /// How often it was put off untried meanwhile, because its host rested.
    pub refusals: u32,
    /// When the call was stored.
    pub created_at: DateTime<Utc>,
}

impl std::fmt::Debug for PendingRecording {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingRecording")
            .field("call_id", &self.call_id)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Leases a pending recording until `until`.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn begin_recording(
        &self,
        call_id: CallId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Begun, StoreError> {
        let now_us = now.timestamp_micros();
        let leased: Option<(i32, i32, i32, Option<String>)> = with_writer!(self, pool => {
            sqlx::query_as(
                "update recordings set claimed_until = $3
                 where call_id = $1 and status = 'pending' and (claimed_until <= $2 or claimed_until > $4)
                   and (coalesce(next_attempt_at, 0) <= $2 or next_attempt_at > $5)
                 returning attempts, attempts - attempts_forgiven, refusals, url_userinfo",
            )
            .bind(call_id.0)
            .bind(now_us)
            .bind(until.timestamp_micros())
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .fetch_optional(pool)
            .await?
        });
        let Some((attempts, attempts_counted, refusals, userinfo)) = leased else {
            return self.why_not_leased(call_id, now).await;
        };
        let call: Option<CallRow> = with_pool!(self.read, pool => {
            sqlx::query_as(SELECT_CALL).bind(call_id.0).fetch_optional(pool).await?
        });
        let Some(call) = call.map(CallRow::into_call) else {
            return Ok(Begun::Unknown);
        };
        Ok(Begun::Leased(PendingRecording {
            call_id,
            url: with_userinfo(&call.call.recording_url, userinfo.as_deref()),
            attempts: u32::try_from(attempts).unwrap_or(0),
            attempts_counted: u32::try_from(attempts_counted).unwrap_or(0),
            refusals: u32::try_from(refusals).unwrap_or(0),
            created_at: call.created_at,
        }))
    }

    async fn why_not_leased(&self, call_id: CallId, now: DateTime<Utc>) -> Result<Begun, StoreError> {
        // From the writing pool: what was just committed must be seen.
        let row: Option<(String, i64, Option<i64>)> = with_writer!(self, pool => {
            sqlx::query_as("select status, claimed_until, next_attempt_at from recordings where call_id = $1")
                .bind(call_id.0)
                .fetch_optional(pool)
                .await?
        });
        let Some((status, claimed_until_us, next_attempt_at_us)) = row else {
            return Ok(Begun::Unknown);
        };
        if parsed::<Status>(&status)? != Status::Pending {
            return Ok(Begun::Settled);
        }
        match (from_us(claimed_until_us), next_attempt_at_us.and_then(from_us)) {
            (_, Some(at)) if at > now => Ok(Begun::NotDue(at)),
            (Some(until), _) if until > now => Ok(Begun::Busy(until)),
            // It became free between the two statements.
            _ => Ok(Begun::Busy(now)),
        }
    }

    /// Prolongs the lease of a recording that is still pending.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn renew_recording_lease(
        &self,
        call_id: CallId,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            sqlx::query("update recordings set claimed_until = $2 where call_id = $1 and status = 'pending'")
                .bind(call_id.0)
                .bind(until.timestamp_micros())
                .execute(pool)
                .await?;
        });
        Ok(())
    }

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
                "update recordings set status = 'stored', attempts = attempts + 1, claimed_until = 0,
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
                insert_event!(tx, events.recording_stored(call_id, recording, now), None, now, now);
                insert_event!(tx, events.analysis_requested(&call.into_call(), recording, now), None, now, now);
                Commit(true)
            }
        }))
    }

    /// Gives the lease back and puts the recording off until `at`: notes why, and puts the next try into the outbox.
    /// Nothing is done when it is settled already.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn put_off_recording(
        &self,
        call_id: CallId,
        why: PutOff<'_>,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let events = self.events().await?;
        let (tries, refusals, reason, last_error) = match why {
            PutOff::Failed(Cause { reason, last_error }) => (1, 0, Some(reason.name()), Some(last_error)),
            PutOff::HostRests => (0, 1, None, None),
            PutOff::HostIsFull => (0, 0, None, None),
        };
        with_transaction!(self, tx => {
            let updated = sqlx::query(
                "update recordings set claimed_until = 0, next_attempt_at = $2, attempts = attempts + $3,
                     refusals = refusals + $4, reason = coalesce($5, reason), last_error = coalesce($6, last_error)
                 where call_id = $1 and status = 'pending'",
            )
            .bind(call_id.0)
            .bind(at.timestamp_micros())
            .bind(tries)
            .bind(refusals)
            .bind(reason)
            .bind(last_error)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if updated == 1 && queue_recording!(tx, events, call_id, at, now) { Commit(()) } else { Leave(()) }
        });
        Ok(())
    }

    /// Looks at the recording again at `at`, without counting a try: another worker has it, and may die.
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
            let attempts: Option<i32> = sqlx::query_scalar(
                "update recordings set status = 'failed', attempts = attempts + 1, claimed_until = 0,
                     next_attempt_at = null, reason = $2, last_error = $3, failed_at = $4
                 where call_id = $1 and status = 'pending'
                 returning attempts",
            )
            .bind(call_id.0)
            .bind(reason.name())
            .bind(last_error)
            .bind(seconds(now))
            .fetch_optional(&mut *tx)
            .await?;
            match attempts {
                None => Leave(false),
                Some(attempts) => {
                    let attempts = u32::try_from(attempts).unwrap_or(0);
                    let failed = FailedRecording { reason, attempts, last_error };
                    let event = events.recording_failed(call_id, &failed, now);
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

/// The URL as it was sent: `userinfo@` goes back behind `://`.
fn with_userinfo(url: &str, userinfo: Option<&str>) -> String {
    match (url.split_once("://"), userinfo) {
        (Some((scheme, rest)), Some(userinfo)) => format!("{scheme}://{userinfo}@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{userinfo, without_userinfo};

    #[test]
    fn user_name_and_password_go_back_to_where_they_were() {
        for sent in ["http://u:p@h/x", "HTTPS://user@h:8/x?y@z", "http://h/x@y", "http://:p@h"] {
            assert_eq!(with_userinfo(&without_userinfo(sent), userinfo(sent)), sent);
        }
    }
}
