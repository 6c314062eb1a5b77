//! Calls: many in by one transaction, one out with the state of its recording and analysis.

use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::{OUTBOX_LEASE, Store, StoreError, by_database, from_us, parsed, sqlite, with_pool};
use crate::analysis;
use crate::call::{Call, CallId, NewCall};
use crate::handoff::FreshBatch;
use crate::recording::{self, Reason};

/// A call that was received and validated, and is not stored yet.
#[derive(Clone, Debug)]
pub struct ReceivedCall {
    /// Whose key it was sent with.
    pub client: Arc<str>,
    /// The call as sent.
    pub call: Arc<NewCall>,
    /// When it was received; whole seconds are kept.
    pub created_at: DateTime<Utc>,
}

/// A stored call with all that became of it.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// The call; its `recording_url` is without user name and password.
    pub call: Call,
    /// What became of its recording.
    pub recording: RecordingState,
    /// What became of its analysis.
    pub analysis: AnalysisState,
}

/// The state of a call's recording. What does not apply yet is `None`.
#[derive(Clone, Debug)]
pub struct RecordingState {
    /// How far it is.
    pub status: recording::Status,
    /// How often it was tried.
    pub attempts: i32,
    /// Not tried again before then.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why it was given up.
    pub reason: Option<Reason>,
    /// What went wrong the last time, for people.
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
    /// Which analyzer answered.
    pub analyzer: Option<String>,
    /// What it answered, as JSON text.
    pub results: Option<String>,
}

/// What an insert has to write beside the calls: microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) now_us: i64,
    /// From when on a relay may claim the events.
    pub(super) available_at_us: i64,
}

/// What an insert has made.
#[derive(Debug)]
pub(super) struct Inserted {
    /// Of the calls, in their order.
    pub(super) ids: Vec<CallId>,
    /// Of the rows that stand for their events.
    pub(super) outbox_ids: Vec<i64>,
}

/// Ids in ascending order as runs without gaps, first and last of each.
pub(super) fn runs(ids: &[CallId]) -> Vec<(i64, i64)> {
    ids.chunk_by(|one, next| next.0 == one.0 + 1)
        .filter_map(|run| Some((run.first()?.0, run.last()?.0)))
        .collect()
}

fn stored(ids: &[CallId], calls: &[ReceivedCall]) -> Vec<Call> {
    ids.iter()
        .zip(calls)
        .map(|(id, received)| Call { id: *id, call: received.call.clone(), created_at: received.created_at })
        .collect()
}

impl Store {
    /// Stores the calls, a pending recording and a `call.created` event for each, all in one transaction: when this
    /// returns `Ok`, they are on disk. Ids come in the order of the calls.
    ///
    /// Not cancel-safe: when the future is dropped, the calls may be stored or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is known about the calls. [`StoreError::Rejected`]: none was stored, and
    /// at least one of them never will be.
    pub async fn insert_calls(&self, calls: &[ReceivedCall]) -> Result<Vec<CallId>, StoreError> {
        let _batch = self.ingestion.begin();
        let now = Utc::now();
        // A batch that the relay of this process takes from memory is leased to it from the start.
        let room = self.handoff.reserve(calls.len());
        let available_at = if room.is_some() { now + OUTBOX_LEASE } else { now };
        let stamps =
            Stamps { now_us: now.timestamp_micros(), available_at_us: available_at.timestamp_micros() };
        let Inserted { ids, outbox_ids } = by_database!(self.write, pool => {
            postgres: self.ingest.insert_calls(pool, calls, stamps).await?,
            sqlite: sqlite::insert_calls(pool, calls, stamps).await?,
        });
        match room {
            Some(room) => {
                let committed_at = tokio::time::Instant::now();
                let calls = stored(&ids, calls);
                self.handoff.send(FreshBatch { outbox_ids, calls, committed_at, room });
            }
            None => self.handoff.note_leftovers(),
        }
        Ok(ids)
    }

    /// The call with this id, if this client sent it.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn call(&self, id: CallId, client: &str) -> Result<Option<CallRecord>, StoreError> {
        let row: Option<Row> = with_pool!(self.read, pool => {
            sqlx::query_as(
                "select c.id, c.from_phone, c.to_phone, c.handled_by, c.department, c.start_time, c.end_time,
                        c.recording_url, c.created_at,
                        coalesce(r.status, 'pending') as status, coalesce(r.attempts, 0) as attempts,
                        r.next_attempt_at,
                        case when r.status = 'failed' then r.reason end as reason, r.last_error, r.location, r.size_bytes, r.sha256, r.media_type,
                        r.codec, r.duration_seconds, r.channels, r.sample_rate, r.stored_at,
                        a.status as analysis_status, a.analyzer, a.results
                 from call_logs c
                 left join recordings r on r.call_id = c.id
                 left join analyses a on a.call_id = c.id
                 where c.id = $1 and c.client = $2",
            )
            .bind(id.0)
            .bind(client)
            .fetch_optional(pool)
            .await?
        });
        row.map(Row::into_record).transpose()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    call: CallRow,
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

/// A row of `call_logs`.
#[derive(sqlx::FromRow)]
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
}

impl CallRow {
    pub(super) fn into_call(self) -> Call {
        Call {
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
        }
    }
}

impl Row {
    fn into_record(self) -> Result<CallRecord, StoreError> {
        Ok(CallRecord {
            call: self.call.into_call(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_ids_skip() {
        let runs = |ids: &[i64]| runs(&ids.iter().copied().map(CallId).collect::<Vec<_>>());
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[5]), [(5, 5)]);
        assert_eq!(runs(&[998, 999, 1000, 7001, 7002, 9001]), [(998, 1000), (7001, 7002), (9001, 9001)]);
    }
}
