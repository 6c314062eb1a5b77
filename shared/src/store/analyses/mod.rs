//! Analyses, one a call and analyzer: requested for a stored recording, leased to an analyzer for a while, then completed or
//! failed. Somebody's own analyzer answers without being asked here. Each step and the events that tell of it are one
//! transaction.

mod answer;
mod lease;

use chrono::{DateTime, Utc};

pub use self::answer::{ANALYZERS_MAX, Answer, Answered, RecordedAnswer};
pub use self::lease::{BegunAnalysis, RequestedAnalysis};
use super::dialect::Ending::{Commit, Leave};
use super::dialect::{columns, parsed, seconds, with_transaction};
use super::outbox::insert_event;
use super::{Store, StoreError};
use crate::analyzer::QUALITY;
use crate::call::CallId;
use crate::event::FailedAnalysis;
use crate::queue::Queue;
use crate::recording::StoredRecording;

/// Writes down that a call's analysis is requested, unless it was before. A macro as [`insert_event`] is.
macro_rules! request_analysis {
    ($tx:ident, $call_id:expr, $now:expr) => {
        sqlx::query(
            "insert into analyses (call_id, analyzer, status, requested_at) values ($1, 'quality', 'requested', $2)
             on conflict (call_id, analyzer) do nothing",
        )
        .bind($call_id.0)
        .bind($crate::store::dialect::seconds($now))
        .execute(&mut *$tx)
        .await?
    };
}

/// The event that asks for a call's analysis; `None`: its recording isn't stored, or its analysis isn't requested. A macro
/// as [`insert_event`] is.
macro_rules! analysis_requested {
    ($tx:ident, $events:expr, $call_id:expr, $now:expr) => {{
        let stored: Option<$crate::store::analyses::StoredRow> =
            sqlx::query_as($crate::store::analyses::StoredRow::SELECT)
                .bind($call_id.0)
                .fetch_optional(&mut *$tx)
                .await?;
        let call: Option<$crate::store::calls::CallRow> = sqlx::query_as($crate::store::calls::SELECT_CALL)
            .bind($call_id.0)
            .fetch_optional(&mut *$tx)
            .await?;
        match (stored, call) {
            (Some(stored), Some(call)) => {
                Some($events.analysis_requested(&call.into_call()?, &stored.into_recording()?, $now))
            }
            _ => None,
        }
    }};
}

pub(super) use {analysis_requested, request_analysis};

columns! {
    /// The facts of a stored recording.
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
}

impl StoredRow {
    /// Finds a recording whose analysis is requested.
    pub(super) const SELECT: &str =
        "select r.location, r.size_bytes, r.sha256, r.media_type, r.codec, r.verification,
            r.duration_seconds, r.channels, r.sample_rate
        from recordings r join analyses a on a.call_id = r.call_id and a.analyzer = 'quality'
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

/// Why an attempt at an analysis failed.
#[derive(Clone, Copy, Debug)]
pub struct AnalysisCause<'a> {
    /// The analyzer's own name for it, such as `unreadable`.
    pub reason: &'a str,
    /// The error, for people.
    pub last_error: &'a str,
}

impl Store {
    /// The shipped analysis is made: writes its results, a JSON object, and emits `analysis.completed`. `false`: it was settled
    /// already, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn analysis_completed(
        &self,
        call_id: CallId,
        answered: Answered<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let updated: Option<(i32, String)> = sqlx::query_as(
                "update analyses set status = 'completed', claimed_until = 0, next_attempt_at = null,
                     attempts = attempts + case when attempt_counted then 0 else 1 end, attempt_counted = false,
                     reason = null, last_error = null, version = $2, results = $3, completed_at = $4
                 where call_id = $1 and analyzer = 'quality' and status = 'requested'
                 returning attempts, coalesce((select env from call_logs where id = analyses.call_id), 'live')",
            )
            .bind(call_id.0)
            .bind(answered.version)
            .bind(answered.results.get())
            .bind(seconds(now))
            .fetch_optional(&mut *tx)
            .await?;
            match updated {
                None => Leave(false),
                Some((attempts, env)) => {
                    let round = (QUALITY, u32::try_from(attempts).unwrap_or(0));
                    let call = (call_id, parsed(&env)?);
                    let event = events.analysis_completed(call, round, answered.results, now);
                    insert_event!(tx, event, None, now, now);
                    Commit(true)
                }
            }
        }))
    }

    /// Gives the lease on the shipped analysis back and postpones it until `at`: counts the attempt, notes why it failed, and
    /// puts the next one into the outbox. Nothing is done when it is settled already.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn postpone_analysis(
        &self,
        call_id: CallId,
        cause: AnalysisCause<'_>,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let events = self.events().await?;
        with_transaction!(self, tx => {
            let updated = sqlx::query(
                "update analyses set claimed_until = 0, next_attempt_at = $2, reason = $3, last_error = $4,
                     attempts = attempts + case when attempt_counted then 0 else 1 end, attempt_counted = false
                 where call_id = $1 and analyzer = 'quality' and status = 'requested'",
            )
            .bind(call_id.0)
            .bind(at.timestamp_micros())
            .bind(cause.reason)
            .bind(cause.last_error)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            match analysis_requested!(tx, events, call_id, now) {
                Some(event) if updated == 1 => {
                    insert_event!(tx, event, Some(Queue::Analysis), at, now);
                    Commit(())
                }
                _ => Leave(()),
            }
        });
        Ok(())
    }

    /// Looks at the shipped analysis again at `at`, without counting an attempt: another process has it, and may die.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn defer_analysis(
        &self,
        call_id: CallId,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let events = self.events().await?;
        with_transaction!(self, tx => {
            match analysis_requested!(tx, events, call_id, now) {
                Some(event) => {
                    insert_event!(tx, event, Some(Queue::Analysis), at, now);
                    Commit(())
                }
                None => Leave(()),
            }
        });
        Ok(())
    }

    /// Gives the shipped analysis up: writes why, emits `analysis.failed`, and sends the request to the dead letters. `false`: it
    /// isn't requested any more, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn analysis_failed(
        &self,
        call_id: CallId,
        cause: AnalysisCause<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let request = analysis_requested!(tx, events, call_id, now);
            let updated: Option<(i32, String)> = sqlx::query_as(
                "update analyses set status = 'failed', claimed_until = 0, next_attempt_at = null,
                     attempts = attempts + case when attempt_counted then 0 else 1 end, attempt_counted = false,
                     reason = $2, last_error = $3, failed_at = $4
                 where call_id = $1 and analyzer = 'quality' and status = 'requested'
                 returning attempts, coalesce((select env from call_logs where id = analyses.call_id), 'live')",
            )
            .bind(call_id.0)
            .bind(cause.reason)
            .bind(cause.last_error)
            .bind(seconds(now))
            .fetch_optional(&mut *tx)
            .await?;
            match (request, updated) {
                (Some(request), Some((attempts, env))) => {
                    let failed = FailedAnalysis {
                        analyzer: QUALITY,
                        reason: cause.reason,
                        attempts: u32::try_from(attempts).unwrap_or(0),
                        last_error: cause.last_error,
                    };
                    let call = (call_id, parsed(&env)?);
                    insert_event!(tx, events.analysis_failed(call, &failed, now), None, now, now);
                    insert_event!(tx, request, Some(Queue::AnalysisDead), now, now);
                    Commit(true)
                }
                _ => Leave(false),
            }
        }))
    }
}
