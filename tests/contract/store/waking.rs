//! A process that writes the outbox wakes its relay: no event waits for the next look at the table.

use std::time::Duration;

use callvine_shared::call::CallId;
use callvine_shared::recording::{Cause, Reason};
use callvine_shared::store::{DeadLetterId, DeadLetterKind, Postponed, Store};
use chrono::Utc;

use super::{UNREADABLE, begin, call, one_call, received, stored};

contract!(
    calls_wake_the_relay_unless_they_are_leased_to_it,
    every_step_of_a_recording_wakes_the_relay,
    whatever_an_operator_queues_wakes_the_relay,
    rows_that_become_due_wake_the_relay,
    a_step_that_does_nothing_wakes_nobody,
);

/// Whether the outbox was written since this was asked last.
async fn woken(store: &Store) -> bool {
    tokio::time::timeout(Duration::ZERO, store.outbox_written()).await.is_ok()
}

/// Fails unless the step wakes the relay, and it alone.
macro_rules! wakes {
    ($store:ident, $step:expr) => {
        assert!(!woken($store).await, "it was awake before {}", stringify!($step));
        $step;
        assert!(woken($store).await, "{} wakes nobody", stringify!($step));
    };
}

async fn calls_wake_the_relay_unless_they_are_leased_to_it(store: &Store) {
    let calls = [received(call("https://example.com/call.wav"))];
    wakes!(store, store.insert_calls(&calls).await.unwrap());
    let inserted = store.insert_leased_calls(&calls).await.unwrap();
    assert!(!woken(store).await);
    assert_eq!((inserted.outcomes.len(), inserted.outbox_ids.len()), (1, 1));
    let due: Vec<i64> = store.claim_due(Utc::now(), 10).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(due.len(), 1, "the batch that is not leased is due");
    assert!(!due.contains(&inserted.outbox_ids[0]));
}

async fn every_step_of_a_recording_wakes_the_relay(store: &Store) {
    let cause = Cause { reason: Reason::Timeout, last_error: "late" };
    let now = Utc::now();
    let (kept, lost) = (one_call(store).await, one_call(store).await);
    assert!(woken(store).await);
    begin(store, kept, now).await;
    wakes!(store, store.defer_recording(kept, now, now).await.unwrap());
    wakes!(store, store.postpone_recording(kept, Postponed::Failed(cause), now, now).await.unwrap());
    wakes!(store, assert!(store.recording_stored(kept, &stored(), now).await.unwrap()));
    wakes!(store, assert!(store.recording_failed(lost, cause, now).await.unwrap()));
    wakes!(store, assert!(store.analysis_failed(kept, UNREADABLE, now).await.unwrap()));
}

async fn whatever_an_operator_queues_wakes_the_relay(store: &Store) {
    let cause = Cause { reason: Reason::Timeout, last_error: "late" };
    let now = Utc::now();
    let (kept, lost) = (one_call(store).await, one_call(store).await);
    assert!(store.recording_stored(kept, &stored(), now).await.unwrap());
    assert!(store.recording_failed(lost, cause, now).await.unwrap());
    assert!(woken(store).await);
    wakes!(store, assert!(store.requeue_analysis(kept, now).await.unwrap()));
    wakes!(store, assert!(store.requeue_dead_letter(lost, now).await.unwrap()));
    let letter = DeadLetterId { kind: DeadLetterKind::Recording, call_id: lost };
    wakes!(store, store.retry_dead_letter(letter, now).await.unwrap());
    wakes!(store, assert!(store.requeue_recording(lost, now).await.unwrap()));
    wakes!(store, assert!(store.refetch_recording(kept, &stored().location, now).await.unwrap()));
}

async fn rows_that_become_due_wake_the_relay(store: &Store) {
    one_call(store).await;
    assert!(woken(store).await);
    let now = Utc::now();
    let claimed = store.claim_due(now, 10).await.unwrap();
    wakes!(store, store.release_unpublished(&[claimed[0].id], now).await.unwrap());
    wakes!(store, store.release_leases(now).await.unwrap());
    wakes!(store, store.recall_postponed(now).await.unwrap());
}

async fn a_step_that_does_nothing_wakes_nobody(store: &Store) {
    let now = Utc::now();
    let id = one_call(store).await;
    assert!(woken(store).await);
    assert!(!store.requeue_dead_letter(id, now).await.unwrap());
    assert!(!store.requeue_analysis(id, now).await.unwrap());
    assert!(!store.refetch_recording(id, "file:///nowhere", now).await.unwrap());
    let none = CallId(id.0 + 1000);
    assert!(!store.requeue_recording(none, now).await.unwrap());
    store.defer_recording(none, now, now).await.unwrap();
    assert!(!woken(store).await);
}
