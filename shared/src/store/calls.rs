//! A call with the state of its recording and analysis. [`super::insert`] is how calls come in.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::FromRow as _;

use super::dialect::{columns, from_us, parsed, with_pool};
use super::{Store, StoreError};
use crate::analysis;
use crate::call::{Call, CallId, NewCall};
use crate::recording::{self, Reason};

/// A stored call with the states that belong to it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The call; its `recording_url` is without user name and password.
    pub call: Call,
    /// The state of its recording.
    pub recording: RecordingState,
    /// The state of its analysis.
    pub analysis: AnalysisState,
}

/// The state of a call's recording. A fact that does not apply yet is `None`.
#[derive(Clone, Debug)]
pub struct RecordingState {
    /// How far it is.
    pub status: recording::Status,
    /// How often it was attempted.
    pub attempts: i32,
    /// Not attempted again before then.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why it was given up.
    pub reason: Option<Reason>,
    /// The error of the last attempt, for people.
    pub last_error: Option<String>,
    /// Where it is, as a URL.
    pub location: Option<String>,
    /// Bytes.
    pub size_bytes: Option<i64>,
    /// 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Such as `audio/wav`.
    pub media_type: Option<String>,
    /// Such as `pcm_alaw`.
    pub codec: Option<String>,
    /// Seconds.
    pub duration_seconds: Option<f64>,
    /// Number of channels.
    pub channels: Option<i32>,
    /// Hertz.
    pub sample_rate: Option<i32>,
    /// When it was kept.
    pub stored_at: Option<DateTime<Utc>>,
}

/// The state of a call's analysis.
#[derive(Clone, Debug)]
pub struct AnalysisState {
    /// How far it is; `None`: none was requested.
    pub status: Option<analysis::Status>,
    /// The analyzer that answered.
    pub analyzer: Option<String>,
    /// Its answer, as JSON text.
    pub results: Option<String>,
}

impl Store {
    /// The call with this id, if this client sent it; `None` for the client: whoever sent it. A call of another client
    /// takes the same one statement as none.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn call(&self, id: CallId, client: Option<&str>) -> Result<Option<CallRecord>, StoreError> {
        let found: Option<(CallRow, StateRow)> = with_pool!(self.read, pool => {
            let row = sqlx::query(
                "select c.id, c.from_phone, c.to_phone, c.handled_by, c.department, c.start_time, c.end_time,
                        c.recording_url, c.created_at, c.env,
                        coalesce(r.status, 'pending') as status, coalesce(r.attempts, 0) as attempts,
                        r.next_attempt_at,
                        case when r.status = 'failed' then r.reason end as reason, r.last_error, r.location,
                        r.size_bytes, r.sha256, r.media_type, r.codec, r.duration_seconds, r.channels, r.sample_rate, r.stored_at,
                        a.status as analysis_status, a.analyzer, a.results
                 from call_logs c
                 left join recordings r on r.call_id = c.id
                 left join analyses a on a.call_id = c.id
                 where c.id = $1 and c.client = coalesce($2, c.client)",
            )
            .bind(id.0)
            .bind(client)
            .fetch_optional(pool)
            .await?;
            match row {
                Some(row) => Some((CallRow::from_row(&row)?, StateRow::from_row(&row)?)),
                None => None,
            }
        });
        found.map(|(call, state)| state.into_record(call.into_call()?)).transpose()
    }
}

columns! {
    /// The states that belong to a call.
    struct StateRow {
        status: String,
        attempts: i32,
        next_attempt_at: Option<i64>,
        reason: Option<String>,
        last_error: Option<String>,
        location: Option<String>,
        size_bytes: Option<i64>,
        sha256: Option<String>,
        media_type: Option<String>,
        codec: Option<String>,
        duration_seconds: Option<f64>,
        channels: Option<i32>,
        sample_rate: Option<i32>,
        stored_at: Option<NaiveDateTime>,
        analysis_status: Option<String>,
        analyzer: Option<String>,
        results: Option<String>,
    }
}

/// Reads one call.
pub(super) const SELECT_CALL: &str =
    "select id, from_phone, to_phone, handled_by, department, start_time, end_time,
    recording_url, created_at, env from call_logs where id = $1";

columns! {
    /// A row of `call_logs`.
    pub(super) struct CallRow {
        id: i64,
        from_phone: String,
        to_phone: String,
        handled_by: String,
        department: Option<String>,
        start_time: NaiveDateTime,
        end_time: NaiveDateTime,
        recording_url: String,
        created_at: NaiveDateTime,
        env: String,
    }
}

impl CallRow {
    pub(super) fn into_call(self) -> Result<Call, StoreError> {
        Ok(Call {
            id: CallId(self.id),
            call: Arc::new(NewCall {
                from_phone: self.from_phone,
                to_phone: self.to_phone,
                handled_by: self.handled_by,
                department: self.department,
                start_time: self.start_time,
                end_time: self.end_time,
                recording_url: self.recording_url,
            }),
            created_at: self.created_at.and_utc(),
            env: parsed(&self.env)?,
        })
    }
}

impl StateRow {
    fn into_record(self, call: Call) -> Result<CallRecord, StoreError> {
        Ok(CallRecord {
            call,
            recording: RecordingState {
                status: parsed(&self.status)?,
                attempts: self.attempts,
                next_attempt_at: self.next_attempt_at.and_then(from_us),
                reason: self.reason.as_deref().map(parsed).transpose()?,
                last_error: self.last_error,
                location: self.location,
                size_bytes: self.size_bytes,
                sha256: self.sha256,
                media_type: self.media_type,
                codec: self.codec,
                duration_seconds: self.duration_seconds,
                channels: self.channels,
                sample_rate: self.sample_rate,
                stored_at: self.stored_at.map(|at| at.and_utc()),
            },
            analysis: AnalysisState {
                status: self.analysis_status.as_deref().map(parsed).transpose()?,
                analyzer: self.analyzer,
                results: self.results,
            },
        })
    }
}
