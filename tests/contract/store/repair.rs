//! Queueing again: what an audit has missed is queued with the id it had, and what needs no repair is left alone.

use callvine_shared::analysis;
use callvine_shared::call::CallId;
use callvine_shared::queue::Queue;
use callvine_shared::recording::{Cause, Reason, Status};
use callvine_shared::store::{Begun, Retried, Store};
use chrono::Utc;
use harness::Database;
use serde_json::Value;

use super::{UNREADABLE, analysis_of, begin, due, one_call, seconds, stored};

contract!(
    tables;
    a_pending_recording_is_queued_again_with_the_id_of_its_event,
    a_recording_without_a_row_gets_one_and_is_queued,
    a_recording_in_a_workers_hands_is_not_queued_again,
    a_settled_recording_is_not_queued_again,
    a_stored_recording_whose_object_is_lost_is_fetched_anew,
    a_recording_that_is_not_stored_there_is_not_fetched_anew,
    an_analysis_is_requested_again_with_the_id_of_its_event,
    an_analysis_without_a_row_gets_one_and_is_requested,
    an_analysis_that_is_settled_is_not_requested_again,
    a_recording_that_was_given_up_goes_to_the_dead_letters_again,
    a_recording_that_was_not_given_up_sends_no_dead_letter,
);

const WHY: Cause<'static> = Cause { reason: Reason::NotFound, last_error: "the host answered 404" };
const LOCATION: &str = "file:///r/2026/1.wav";

/// A call whose recording is stored, and whose events are taken.
async fn one_stored(store: &Store) -> CallId {
    let id = one_call(store).await;
    assert!(store.recording_stored(id, &stored(), Utc::now()).await.unwrap());
    id
}

/// A call whose recording was given up.
async fn one_failed(store: &Store) -> CallId {
    let id = one_call(store).await;
    assert!(store.recording_failed(id, WHY, Utc::now()).await.unwrap());
    id
}

/// The id of the one event with this routing key among those that are due, which are taken.
async fn taken_id(store: &Store, routing_key: &str) -> Value {
    let mut events = due(store, Utc::now()).await;
    events.retain(|(key, ..)| key == routing_key);
    assert_eq!(events.len(), 1, "{events:?}");
    events[0].2["id"].clone()
}

/// Takes the one message that is due, and checks that it is this event, for this queue alone.
async fn assert_queued(store: &Store, routing_key: &str, queue: Queue, event_id: &Value) -> Value {
    let mut messages = due(store, Utc::now()).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    let (key, only, event) = messages.remove(0);
    assert_eq!((key.as_str(), only), (routing_key, Some(queue.name())));
    assert_eq!(&event["id"], event_id, "a subscriber must be able to tell that it has seen it");
    event
}

async fn assert_nothing_queued(store: &Store) {
    let messages = due(store, Utc::now()).await;
    assert!(messages.is_empty(), "{messages:?}");
}

async fn status(store: &Store, id: CallId) -> Status {
    store.call(id, Some("a client")).await.unwrap().unwrap().recording.status
}

async fn a_pending_recording_is_queued_again_with_the_id_of_its_event(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    let event_id = taken_id(store, "call.created").await;
    tables.execute("delete from outbox").await;
    assert!(store.requeue_recording(id, Utc::now()).await.unwrap());
    let event = assert_queued(store, "call.created", Queue::Recordings, &event_id).await;
    assert_eq!(event["data"]["id"], id.0);
    assert_eq!(status(store, id).await, Status::Pending);
}

async fn a_recording_without_a_row_gets_one_and_is_queued(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    let event_id = taken_id(store, "call.created").await;
    tables.execute("delete from outbox").await;
    tables.execute("delete from recordings").await;
    let now = Utc::now();
    assert!(matches!(begin(store, id, now).await, Begun::Unknown));
    assert!(store.requeue_recording(id, now).await.unwrap());
    assert_queued(store, "call.created", Queue::Recordings, &event_id).await;
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
}

async fn a_recording_in_a_workers_hands_is_not_queued_again(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    tables.execute("delete from outbox").await;
    let now = Utc::now();
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    assert!(!store.requeue_recording(id, now + seconds(14)).await.unwrap());
    assert_nothing_queued(store).await;
    assert!(matches!(begin(store, id, now + seconds(14)).await, Begun::Busy(_)), "the lease stands");
    assert!(store.requeue_recording(id, now + seconds(15)).await.unwrap(), "the lease has ended");
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)), "and is given up");
}

async fn a_settled_recording_is_not_queued_again(store: &Store, tables: &Database) {
    let settled = [(one_stored(store).await, Status::Stored), (one_failed(store).await, Status::Failed)];
    tables.execute("delete from outbox").await;
    for (id, expected) in settled {
        assert!(!store.requeue_recording(id, Utc::now()).await.unwrap());
        assert_eq!(status(store, id).await, expected);
    }
    assert_nothing_queued(store).await;
}

async fn a_stored_recording_whose_object_is_lost_is_fetched_anew(store: &Store, tables: &Database) {
    let id = one_call(store).await;
    let event_id = taken_id(store, "call.created").await;
    assert!(store.recording_stored(id, &stored(), Utc::now()).await.unwrap());
    tables.execute("delete from outbox").await;
    let now = Utc::now();
    assert!(store.refetch_recording(id, LOCATION, now).await.unwrap());
    assert_queued(store, "call.created", Queue::Recordings, &event_id).await;
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((recording.status, recording.attempts), (Status::Pending, 1));
    assert_eq!((recording.location, recording.sha256, recording.size_bytes), (None, None, None));
    assert_eq!((recording.duration_seconds, recording.stored_at), (None, None));
    assert_eq!(store.waveform(id).await.unwrap(), None);
    assert!(!store.refetch_recording(id, LOCATION, now).await.unwrap(), "once is enough");
    let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
    assert_eq!((pending.attempts, pending.attempts_counted), (1, 0), "a fresh allowance");
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
}

async fn a_recording_that_is_not_stored_there_is_not_fetched_anew(store: &Store, tables: &Database) {
    let (elsewhere, failed) = (one_stored(store).await, one_failed(store).await);
    let pending = one_call(store).await;
    tables.execute("delete from outbox").await;
    for (id, location) in [
        (elsewhere, "file:///r/2026/2.wav"),
        (failed, LOCATION),
        (pending, LOCATION),
        (CallId(404), LOCATION),
    ] {
        assert!(!store.refetch_recording(id, location, Utc::now()).await.unwrap());
    }
    assert_nothing_queued(store).await;
    assert_eq!(status(store, elsewhere).await, Status::Stored);
    assert_eq!(status(store, failed).await, Status::Failed);
    assert_eq!(store.waveform(elsewhere).await.unwrap(), stored().waveform);
}

async fn an_analysis_is_requested_again_with_the_id_of_its_event(store: &Store, tables: &Database) {
    let id = one_stored(store).await;
    let event_id = taken_id(store, "analysis.requested").await;
    tables.execute("delete from outbox").await;
    assert!(store.requeue_analysis(id, Utc::now()).await.unwrap());
    let event = assert_queued(store, "analysis.requested", Queue::Analysis, &event_id).await;
    assert_eq!(event["data"]["location"], LOCATION);
    assert_eq!(event["data"]["handled_by"], "Agent Smith");
}

async fn an_analysis_without_a_row_gets_one_and_is_requested(store: &Store, tables: &Database) {
    let id = one_stored(store).await;
    let event_id = taken_id(store, "analysis.requested").await;
    tables.execute("delete from outbox").await;
    tables.execute("delete from analyses").await;
    assert!(store.requeue_analysis(id, Utc::now()).await.unwrap());
    assert_queued(store, "analysis.requested", Queue::Analysis, &event_id).await;
    let record = store.call(id, Some("a client")).await.unwrap().unwrap();
    let analysis = record.quality().unwrap();
    assert_eq!(analysis.status, analysis::Status::Requested);
}

async fn an_analysis_that_is_settled_is_not_requested_again(store: &Store, tables: &Database) {
    let id = one_stored(store).await;
    let now = Utc::now();
    assert!(store.analysis_failed(id, UNREADABLE, now).await.unwrap());
    tables.execute("delete from outbox").await;
    assert!(!store.requeue_analysis(id, now).await.unwrap());
    assert_nothing_queued(store).await;
    assert_eq!(
        store.retry_dead_letter(analysis_of(id), now).await.unwrap(),
        Retried::Queued,
        "it is given up"
    );
}

async fn a_recording_that_was_given_up_goes_to_the_dead_letters_again(store: &Store, tables: &Database) {
    let id = one_failed(store).await;
    tables.execute("delete from outbox").await;
    assert!(store.requeue_dead_letter(id, Utc::now()).await.unwrap());
    let event_id = store.failed_event_id(id).await.unwrap().unwrap().to_string();
    let event = assert_queued(store, "recording.failed", Queue::RecordingsDead, &event_id.into()).await;
    let told = [&event["data"]["reason"], &event["data"]["attempts"], &event["data"]["last_error"]];
    assert_eq!(told, [&Value::from(WHY.reason.name()), &Value::from(1), &Value::from(WHY.last_error)]);
    assert_eq!(status(store, id).await, Status::Failed);
}

async fn a_recording_that_was_not_given_up_sends_no_dead_letter(store: &Store, tables: &Database) {
    let calls = [one_stored(store).await, one_call(store).await, CallId(404)];
    tables.execute("delete from outbox").await;
    for id in calls {
        assert!(!store.requeue_dead_letter(id, Utc::now()).await.unwrap());
        assert_eq!(store.failed_event_id(id).await.unwrap(), None);
    }
    assert_nothing_queued(store).await;
}
