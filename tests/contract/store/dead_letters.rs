//! Dead letters: listed, and attempted again with a fresh allowance, from the step that failed.

use callvine_shared::analysis;
use callvine_shared::call::CallId;
use callvine_shared::queue::Queue;
use callvine_shared::recording::{Cause, Reason, Status};
use callvine_shared::store::{Begun, DeadLetterId, DeadLetterKind, Postponed, Retried, Store};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{LATE, UNREADABLE, analysis_of, begin, due, one_call, seconds, stored};

contract!(
    a_recording_that_was_given_up_is_listed_and_can_be_attempted_again,
    its_second_failure_is_another_event_and_attempts_are_counted_anew,
    an_analysis_that_failed_is_requested_again,
    only_a_dead_letter_can_be_attempted_again,
    its_dead_letter_goes_with_it,
    what_is_not_settled_is_read_as_a_dead_letter_would_be,
);

const WHY: Cause<'static> = Cause { reason: Reason::NotFound, last_error: "the host answered 404" };

async fn given_up(store: &Store, now: DateTime<Utc>) -> CallId {
    let id = one_call(store).await;
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    assert!(store.recording_failed(id, WHY, now).await.unwrap());
    id
}

fn recording(call_id: CallId) -> DeadLetterId {
    DeadLetterId { kind: DeadLetterKind::Recording, call_id }
}

async fn a_recording_that_was_given_up_is_listed_and_can_be_attempted_again(store: &Store) {
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    one_call(store).await;
    let id = given_up(store, now).await;
    let letters = store.dead_letters(DeadLetterKind::Recording, CallId(0)).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.id, recording(id));
    assert_eq!(
        (letter.reason.as_deref(), letter.last_error.as_deref()),
        (Some(WHY.reason.name()), Some(WHY.last_error))
    );
    assert_eq!((letter.attempts, letter.failed_at), (1, Some(now)));
    assert_eq!(letter.recording_url, "https://example.com/call.wav");
    assert!(store.dead_letters(DeadLetterKind::Recording, id).await.unwrap().is_empty());
    assert!(store.dead_letters(DeadLetterKind::Analysis, CallId(0)).await.unwrap().is_empty());
    assert_eq!(store.dead_letter(recording(id)).await.unwrap().unwrap().id, recording(id));
    assert!(store.dead_letter(recording(CallId(id.0 - 1))).await.unwrap().is_none());
    due(store, Utc::now()).await;

    assert_eq!(store.retry_dead_letter(recording(id), now).await.unwrap(), Retried::Queued);
    let messages = due(store, Utc::now()).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((messages[0].0.as_str(), messages[0].1), ("call.created", Some(Queue::Recordings.name())));
    let state = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((state.status, state.attempts, state.reason), (Status::Pending, 1, None));
    assert!(store.dead_letter(recording(id)).await.unwrap().is_none());
    let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
    assert_eq!((pending.attempts, pending.attempts_counted), (1, 0), "a fresh allowance");
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    let state = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((state.status, state.attempts), (Status::Stored, 2));
}

async fn its_second_failure_is_another_event_and_attempts_are_counted_anew(store: &Store) {
    let now = Utc::now();
    let id = given_up(store, now).await;
    let first_id = store.failed_event_id(id).await.unwrap().unwrap();
    let failures = |events: Vec<(String, Option<&'static str>, Value)>| -> Vec<Value> {
        events.into_iter().filter(|(key, ..)| key == "recording.failed").map(|(.., body)| body).collect()
    };
    let first = failures(due(store, now).await);
    assert_eq!(first.len(), 2, "to everybody, and to the dead letters");
    assert!(first.iter().all(|event| event["id"] == first_id.to_string()));

    store.retry_dead_letter(recording(id), now).await.unwrap();
    assert_eq!(store.failed_event_id(id).await.unwrap(), None);
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    store.postpone_recording(id, LATE, now + seconds(5), now).await.unwrap();
    let Begun::Leased(pending) = begin(store, id, now + seconds(5)).await else { panic!("not leased") };
    assert_eq!((pending.attempts, pending.attempts_counted), (2, 1));
    assert!(store.recording_failed(id, WHY, now).await.unwrap());
    let second = failures(due(store, Utc::now()).await);
    assert_eq!(second.len(), 2);
    let second_id = store.failed_event_id(id).await.unwrap().unwrap();
    assert_ne!(first_id, second_id);
    assert!(
        second.iter().all(|event| event["id"] == second_id.to_string() && event["data"]["attempts"] == 3)
    );
}

async fn an_analysis_that_failed_is_requested_again(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    due(store, now).await;
    let analysis = analysis_of(id);
    assert_eq!(store.retry_dead_letter(analysis, now).await.unwrap(), Retried::NotFailed);
    assert!(store.analysis_failed(id, UNREADABLE, now).await.unwrap());
    assert!(!store.analysis_failed(id, UNREADABLE, now).await.unwrap());
    let letters = store.dead_letters(DeadLetterKind::Analysis, CallId(0)).await.unwrap();
    assert_eq!((letters.len(), letters[0].id, letters[0].attempts), (1, analysis, 1));
    assert_eq!(letters[0].reason.as_deref(), Some("unreadable"));
    due(store, now).await;
    assert_eq!(store.retry_dead_letter(analysis, now).await.unwrap(), Retried::Queued);
    let messages = due(store, Utc::now()).await;
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].0.as_str(), messages[0].1), ("analysis.requested", Some(Queue::Analysis.name())));
    assert_eq!(messages[0].2["data"]["location"], "file:///r/2026/1.wav");
    assert_eq!(
        store.call(id, Some("a client")).await.unwrap().unwrap().quality().unwrap().status,
        analysis::Status::Requested
    );
    assert_eq!(store.retry_dead_letter(analysis, now).await.unwrap(), Retried::NotFailed);
}

async fn only_a_dead_letter_can_be_attempted_again(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    due(store, now).await;
    assert_eq!(store.retry_dead_letter(recording(id), now).await.unwrap(), Retried::NotFailed);
    assert_eq!(store.retry_dead_letter(recording(CallId(404)), now).await.unwrap(), Retried::Unknown);
    let analysis = analysis_of(id);
    assert_eq!(store.retry_dead_letter(analysis, now).await.unwrap(), Retried::Unknown);
    assert!(due(store, Utc::now()).await.is_empty(), "nothing happened, so nothing is queued");
}

async fn its_dead_letter_goes_with_it(store: &Store) {
    let now = Utc::now();
    let (delivered, waiting) = (given_up(store, now).await, given_up(store, now).await);
    let letter = store.failed_event_id(delivered).await.unwrap().unwrap().to_string();
    let dead = Queue::RecordingsDead;
    store
        .push_deliveries(&[(dead.name(), &letter, "{}"), (dead.name(), "another", "[]")], now)
        .await
        .unwrap();
    for id in [delivered, waiting] {
        assert_eq!(store.retry_dead_letter(recording(id), now).await.unwrap(), Retried::Queued);
    }
    let left: Vec<String> =
        store.deliveries_in(dead, 0).await.unwrap().into_iter().map(|(_, body)| body).collect();
    assert_eq!(left, ["[]"]);
    let messages = due(store, Utc::now()).await;
    assert!(messages.iter().all(|(_, queue, _)| *queue != Some(dead.name())), "{messages:?}");
    assert_eq!(
        messages.iter().filter(|(key, ..)| key == "recording.failed").count(),
        2,
        "that it failed is told"
    );
}

async fn what_is_not_settled_is_read_as_a_dead_letter_would_be(store: &Store) {
    let now = Utc::now();
    let (waiting, kept) = (one_call(store).await, one_call(store).await);
    let why = Postponed::Failed(WHY);
    assert!(matches!(begin(store, waiting, now).await, Begun::Leased(_)));
    store.postpone_recording(waiting, why, now + seconds(5), now).await.unwrap();
    let letter = store.unsettled(recording(waiting)).await.unwrap().unwrap();
    assert_eq!((letter.id, letter.attempts, letter.failed_at), (recording(waiting), 1, None));
    assert_eq!(letter.last_error.as_deref(), Some(WHY.last_error));
    assert_eq!(letter.recording_url, "https://example.com/call.wav");
    assert!(store.unsettled(analysis_of(waiting)).await.unwrap().is_none(), "no analysis is requested");

    assert!(store.recording_stored(kept, &stored(), now).await.unwrap());
    assert!(store.unsettled(recording(kept)).await.unwrap().is_none());
    assert_eq!(store.unsettled(analysis_of(kept)).await.unwrap().unwrap().id, analysis_of(kept));
    assert!(store.analysis_failed(kept, UNREADABLE, now).await.unwrap());
    assert!(store.unsettled(analysis_of(kept)).await.unwrap().is_none());
    assert!(store.unsettled(recording(CallId(404))).await.unwrap().is_none());
}
