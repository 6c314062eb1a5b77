//! The store's contract: every operation, on PostgreSQL and on SQLite, by the same tests.

use std::sync::Arc;

use callvine_shared::call::{CallId, NewCall};
use callvine_shared::recording::{StoredRecording, Verification};
use callvine_shared::store::{Begun, OutboxContent, ReceivedCall, Store};
use chrono::{DateTime, TimeDelta, Utc};
use harness::Postgres;
use serde_json::Value;

/// Instantiates every test for both databases: a statement that only one of them understands can't land.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let store = crate::store::postgres().await;
                super::$name(&store).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (_directory, store) = crate::store::sqlite().await;
                super::$name(&store).await;
            })+
        }
    };
}

mod calls;
mod clocks;
mod dead_letters;
mod deliveries;
mod disconnected;
mod keys;
mod lost;
mod outbox;
mod recordings;
mod reports;
mod waiting;
mod waking;

async fn postgres() -> Store {
    let url = Postgres::shared().await.database().await;
    let store = Store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn sqlite() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::connect(&format!("sqlite://{}/callvine.db", directory.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    (directory, store)
}

fn call(recording_url: &str) -> NewCall {
    NewCall {
        from_phone: "9087270291".to_owned(),
        to_phone: "8006000009".to_owned(),
        handled_by: "Agent Smith".to_owned(),
        department: Some("Customer Service".to_owned()),
        start_time: "2024-01-15T09:00:00".parse().unwrap(),
        end_time: "2024-01-15T09:15:00".parse().unwrap(),
        recording_url: recording_url.to_owned(),
    }
}

fn received(call: NewCall) -> ReceivedCall {
    ReceivedCall {
        client: Arc::from("a client"),
        call: Arc::new(call),
        created_at: "2024-01-15T10:30:00Z".parse().unwrap(),
    }
}

async fn one_call(store: &Store) -> CallId {
    let ids = store.insert_calls(&[received(call("https://example.com/call.wav"))]).await.unwrap();
    ids[0]
}

fn stored() -> StoredRecording {
    StoredRecording {
        location: "file:///r/2026/1.wav".to_owned(),
        size_bytes: 242_880,
        sha256: "ab".repeat(32),
        media_type: "audio/wav".to_owned(),
        codec: "pcm_alaw".to_owned(),
        duration_seconds: 15.18,
        channels: 2,
        sample_rate: 8000,
        verification: Verification::Decoded,
        waveform: Some(callvine_shared::waveform::encode(&[vec![(-300, 300)], vec![(0, 0)]])),
    }
}

fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

/// Everything that is due: routing key, queue, and body as JSON.
async fn due(store: &Store, now: DateTime<Utc>) -> Vec<(String, Option<&'static str>, Value)> {
    let mut rows = store.claim_due(now, 1000).await.unwrap();
    rows.sort_by_key(|row| row.id);
    let mut messages = Vec::new();
    for row in rows {
        let row_messages = match row.content {
            OutboxContent::Message(message) => vec![message],
            OutboxContent::CallsCreated(first, last) => store.messages_of_calls(first, last).await.unwrap(),
        };
        for message in row_messages {
            let body: Value = serde_json::from_str(&message.body).unwrap();
            assert_eq!(body["id"], message.event_id);
            let queue = message.queue.as_ref().map(|queue| queue.known().unwrap().name());
            messages.push((message.routing_key.into_owned(), queue, body));
        }
    }
    messages
}

async fn begin(store: &Store, id: CallId, now: DateTime<Utc>) -> Begun {
    store.begin_recording(id, now, now + seconds(15)).await.unwrap()
}
