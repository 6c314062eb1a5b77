//! Events as subscribers see them: routing keys, stable ids, CloudEvents 1.0 JSON. Pure.
//!
//! An event's id is a UUIDv5 of its facts, so the same event has the same id whenever it is made, from memory or from the
//! tables. Subscribers drop repetitions by it, and events can be published again long after they left the outbox.

mod answered;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use self::answered::FailedAnalysis;
use crate::api_key::Environment;
use crate::call::{Call, CallId, RecordingUrl};
use crate::recording::{FailedRecording, StoredRecording};

/// A call was stored.
pub const CALL_CREATED: &str = "call.created";
/// A recording is in the object store.
pub const RECORDING_STORED: &str = "recording.stored";
/// A recording was given up.
pub const RECORDING_FAILED: &str = "recording.failed";
/// A recording was queued for analysis.
pub const ANALYSIS_REQUESTED: &str = "analysis.requested";
/// An analyzer answered.
pub const ANALYSIS_COMPLETED: &str = "analysis.completed";
/// An analyzer gave up.
pub const ANALYSIS_FAILED: &str = "analysis.failed";

/// The media type of an event's body (CloudEvents JSON format, structured mode).
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// One event, ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The CloudEvents id and AMQP message id.
    pub id: Uuid,
    /// The kind of event, which is the AMQP routing key.
    pub routing_key: &'static str,
    /// A CloudEvents 1.0 JSON object.
    pub body: String,
}

/// Makes the events of one database.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    namespace: Uuid,
}

/// Bytes that are reserved for an event's data: enough for most, so that the buffer need not grow.
const USUAL_DATA_BYTES: usize = 512;

impl Events {
    /// Events whose ids belong to this name space. A database makes its own once, at random.
    #[must_use]
    pub fn new(namespace: Uuid) -> Self {
        Self { namespace }
    }

    /// `call.created`: the call as in its 201 answer, but without user name and password in the recording's URL.
    #[must_use]
    pub fn call_created(&self, call: &Call) -> Event {
        let about = About { occasion: Occasion(CALL_CREATED, call.id, 0), env: call.env };
        self.event(about, call.created_at, |body| call.write_json(RecordingUrl::WithoutUserinfo, body))
    }

    /// `recording.stored` of a call that was sent with a key for `env`, at `now`.
    #[must_use]
    pub fn recording_stored(
        &self,
        (call_id, env): (CallId, Environment),
        recording: &StoredRecording,
        now: DateTime<Utc>,
    ) -> Event {
        #[derive(Serialize)]
        struct Data<'a> {
            call_id: i64,
            #[serde(flatten)]
            recording: &'a StoredRecording,
        }
        let data = Data { call_id: call_id.0, recording };
        let about = About { occasion: Occasion(RECORDING_STORED, call_id, 0), env };
        self.event(about, now, |body| write_json(&data, body))
    }

    /// `recording.failed` of a call that was sent with a key for `env`, at `now`.
    #[must_use]
    pub fn recording_failed(
        &self,
        (call_id, env): (CallId, Environment),
        failed: &FailedRecording<'_>,
        now: DateTime<Utc>,
    ) -> Event {
        #[derive(Serialize)]
        struct Data<'a> {
            call_id: i64,
            #[serde(flatten)]
            failed: &'a FailedRecording<'a>,
        }
        let data = Data { call_id: call_id.0, failed };
        let about = About { occasion: Occasion(RECORDING_FAILED, call_id, failed.attempts), env };
        self.event(about, now, |body| write_json(&data, body))
    }

    /// The id of [`recording_failed`](Self::recording_failed) after `attempts` attempts. These are all that
    /// there ever were, so a recording that an operator retries and that fails again is another event.
    #[must_use]
    pub fn recording_failed_id(&self, call_id: CallId, attempts: u32) -> Uuid {
        self.id(Occasion(RECORDING_FAILED, call_id, attempts))
    }

    /// `analysis.requested` for a stored recording, at `now`; carries the call's fields too, so that an analyzer
    /// needs no other source.
    #[must_use]
    pub fn analysis_requested(&self, call: &Call, recording: &StoredRecording, now: DateTime<Utc>) -> Event {
        #[derive(Serialize)]
        struct Data<'a> {
            call_id: i64,
            location: &'a str,
            media_type: &'a str,
            duration_seconds: f64,
            #[serde(flatten)]
            call: serde_json::Map<String, serde_json::Value>,
        }
        let mut call_json = Vec::with_capacity(512);
        call.write_json(RecordingUrl::WithoutUserinfo, &mut call_json);
        let mut fields: serde_json::Map<_, _> = serde_json::from_slice(&call_json).unwrap_or_default();
        fields.remove("id");
        let data = Data {
            call_id: call.id.0,
            location: &recording.location,
            media_type: &recording.media_type,
            duration_seconds: recording.duration_seconds,
            call: fields,
        };
        let about = About { occasion: Occasion(ANALYSIS_REQUESTED, call.id, 0), env: call.env };
        self.event(about, now, |body| write_json(&data, body))
    }

    fn id(&self, Occasion(routing_key, call_id, round): Occasion) -> Uuid {
        Uuid::new_v5(&self.namespace, format!("{routing_key}/{call_id}/{round}").as_bytes())
    }

    /// An event; `write_data` appends its data, a JSON object.
    fn event(&self, about: About, time: DateTime<Utc>, write_data: impl FnOnce(&mut Vec<u8>)) -> Event {
        let About { occasion, env } = about;
        let Occasion(routing_key, call_id, _) = occasion;
        made(&Envelope { id: self.id(occasion), routing_key, call_id, env }, time, write_data)
    }
}

/// The parts of an event beside its time and its data.
struct Envelope {
    id: Uuid,
    routing_key: &'static str,
    call_id: CallId,
    env: Environment,
}

/// An event; `write_data` appends its data, a JSON object.
fn made(envelope: &Envelope, time: DateTime<Utc>, write_data: impl FnOnce(&mut Vec<u8>)) -> Event {
    let Envelope { id, routing_key, call_id, env } = *envelope;
    let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut body = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/callvine","type":"ai.callvine.{routing_key}","subject":"calls/{call_id}","time":"{time}","env":"{env}","datacontenttype":"application/json","data":"#,
        )
        .into_bytes();
    body.reserve(USUAL_DATA_BYTES);
    write_data(&mut body);
    body.push(b'}');
    Event { id, routing_key, body: into_text(body) }
}

/// The JSON is our own, and so UTF-8. If a bug made it anything else, the event would be published all the same.
fn into_text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The facts of an event that make its id: the routing key, the call and, where the event can recur for a call, the
/// number of attempts.
#[derive(Clone, Copy)]
struct Occasion(&'static str, CallId, u32);

/// The facts of an event's envelope.
#[derive(Clone, Copy)]
struct About {
    occasion: Occasion,
    /// An extension attribute (CloudEvents 1.0, "Extension Context Attributes"), so that a subscriber can leave a test
    /// system's calls out whatever the event's data are. It is no part of the id.
    env: Environment,
}

/// The call that an event is about, read from its body.
///
/// # Errors
/// [`NotAnEvent`] when the body is not one of our events.
pub fn call_id_of(body: &[u8]) -> Result<CallId, NotAnEvent> {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        subject: &'a str,
        #[serde(borrow)]
        #[expect(dead_code, reason = "an event without data is not one of ours")]
        data: &'a RawValue,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(NotAnEvent::Json)?;
    let digits = envelope.subject.strip_prefix("calls/").ok_or(NotAnEvent::Subject)?;
    digits.parse().map(CallId).map_err(|_not_a_number| NotAnEvent::Subject)
}

/// A message that is not one of our events.
#[derive(Debug, thiserror::Error)]
pub enum NotAnEvent {
    /// The body is not a CloudEvents JSON object.
    #[error("the message is not a CloudEvents JSON object")]
    Json(#[source] serde_json::Error),
    /// The subject names no call.
    #[error("the event's subject is not calls/ID")]
    Subject,
}

/// Appends our own structs of strings and numbers, which always serialize.
fn write_json(data: &impl Serialize, body: &mut Vec<u8>) {
    if let Err(error) = serde_json::to_writer(body, data) {
        tracing::error!(%error, "an event has no data");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Reason, Verification};

    fn recording() -> StoredRecording {
        StoredRecording {
            location: "file:///r/1.wav".to_owned(),
            size_bytes: 44,
            sha256: "ab".repeat(32),
            media_type: "audio/wav".to_owned(),
            codec: "pcm_alaw".to_owned(),
            duration_seconds: 15.18,
            channels: 2,
            sample_rate: 8000,
            verification: Verification::Decoded,
            waveform: None,
        }
    }

    #[test]
    fn the_same_event_has_the_same_id_in_one_database_and_another_in_the_next() {
        let now = Utc::now();
        let events = Events::new(Uuid::from_u128(1));
        let first = events.recording_stored((CallId(7), Environment::Live), &recording(), now);
        assert_eq!(first, events.recording_stored((CallId(7), Environment::Live), &recording(), now));
        assert_ne!(first.id, events.recording_stored((CallId(8), Environment::Live), &recording(), now).id);
        assert_ne!(
            first.id,
            Events::new(Uuid::from_u128(2))
                .recording_stored((CallId(7), Environment::Live), &recording(), now)
                .id
        );
    }

    #[test]
    fn the_environment_is_told_and_changes_no_id() {
        let events = Events::new(Uuid::from_u128(1));
        let stored = |env| events.recording_stored((CallId(7), env), &recording(), DateTime::UNIX_EPOCH);
        let (test, live) = (stored(Environment::Test), stored(Environment::Live));
        assert_eq!(test.id, live.id);
        assert_eq!(test.body, live.body.replace(r#""env":"live""#, r#""env":"test""#));
    }

    #[test]
    fn a_recording_that_fails_again_is_another_event() {
        let events = Events::new(Uuid::from_u128(1));
        let failed = |attempts| FailedRecording { reason: Reason::NotFound, attempts, last_error: "404" };
        let first = events.recording_failed((CallId(7), Environment::Live), &failed(8), Utc::now());
        let second = events.recording_failed((CallId(7), Environment::Live), &failed(16), Utc::now());
        assert_ne!(first.id, second.id);
    }

    #[test]
    fn the_body_is_a_cloud_event_with_the_published_data() {
        let event = Events::new(Uuid::from_u128(1)).recording_stored(
            (CallId(7), Environment::Live),
            &recording(),
            DateTime::UNIX_EPOCH,
        );
        let body: serde_json::Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(body["specversion"], "1.0");
        assert_eq!(body["id"], event.id.to_string());
        assert_eq!(body["type"], "ai.callvine.recording.stored");
        assert_eq!(body["source"], "/callvine");
        assert_eq!(body["subject"], "calls/7");
        assert_eq!(body["time"], "1970-01-01T00:00:00Z");
        assert_eq!(body["env"], "live");
        assert_eq!(body["data"]["call_id"], 7);
        assert_eq!(body["data"]["size"], 44);
        assert_eq!(body["data"]["duration_seconds"], 15.18);
        assert_eq!(body["data"].as_object().unwrap().len(), 9);
        assert_eq!(call_id_of(event.body.as_bytes()).unwrap(), CallId(7));
    }

    #[test]
    fn what_is_not_an_event_of_ours_is_refused() {
        for body in ["", "{}", "[]", r#"{"subject":"calls/x","data":1}"#, r#"{"subject":"calls/1"}"#] {
            assert!(call_id_of(body.as_bytes()).is_err(), "{body}");
        }
    }
}
