//! Analyses: requested for a stored recording, then completed or failed.

use chrono::{DateTime, Utc};

use super::dialect::Ending::{Commit, Leave};
use super::dialect::{columns, parsed, seconds, with_transaction};
use super::outbox::insert_event;
use super::{Store, StoreError};
use crate::call::CallId;
use crate::queue::Queue;
use crate::recording::StoredRecording;

/// Writes down that a call's analysis is requested, unless it was before. A macro as [`insert_event`] is.
macro_rules! request_analysis {
    ($tx:ident, $call_id:expr, $now:expr) => {
        sqlx::query(
            "insert into analyses (call_id, status, requested_at) values ($1, 'requested', $2)
             on conflict (call_id) do nothing",
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

/// Why an attempt at an analysis failed.
#[derive(Clone, Copy, Debug)]
pub struct AnalysisCause<'a> {
    /// The analyzer's own name for it, such as `unreadable`.
    pub reason: &'a str,
    /// The error, for people.
    pub last_error: &'a str,
}

impl Store {
    /// Gives an analysis up: counts the attempt, writes why, and sends the request to the dead letters. `false`: it isn't
    /// requested any more, and nothing was done.
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
            let event = analysis_requested!(tx, events, call_id, now);
            let updated = sqlx::query(
                "update analyses set status = 'failed', attempts = attempts + 1, reason = $2, last_error = $3,
                     failed_at = $4
                 where call_id = $1 and status = 'requested'",
            )
            .bind(call_id.0)
            .bind(cause.reason)
            .bind(cause.last_error)
            .bind(seconds(now))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            match event {
                Some(event) if updated == 1 => {
                    insert_event!(tx, event, Some(Queue::AnalysisDead), now, now);
                    Commit(true)
                }
                _ => Leave(false),
            }
        }))
    }
}
