//! Events say for which environment the key of their call was, and their ids don't depend on it.

use std::sync::Arc;

use callvine_shared::api_key::Environment;
use callvine_shared::call::CallId;
use callvine_shared::recording::{Cause, Reason};
use callvine_shared::store::{ReceivedCall, Store};
use chrono::Utc;
use serde_json::Value;

use super::{LATE, begin, call, due, received, seconds, stored};

contract!(every_event_of_a_call_has_its_environment, a_call_has_its_environment);

const WHY: Cause<'static> = Cause { reason: Reason::NotFound, last_error: "404" };

async fn insert(store: &Store, env: Environment) -> CallId {
    let call = ReceivedCall { env, ..received(call("https://example.com/call.wav")) };
    store.insert_calls(&[call]).await.unwrap()[0]
}

async fn every_event_of_a_call_has_its_environment(store: &Store) {
    for env in Environment::ALL {
        let (kept, lost) = (insert(store, env).await, insert(store, env).await);
        let now = Utc::now();
        let mut events = due(store, now).await;
        // An attempt that failed makes `call.created` anew.
        begin(store, kept, now).await;
        store.postpone_recording(kept, LATE, now, now).await.unwrap();
        assert!(store.recording_stored(kept, &stored(), now).await.unwrap());
        assert!(store.requeue_analysis(kept, now).await.unwrap());
        assert!(store.recording_failed(lost, WHY, now).await.unwrap());
        assert!(store.requeue_dead_letter(lost, now).await.unwrap());
        events.extend(due(store, now + seconds(1)).await);
        let told: Vec<(&str, &Value)> =
            events.iter().map(|(key, _queue, body)| (key.as_str(), &body["env"])).collect();
        let keys = [
            "call.created",
            "call.created",
            "call.created",
            "recording.stored",
            "analysis.requested",
            "analysis.requested",
            "recording.failed",
            "recording.failed",
            "recording.failed",
        ];
        let expected = Value::from(env.name());
        assert_eq!(told, keys.map(|key| (key, &expected)));
        assert!(events.iter().all(|(_, _, body)| body["data"].get("env").is_none()), "data are as published");
    }
}

async fn a_call_has_its_environment(store: &Store) {
    for env in Environment::ALL {
        let id = insert(store, env).await;
        let record = store.call(id, Some("a client")).await.unwrap().unwrap();
        assert_eq!(record.call.env, env);
        assert_eq!(record.call.call, Arc::new(call("https://example.com/call.wav")));
    }
}
