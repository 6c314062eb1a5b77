//! Repairs after an audit. Each queues something again: it adds a message with the event's own id to the outbox, for the relay of a running
//! process: a subscriber that got it before sees the same event twice.

use chrono::{DateTime, Utc};

use crate::call::CallId;
use crate::queue::Queue;
use crate::recording::FailedRecording;
use crate::store::analyses::{analysis_requested, request_analysis};
use crate::store::dialect::Ending::{Commit, Leave};
use crate::store::dialect::{parsed, with_transaction};
use crate::store::outbox::insert_event;
use crate::store::recordings::queue_recording;
use crate::store::{Store, StoreError};

impl Store {
    /// Queues a recording that is pending, or has no row, for the workers. `false`: a worker has it, or it is settled.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn requeue_recording(&self, call_id: CallId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
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
            if free == 1 && queue_recording!(tx, events, call_id, now, now) { Commit(true) } else { Leave(false) }
        }))
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
        Ok(with_transaction!(self, tx => {
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
            if reset == 1 && queue_recording!(tx, events, call_id, now, now) { Commit(true) } else { Leave(false) }
        }))
    }

    /// Asks for the analysis of a stored recording again. `false`: it isn't stored, or its analysis is settled.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn requeue_analysis(&self, call_id: CallId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            request_analysis!(tx, call_id, now);
            match analysis_requested!(tx, events, call_id, now) {
                Some(event) => {
                    insert_event!(tx, event, Some(Queue::Analysis), now, now);
                    Commit(true)
                }
                None => Leave(false),
            }
        }))
    }

    /// Sends a given-up recording to the dead letters again. `false`: it isn't given up.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn requeue_dead_letter(&self, call_id: CallId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let failed: Option<(i32, Option<String>, Option<String>, String)> = sqlx::query_as(
                "select r.attempts, r.reason, r.last_error, c.env
                 from recordings r join call_logs c on c.id = r.call_id
                 where r.call_id = $1 and r.status = 'failed'",
            )
            .bind(call_id.0)
            .fetch_optional(&mut *tx)
            .await?;
            match failed {
                None => Leave(false),
                Some((attempts, reason, last_error, env)) => {
                    let failed = FailedRecording {
                        reason: parsed(reason.as_deref().unwrap_or_default())?,
                        attempts: u32::try_from(attempts).unwrap_or(0),
                        last_error: last_error.as_deref().unwrap_or_default(),
                    };
                    let event = events.recording_failed((call_id, parsed(&env)?), &failed, now);
                    insert_event!(tx, event, Some(Queue::RecordingsDead), now, now);
                    Commit(true)
                }
            }
        }))
    }
}
