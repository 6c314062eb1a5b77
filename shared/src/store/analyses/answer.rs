//! Answers of analyzers that are somebody's own: each sets that analyzer's row of the call.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::analyzer::AnalyzerName;
use crate::api_key::Environment;
use crate::call::CallId;
use crate::event::{Event, Events, FailedAnalysis};
use crate::store::calls::{AnalysisRow, AnalysisState};
use crate::store::dialect::Ending::{Commit, Leave};
use crate::store::dialect::{parsed, seconds, with_transaction};
use crate::store::outbox::insert_event;
use crate::store::{Store, StoreError};

/// The reason of a failure that somebody's own analyzer reports.
const REPORTED: &str = "reported";

/// The results of an analyzer.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// A JSON object.
    pub results: &'a RawValue,
    /// The analyzer's version, where it tells one.
    pub version: Option<&'a str>,
}

/// The answer of somebody's own analyzer.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Its results, a JSON object.
    Completed(&'a RawValue),
    /// It can't analyse the recording; the error, for people.
    Failed(&'a str),
}

/// Most analyzers of somebody's own that may answer about one call: all of their results are read with the call.
pub const ANALYZERS_MAX: i64 = 16;

/// The outcome of an answer.
#[derive(Clone, Debug)]
pub enum RecordedAnswer {
    /// The analysis as it is now. The same answer again changes nothing.
    Recorded(AnalysisState),
    /// There is no such call.
    Unknown,
    /// [`ANALYZERS_MAX`] others have answered already.
    TooMany,
}

impl Store {
    /// Sets the results of somebody's own analyzer, or that it failed, and emits `analysis.completed` or `analysis.failed`. The
    /// same answer again changes nothing and emits nothing; another one replaces it, as another event.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn answer_analysis(
        &self,
        call_id: CallId,
        analyzer: &AnalyzerName,
        answer: Answer<'_>,
        now: DateTime<Utc>,
    ) -> Result<RecordedAnswer, StoreError> {
        let events = self.events().await?;
        let (status, results, last_error) = match answer {
            Answer::Completed(results) => ("completed", Some(results.get()), None),
            Answer::Failed(why) => ("failed", None, Some(why)),
        };
        let at = seconds(now);
        let (completed_at, failed_at) =
            if last_error.is_none() { (Some(at), None) } else { (None, Some(at)) };
        Ok(with_transaction!(self, tx => {
            // The row is there, and this transaction's, before it is compared: two answers at once come one after the other.
            let env: Option<String> = sqlx::query_scalar(
                "insert into analyses (call_id, analyzer, status, requested_at)
                 select id, $2, 'requested', $3 from call_logs where id = $1
                 on conflict (call_id, analyzer) do update set analyzer = excluded.analyzer
                 returning (select env from call_logs where id = $1)",
            )
            .bind(call_id.0)
            .bind(analyzer.as_str())
            .bind(seconds(now))
            .fetch_optional(&mut *tx)
            .await?;
            let others: i64 = sqlx::query_scalar(
                "select count(*) from analyses where call_id = $1 and analyzer not in ('quality', 'transcript', $2)",
            )
            .bind(call_id.0)
            .bind(analyzer.as_str())
            .fetch_one(&mut *tx)
            .await?;
            if others >= ANALYZERS_MAX {
                Leave(RecordedAnswer::TooMany)
            } else if let Some(env) = env {
                let call = (call_id, parsed(&env)?);
                let attempts: Option<i32> = sqlx::query_scalar(
                    "update analyses set status = $3, results = $4, reason = $5, last_error = $6, completed_at = $7,
                         failed_at = $8, attempts = attempts + 1
                     where call_id = $1 and analyzer = $2
                       and (status <> $3 or results is distinct from $4 or last_error is distinct from $6)
                     returning attempts",
                )
                .bind(call_id.0)
                .bind(analyzer.as_str())
                .bind(status)
                .bind(results)
                .bind(last_error.map(|_| REPORTED))
                .bind(last_error)
                .bind(completed_at)
                .bind(failed_at)
                .fetch_optional(&mut *tx)
                .await?;
                let told = attempts.map(|attempts| Told { call, analyzer: analyzer.as_str(), attempts });
                let event = told.map(|told| told.event(&events, answer, now));
                if let Some(event) = event {
                    insert_event!(tx, event, None, now, now);
                }
                let row: AnalysisRow = sqlx::query_as(AnalysisRow::SELECT_ONE)
                    .bind(call_id.0)
                    .bind(analyzer.as_str())
                    .fetch_one(&mut *tx)
                    .await?;
                Commit(RecordedAnswer::Recorded(row.into_state()?))
            } else {
                Leave(RecordedAnswer::Unknown)
            }
        }))
    }
}

/// A changed answer, of which an event tells.
struct Told<'a> {
    call: (CallId, Environment),
    analyzer: &'a str,
    /// Answers of this analyzer so far.
    attempts: i32,
}

impl Told<'_> {
    fn event(&self, events: &Events, answer: Answer<'_>, now: DateTime<Utc>) -> Event {
        let Self { call, analyzer, .. } = *self;
        let attempts = u32::try_from(self.attempts).unwrap_or(0);
        match answer {
            Answer::Completed(results) => events.analysis_completed(call, (analyzer, attempts), results, now),
            Answer::Failed(last_error) => {
                let failed = FailedAnalysis { analyzer, reason: REPORTED, attempts, last_error };
                events.analysis_failed(call, &failed, now)
            }
        }
    }
}
