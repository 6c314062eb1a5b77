//! `PUT /calls/ID/analyses/NAME`: the answer of somebody's own analyzer.

use callvine_shared::analyzer::AnalyzerName;
use callvine_shared::api_key::Role;
use callvine_shared::call::Invalid;
use callvine_shared::error_chain::Chain;
use callvine_shared::store::{Answer as Given, RecordedAnswer};
use chrono::Utc;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tracing::error;

use crate::answer::{self, Answer};
use crate::calls::{self, Analysis};
use crate::rejection::Rejection;
use crate::{Gateway, auth, body};

/// Most bytes of an analyzer's results.
const RESULTS_MAX_BYTES: usize = 256 * 1024;

/// Longest error of an analyzer that failed, in characters.
const FAILURE_MAX_CHARS: usize = 2000;

/// Keeps an analyzer's answer. `id` and `name` are the texts of path segments.
pub(crate) async fn put(
    gateway: &Gateway,
    request: &mut Request<Incoming>,
    id: &str,
    name: &str,
) -> Result<Answer, Rejection> {
    let now = Utc::now();
    let key = auth::authenticate(&gateway.keys, request.headers(), now)?;
    if key.role() != Role::Analyst {
        return Err(Rejection::NoAnalyst);
    }
    let id = calls::parse_id(id).ok_or(Rejection::NoSuchCall)?;
    let analyzer: AnalyzerName = name.parse().map_err(Rejection::AnalyzerName)?;
    let body = body::read(request.body_mut(), RESULTS_MAX_BYTES, &gateway.bodies).await?;
    let results = object(&body)?;
    let failure = failure(results)?;
    let given = failure.as_deref().map_or(Given::Completed(results), Given::Failed);
    let recorded = timeout(answer::DEADLINE, gateway.store.answer_analysis(id, &analyzer, given, now)).await;
    match recorded {
        Ok(Ok(RecordedAnswer::Recorded(state))) => {
            Ok(answer::json(StatusCode::OK, calls::success(&Analysis::of(&state))))
        }
        Ok(Ok(RecordedAnswer::Unknown)) => Err(Rejection::NoSuchCall),
        Ok(Ok(RecordedAnswer::TooMany)) => Err(Rejection::TooManyAnalyzers),
        Ok(Err(error)) => {
            error!(call.id = id.0, "an answer about call {id} can't be stored: {}", Chain(&error));
            Err(Rejection::AnalysisNotStored)
        }
        Err(_elapsed) => Err(Rejection::AnalysisNotStored),
    }
}

/// The body, if it is a JSON object in UTF-8.
fn object(body: &[u8]) -> Result<&RawValue, Rejection> {
    // Read whole once, which also bounds the depth: a raw value alone may be nested without end.
    let is_object = serde_json::from_slice(body).is_ok_and(|value: Value| value.is_object());
    let raw = serde_json::from_slice(body).ok().filter(|_| is_object);
    raw.ok_or(Rejection::Invalid(Invalid::Json))
}

/// The error of an object that is `{"failed": "why"}`; `None`: the object is results.
fn failure(results: &RawValue) -> Result<Option<String>, Rejection> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Failed {
        failed: String,
    }
    let Ok(Failed { failed }) = serde_json::from_str(results.get()) else { return Ok(None) };
    let fits = (1..=FAILURE_MAX_CHARS).contains(&failed.chars().count());
    // The databases store no U+0000.
    if fits && !failed.contains('\0') { Ok(Some(failed)) } else { Err(Rejection::FailureText) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_an_answer() {
        for body in [&b"{}"[..], b" {\"a\": [1, {}]}\n"] {
            assert!(object(body).is_ok());
        }
        for body in
            [&b""[..], b"[]", b"1", b"\"x\"", b"{", b"{}{}", b"{\"a\":\"\xff\"}", b"NaN", b"{\"a\":NaN}"]
        {
            assert_eq!(object(body).unwrap_err(), Rejection::Invalid(Invalid::Json));
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(object(deep.as_bytes()).is_err(), "nested deeper than 128");
    }

    #[test]
    fn a_failure_is_an_object_with_nothing_but_its_error() {
        let read = |json: &str| failure(object(json.as_bytes()).unwrap());
        assert_eq!(read(r#"{"failed":"no sound"}"#), Ok(Some("no sound".to_owned())));
        for results in [r#"{"failed":"x","score":1}"#, r#"{"failed":1}"#, r#"{"score":1}"#, "{}"] {
            assert_eq!(read(results), Ok(None), "{results}");
        }
        let long = format!(r#"{{"failed":"{}"}}"#, "x".repeat(2001));
        for refused in [r#"{"failed":""}"#, r#"{"failed":"a\u0000"}"#, &long] {
            assert_eq!(read(refused), Err(Rejection::FailureText));
        }
    }
}
