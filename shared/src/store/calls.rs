//! A call with the states of its recording and analyses. [`super::insert`] is how calls come in.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::FromRow as _;

use super::dialect::{columns, from_us, parsed, with_pool};
use super::{Store, StoreError};
use crate::analysis;
use crate::analyzer::QUALITY;
use crate::call::{Call, CallId, NewCall};
use crate::recording::{self, Reason};

/// A stored call with the states that belong to it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The call; its `recording_url` is without user name and password.
    pub call: Call,
    /// The state of its recording.
    pub recording: RecordingState,
    /// Its analyses, by their analyzers' names.
    pub analyses: Vec<AnalysisState>,
}

impl CallRecord {
    /// The analysis of the shipped analyzer; `None`: none was requested.
    #[must_use]
    pub fn quality(&self) -> Option<&AnalysisState> {
        self.analyses.iter().find(|analysis| analysis.analyzer == QUALITY)
    }
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

/// The state of one analyzer's analysis of a call.
#[derive(Clone, Debug)]
pub struct AnalysisState {
    /// `quality`, the shipped one, or the name of somebody's own.
    pub analyzer: String,
    /// How far it is.
    pub status: analysis::Status,
    /// How often it was attempted, or answered.
    pub attempts: i32,
    /// Why the last attempt failed, as the analyzer names it.
    pub reason: Option<String>,
    /// The error of the last attempt, for people.
    pub last_error: Option<String>,
    /// The version of the analyzer, where it tells one.
    pub version: Option<String>,
    /// Its results: a JSON object as text.
    pub results: Option<String>,
    /// When it was requested or, for somebody's own, first answered.
    pub requested_at: DateTime<Utc>,
    /// When it was completed.
    pub completed_at: Option<DateTime<Utc>>,
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
                        r.size_bytes, r.sha256, r.media_type, r.codec, r.duration_seconds, r.channels, r.sample_rate, r.stored_at
                 from call_logs c
                 left join recordings r on r.call_id = c.id
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
        let Some((call, state)) = found else { return Ok(None) };
        let analyses: Vec<AnalysisRow> = with_pool!(self.read, pool => {
            sqlx::query_as(AnalysisRow::SELECT).bind(id.0).fetch_all(pool).await?
        });
        let analyses = analyses.into_iter().map(AnalysisRow::into_state).collect::<Result<_, _>>()?;
        Ok(Some(CallRecord { call: call.into_call()?, recording: state.into_state()?, analyses }))
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
    }
}

columns! {
    /// A row of `analyses`.
    pub(super) struct AnalysisRow {
        analyzer: String,
        status: String,
        attempts: i32,
        reason: Option<String>,
        last_error: Option<String>,
        version: Option<String>,
        results: Option<String>,
        requested_at: NaiveDateTime,
        completed_at: Option<NaiveDateTime>,
    }
}

/// The columns of an [`AnalysisRow`]. A macro, because `concat!` takes literals alone.
macro_rules! select_analyses {
    ($condition:literal) => {
        concat!(
            "select analyzer, status, attempts, reason, last_error, version, results, requested_at, completed_at
             from analyses where ",
            $condition
        )
    };
}

impl AnalysisRow {
    /// Reads all of a call.
    const SELECT: &str = select_analyses!("call_id = $1 order by analyzer");

    /// Reads one of a call.
    pub(super) const SELECT_ONE: &str = select_analyses!("call_id = $1 and analyzer = $2");

    pub(super) fn into_state(self) -> Result<AnalysisState, StoreError> {
        Ok(AnalysisState {
            status: parsed(&self.status)?,
            analyzer: self.analyzer,
            attempts: self.attempts,
            reason: self.reason,
            last_error: self.last_error,
            version: self.version,
            results: self.results,
            requested_at: self.requested_at.and_utc(),
            completed_at: self.completed_at.map(|at| at.and_utc()),
        })
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
    fn into_state(self) -> Result<RecordingState, StoreError> {
        Ok(RecordingState {
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
        })
    }
}
