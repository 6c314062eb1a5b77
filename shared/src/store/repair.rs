//! What an audit queues again. Each adds a message with the event's own id to the outbox, for the relay of a running
//! process: a subscriber that got it before sees the same event twice.

use chrono::{DateTime, Utc};

use super::calls::CallRow;
use super::recordings::{SELECT_CALL, insert_event};
use super::{Store, StoreError, parsed, seconds, with_transaction};
use crate::call::CallId;
use crate::queue::Queue;
use crate::recording::{FailedRecording, StoredRecording};

/// The facts of a stored recording.
#[derive(sqlx::FromRow)]
pub(super) struct StoredRow {
    location: String,
    size_bytes: i64,
    sha256: String,
    media_type: String,
    codec: String,
    verification: String,
    duration_seconds: f64,
    channels: i32,
    sample_rate: i32,
}

impl StoredRow {
    /// Of a recording whose analysis is requested.
    pub(super) const SELECT: &str =
        "select r.location, r.size_bytes, r.sha256, r.media_type, r.codec, r.verification,
            r.duration_seconds, r.channels, r.sample_rate
        from recordings r join analyses a on a.call_id = r.call_id
        where r.call_id = $1 and r.status = 'stored' and a.status = 'requested'";

    pub(super) fn into_recording(self) -> Result<StoredRecording, StoreError> {
        Ok(StoredRecording {
            location: self.location,
            size_bytes: u64::try_from(self.size_bytes).unwrap_or(0),
            sha256: self.sha256,
            media_type: self.media_type,
            codec: self.codec,
            duration_seconds: self.duration_seconds,
            channels: u16::try_from(self.channels).unwrap_or(0),
            sample_rate: u32::try_from(self.sample_rate).unwrap_or(0),
            verification: parsed(&self.verification)?,
            waveform: None,
        })
    }
}

impl Store {
    /// Queues a recording that is pending, or has no row, for the workers. `false`: a worker has it, or it is settled.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn requeue_recording(&self, call_id: CallId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let events = self.events().await?;
        let done = with_transaction!(self, tx => {
            sqlx::query("insert into recordings (call_id) values ($1) on conflict (call_id) do nothing")
                .bind(call_id.0)
                .execute(&mut *tx)
                .await?;
            let free = sqlx::query(
                "update recordings set claimed_until = 0
                 where call_id = $1 and status = 'pending' and claimed_until <= $2",
            )
            .bind(call_id.0)
            .bind(now.timestamp_micros())
            .execute(&mut *tx)
            .await?
            .rows_affected();
            let call: Option<CallRow> = sqlx::query_as(SELECT_CALL).bind(call_id.0).fetch_optional(&mut *tx).await?;
            let (1, Some(call)) = (free, call) else { return Ok(false) };
            insert_event!(tx, events.call_created(&call.into_call()), Some(Queue::Recordings), now, now);
            true
        });
        Ok(done)
    }

    /// Makes a stored recording pending again, because its object at `location` is lost, and queues it for the
    /// workers. `false`: it isn't stored there any more.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn refetch_recording(
        &self,
        call_id: CallId,
        location: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let events = self.events().await?;
        let done = with_transaction!(self, tx => {
            let reset = sqlx::query(
                "update recordings set status = 'pending', claimed_until = 0, next_attempt_at = null, location = null,
                     attempts_forgiven = attempts, refusals = 0,
                     size_bytes = null, sha256 = null, media_type = null, codec = null, verification = null,
                     duration_seconds = null, channels = null,
                     sample_rate = null, stored_at = null, waveform = null
                 where call_id = $1 and status = 'stored' and location = $2",
            )
            .bind(call_id.0)
            .bind(location)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            let call: Option<CallRow> = sqlx::query_as(SELECT_CALL).bind(call_id.0).fetch_optional(&mut *tx).await?;
            let (1, Some(call)) = (reset, call) else { return Ok(false) };
            insert_event!(tx, events.call_created(&call.into_call()), Some(Queue::Recordings), now, now);
            true
        });
        Ok(done)
    }

    /// Asks for the analysis of a stored recording again. `false`: it isn't stored, or its analysis is settled.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn requeue_analysis(&self, call_id: CallId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let events = self.events().await?;
        let done = with_transaction!(self, tx => {
            sqlx::query(
                "insert into analyses (call_id, status, requested_at) values ($1, 'requested', $2)
                 on conflict (call_id) do nothing",
            )
            .bind(call_id.0)
            .bind(seconds(now))
            .execute(&mut *tx)
            .await?;
            let stored: Option<StoredRow> = sqlx::query_as(StoredRow::SELECT).bind(call_id.0).fetch_optional(&mut *tx).await?;
            let call: Option<CallRow> = sqlx::query_as(SELECT_CALL).bind(call_id.0).fetch_optional(&mut *tx).await?;
            let (Some(stored), Some(call)) = (stored, call) else { return Ok(false) };
            let event = events.analysis_requested(&call.into_call(), &stored.into_recording()?, now);
            insert_event!(tx, event, Some(Queue::Analysis), now, now);
            true
        });
        Ok(done)
    }

    /// Sends a given-up recording to the dead letters again. `false`: it isn't given up.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn requeue_dead_letter(&self, call_id: CallId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let events = self.events().await?;
        let done = with_transaction!(self, tx => {
            let failed: Option<(i32, Option<String>, Option<String>)> = sqlx::query_as(
                "select attempts, reason, last_error from recordings where call_id = $1 and status = 'failed'",
            )
            .bind(call_id.0)
            .fetch_optional(&mut *tx)
            .await?;
            let Some((attempts, reason, last_error)) = failed else { return Ok(false) };
            let failed = FailedRecording {
                reason: parsed(reason.as_deref().unwrap_or_default())?,
                attempts: u32::try_from(attempts).unwrap_or(0),
                last_error: last_error.as_deref().unwrap_or_default(),
            };
            let event = events.recording_failed(call_id, &failed, now);
            insert_event!(tx, event, Some(Queue::RecordingsDead), now, now);
            true
        });
        Ok(done)
    }
}
