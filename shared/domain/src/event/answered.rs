//! The events of an analyzer's answer. An analyzer may answer again, so the number of its answers belongs to the event's id.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{ANALYSIS_COMPLETED, ANALYSIS_FAILED, Envelope, Event, Events, made, write_json};
use crate::api_key::Environment;
use crate::call::CallId;

/// An analysis that was given up.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FailedAnalysis<'a> {
    /// The analyzer's name.
    pub analyzer: &'a str,
    /// The analyzer's own name for the cause, such as `unreadable`.
    pub reason: &'a str,
    /// How often it was attempted, or answered, ever.
    pub attempts: u32,
    /// The error of the last attempt, for people.
    pub last_error: &'a str,
}

impl Events {
    /// `analysis.completed` of a call that was sent with a key for `env`, at `now`: the analyzer's `round`-th attempt or answer, with its results, a JSON object.
    #[must_use]
    pub fn analysis_completed(
        &self,
        (call_id, env): (CallId, Environment),
        (analyzer, round): (&str, u32),
        results: &RawValue,
        now: DateTime<Utc>,
    ) -> Event {
        #[derive(Serialize)]
        struct Data<'a> {
            call_id: i64,
            analyzer: &'a str,
            results: &'a RawValue,
        }
        let data = Data { call_id: call_id.0, analyzer, results };
        let id = self.answer_id(ANALYSIS_COMPLETED, call_id, analyzer, round);
        let envelope = Envelope { id, routing_key: ANALYSIS_COMPLETED, call_id, env };
        made(&envelope, now, |body| write_json(&data, body))
    }

    /// `analysis.failed` of a call that was sent with a key for `env`, at `now`.
    #[must_use]
    pub fn analysis_failed(
        &self,
        (call_id, env): (CallId, Environment),
        failed: &FailedAnalysis<'_>,
        now: DateTime<Utc>,
    ) -> Event {
        #[derive(Serialize)]
        struct Data<'a> {
            call_id: i64,
            #[serde(flatten)]
            failed: &'a FailedAnalysis<'a>,
        }
        let data = Data { call_id: call_id.0, failed };
        let id = self.answer_id(ANALYSIS_FAILED, call_id, failed.analyzer, failed.attempts);
        let envelope = Envelope { id, routing_key: ANALYSIS_FAILED, call_id, env };
        made(&envelope, now, |body| write_json(&data, body))
    }

    fn answer_id(&self, routing_key: &str, call_id: CallId, analyzer: &str, round: u32) -> Uuid {
        Uuid::new_v5(&self.namespace, format!("{routing_key}/{call_id}/{analyzer}/{round}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_every_analyzer_is_an_event_of_its_own() {
        let events = Events::new(Uuid::from_u128(1));
        let results = RawValue::from_string(r#"{"score":1}"#.to_owned()).unwrap();
        let completed = |analyzer, round| {
            let call = (CallId(7), Environment::Test);
            events.analysis_completed(call, (analyzer, round), &results, DateTime::UNIX_EPOCH)
        };
        let first = completed("quality", 1);
        assert_eq!(first, completed("quality", 1));
        assert_ne!(first.id, completed("quality", 2).id);
        assert_ne!(first.id, completed("acme", 1).id);
        let body: serde_json::Value = serde_json::from_str(&first.body).unwrap();
        assert_eq!((&body["type"], &body["env"]), (&"ai.callvine.analysis.completed".into(), &"test".into()));
        assert_eq!(
            body["data"],
            serde_json::json!({"call_id": 7, "analyzer": "quality", "results": {"score": 1}})
        );
    }

    #[test]
    fn a_failure_says_why() {
        let failed =
            FailedAnalysis { analyzer: "acme", reason: "reported", attempts: 2, last_error: "no sound" };
        let call = (CallId(7), Environment::Live);
        let event = Events::new(Uuid::from_u128(1)).analysis_failed(call, &failed, DateTime::UNIX_EPOCH);
        assert_eq!(event.routing_key, "analysis.failed");
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(
            body["data"],
            serde_json::json!({
                "call_id": 7, "analyzer": "acme", "reason": "reported", "attempts": 2, "last_error": "no sound",
            })
        );
    }
}
