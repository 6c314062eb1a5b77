//! The store's contract: every operation, on PostgreSQL and on SQLite, by the same tests.

use std::sync::Arc;

use callvine_shared::api_key::Environment;
use callvine_shared::call::{CallId, NewCall};
use callvine_shared::recording::{Cause, Reason, StoredRecording, Verification};
use callvine_shared::store::{
    AnalysisCause, Begun, DeadLetterId, DeadLetterKind, OutboxContent, Outcome, Postponed, ReceivedCall,
    Store,
};
use chrono::{DateTime, TimeDelta, Utc};
use harness::{Database, Postgres};
use serde_json::Value;

/// Instantiates every test for both databases: a statement that only one of them understands can't land. With
/// `tables;` before the names, each test gets the tables beside the store.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        contract!(@ (store) $($name),+);
    };
    (tables; $($name:ident),+ $(,)?) => {
        contract!(@ (store, tables) $($name),+);
    };
    (@ $arguments:tt $($name:ident),+) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let opened = crate::store::postgres().await;
                contract!(call $name opened $arguments);
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (_directory, opened) = crate::store::sqlite().await;
                contract!(call $name opened $arguments);
            })+
        }
    };
    (call $name:ident $opened:ident ($($argument:ident),+)) => {
        super::$name($(&$opened.$argument),+).await
    };
}

mod analyses;
mod audit;
mod calls;
mod clocks;
mod dead_letters;
mod deliveries;
mod disconnected;
mod environments;
mod idempotency;
mod key_changes;
mod keys;
mod lost;
mod outbox;
mod recordings;
mod refused;
mod repair;
mod reports;
mod waiting;
mod waking;

/// A migrated database of a test's own.
struct Opened {
    store: Store,
    /// The same database, past the store.
    tables: Database,
}

impl Opened {
    async fn new(url: &str) -> Self {
        let store = Store::connect(url).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, tables: Database::new(url) }
    }
}

async fn postgres() -> Opened {
    Opened::new(&Postgres::shared().await.database().await).await
}

async fn sqlite() -> (tempfile::TempDir, Opened) {
    let directory = tempfile::tempdir().unwrap();
    let opened = Opened::new(&format!("sqlite://{}/callvine.db", directory.path().display())).await;
    (directory, opened)
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
        env: Environment::Live,
        call: Arc::new(call),
        created_at: "2024-01-15T10:30:00Z".parse().unwrap(),
        mark: None,
    }
}

/// A failed attempt that is worth another one.
const LATE: Postponed<'static> = Postponed::Failed(Cause { reason: Reason::Timeout, last_error: "late" });

/// An analyzer's verdict that nothing can be heard.
const UNREADABLE: AnalysisCause<'static> =
    AnalysisCause { reason: "unreadable", last_error: "no sound in it" };

/// Stores calls that were never stored before.
async fn insert(store: &Store, calls: &[ReceivedCall]) -> Vec<CallId> {
    let new_id = |outcome| match outcome {
        Outcome::New(id) => id,
        known => panic!("it was stored before: {known:?}"),
    };
    store.insert_calls(calls).await.unwrap().into_iter().map(new_id).collect()
}

async fn one_call(store: &Store) -> CallId {
    insert(store, &[received(call("https://example.com/call.wav"))]).await[0]
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

fn analysis_of(call_id: CallId) -> DeadLetterId {
    DeadLetterId { kind: DeadLetterKind::Analysis, call_id }
}

async fn begin(store: &Store, id: CallId, now: DateTime<Utc>) -> Begun {
    store.begin_recording(id, now, now + seconds(15)).await.unwrap()
}
