//! `GET /calls/ID`, and the same at `/recording.php?call_id=ID`: a call of the key's client, or for an analyst of any,
//! with the states of its recording and its analysis.

use callvine_shared::call::{CallId, RecordingUrl};
use callvine_shared::error_chain::Chain;
use callvine_shared::recording::Reason;
use callvine_shared::store::{AnalysisState, CallRecord, RecordingState, StoreError};
use chrono::{DateTime, Utc};
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tracing::error;

use crate::answer::{self, Answer};
use crate::rejection::Rejection;
use crate::{Gateway, auth};

/// Shows a call. `id` is the text of a path segment or a query value.
pub(crate) async fn show(
    gateway: &Gateway,
    request: &Request<Incoming>,
    id: &str,
) -> Result<Answer, Rejection> {
    Ok(found(&find(gateway, request.headers(), id).await?))
}

/// The call with this id, if the key in the headers may read it.
pub(crate) async fn find(gateway: &Gateway, headers: &HeaderMap, id: &str) -> Result<CallRecord, Rejection> {
    let key = auth::authenticate(&gateway.keys, headers, Utc::now())?;
    let id = parse_id(id).ok_or(Rejection::NoSuchCall)?;
    let read = timeout(answer::DEADLINE, gateway.store.call(id, key.sees())).await;
    let record = match read {
        Ok(read) => read.map_err(|error| not_read(id, &error))?,
        Err(_elapsed) => return Err(Rejection::NotRead),
    };
    record.ok_or(Rejection::NoSuchCall)
}

fn not_read(id: CallId, error: &StoreError) -> Rejection {
    error!(call.id = id.0, "call {id} can't be read: {}", Chain(error));
    Rejection::NotRead
}

/// Accepts an id only as `Location` spells it: no sign, no leading zeros.
pub(crate) fn parse_id(text: &str) -> Option<CallId> {
    let id: i64 = text.parse().ok()?;
    (id > 0 && id.to_string() == text).then_some(CallId(id))
}

fn found(record: &CallRecord) -> Answer {
    let mut body = br#"{"success":true,"data":{"#.to_vec();
    record.call.write_json_fields(RecordingUrl::WithoutUserinfo, &mut body);
    body.extend_from_slice(br#","env":"#);
    body.extend_from_slice(&to_json(&record.call.env));
    body.extend_from_slice(br#","recording":"#);
    body.extend_from_slice(&to_json(&Recording::of(&record.recording)));
    body.extend_from_slice(br#","analysis":"#);
    body.extend_from_slice(&to_json(&Quality::of(record.quality())));
    body.extend_from_slice(br#","analyses":"#);
    let analyses: Vec<_> = record.analyses.iter().map(Analysis::of).collect();
    body.extend_from_slice(&to_json(&analyses));
    body.extend_from_slice(b"}}");
    let mut answer = answer::json(StatusCode::OK, body);
    // The answer changes with every step of the recording, and is for this caller alone.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The body of an answer with these data.
pub(crate) fn success(data: &impl Serialize) -> Vec<u8> {
    [br#"{"success":true,"data":"#.as_slice(), &to_json(data), b"}"].concat()
}

#[derive(Serialize)]
struct Recording<'a> {
    status: &'static str,
    attempts: i32,
    next_attempt_at: Option<String>,
    reason: Option<&'static str>,
    last_error: Option<&'a str>,
    location: Option<&'a str>,
    size: Option<i64>,
    sha256: Option<&'a str>,
    media_type: Option<&'a str>,
    codec: Option<&'a str>,
    duration_seconds: Option<f64>,
    channels: Option<i32>,
    sample_rate: Option<i32>,
    stored_at: Option<String>,
}

impl<'a> Recording<'a> {
    fn of(state: &'a RecordingState) -> Self {
        Self {
            status: state.status.name(),
            attempts: state.attempts,
            next_attempt_at: state.next_attempt_at.map(published_time),
            reason: state.reason.map(Reason::name),
            last_error: state.last_error.as_deref(),
            location: state.location.as_deref(),
            size: state.size_bytes,
            sha256: state.sha256.as_deref(),
            media_type: state.media_type.as_deref(),
            codec: state.codec.as_deref(),
            duration_seconds: state.duration_seconds,
            channels: state.channels,
            sample_rate: state.sample_rate,
            stored_at: state.stored_at.map(published_time),
        }
    }
}

/// The shipped analyzer's analysis, as it is shown beside the call.
#[derive(Serialize)]
struct Quality<'a> {
    status: &'static str,
    analyzer: Option<&'a str>,
    results: Option<&'a RawValue>,
}

impl<'a> Quality<'a> {
    fn of(state: Option<&'a AnalysisState>) -> Self {
        Self {
            status: state.map_or("none", |state| state.status.name()),
            // As long as nothing has answered, nothing is named.
            analyzer: state.filter(|state| state.results.is_some()).map(|state| state.analyzer.as_str()),
            results: state.and_then(results),
        }
    }
}

/// An analyzer's analysis.
#[derive(Serialize)]
pub(crate) struct Analysis<'a> {
    analyzer: &'a str,
    status: &'static str,
    attempts: i32,
    reason: Option<&'a str>,
    last_error: Option<&'a str>,
    results: Option<&'a RawValue>,
    requested_at: String,
    completed_at: Option<String>,
}

impl<'a> Analysis<'a> {
    pub(crate) fn of(state: &'a AnalysisState) -> Self {
        Self {
            analyzer: &state.analyzer,
            status: state.status.name(),
            attempts: state.attempts,
            reason: state.reason.as_deref(),
            last_error: state.last_error.as_deref(),
            results: results(state),
            requested_at: published_time(state.requested_at),
            completed_at: state.completed_at.map(published_time),
        }
    }
}

fn results(state: &AnalysisState) -> Option<&RawValue> {
    state.results.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

/// The format of `created_at`, in UTC.
fn published_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A struct of strings and numbers always serializes.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        assert_eq!(parse_id("7"), Some(CallId(7)));
        for text in ["", "0", "-7", "+7", "07", "7 ", "7.0", "seven", "9223372036854775808"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
