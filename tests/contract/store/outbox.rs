//! The outbox: claimed, released, removed.

use callvine_shared::store::{OUTBOX_LEASE, Store};
use chrono::{TimeDelta, Utc};

use super::{call, due, insert, one_call, received, seconds};

contract!(
    every_call_leaves_one_event_in_the_outbox,
    a_claimed_event_is_left_alone_until_its_lease_ends,
    a_released_event_is_due_when_it_is_said,
    an_event_that_is_removed_never_comes_back,
);

async fn every_call_leaves_one_event_in_the_outbox(store: &Store) {
    assert_eq!(store.outbox_backlog().await.unwrap(), (0, None));
    let batch = vec![received(call("https://example.com/call.wav")); 3];
    let ids = insert(store, &batch).await;
    let events = due(store, Utc::now()).await;
    let subjects: Vec<_> = events.iter().map(|(_, _, event)| event["subject"].clone()).collect();
    assert_eq!(subjects, ids.iter().map(|id| format!("calls/{id}")).collect::<Vec<_>>());
    let (routing_key, queue, event) = &events[0];
    assert_eq!((routing_key.as_str(), queue), ("call.created", &None));
    assert_eq!(event["type"], "ai.callvine.call.created");
    assert_eq!(event["time"], "2024-01-15T10:30:00Z");
    assert_eq!(event["data"]["id"], ids[0].0);
    assert_eq!(event["data"]["title"], "Call from 9087270291 to 8006000009 (handled by Agent Smith)");
    let (rows, oldest) = store.outbox_backlog().await.unwrap();
    assert_eq!(rows, 1, "one row for the whole batch");
    assert!(Utc::now() - oldest.unwrap() < seconds(60));
}

async fn a_claimed_event_is_left_alone_until_its_lease_ends(store: &Store) {
    one_call(store).await;
    let now = Utc::now();
    let lease = TimeDelta::from_std(OUTBOX_LEASE).unwrap();
    let first = store.claim_due(now, 10).await.unwrap();
    assert_eq!(first.len(), 1);
    assert!(store.claim_due(now + lease - seconds(1), 10).await.unwrap().is_empty());
    let again = store.claim_due(now + lease, 10).await.unwrap();
    assert_eq!((again.len(), again[0].id), (1, first[0].id));
}

async fn a_released_event_is_due_when_it_is_said(store: &Store) {
    one_call(store).await;
    let now = Utc::now();
    let ids: Vec<i64> = store.claim_due(now, 10).await.unwrap().iter().map(|row| row.id).collect();
    store.release_unpublished(&ids, now + seconds(2)).await.unwrap();
    assert!(store.claim_due(now + seconds(1), 10).await.unwrap().is_empty());
    let due = store.next_due().await.unwrap().unwrap();
    assert_eq!(due.timestamp_micros(), (now + seconds(2)).timestamp_micros());
    assert_eq!(store.claim_due(now + seconds(2), 10).await.unwrap().len(), 1);
}

async fn an_event_that_is_removed_never_comes_back(store: &Store) {
    for _ in 0..3 {
        one_call(store).await;
    }
    let now = Utc::now();
    let ids: Vec<i64> = store.claim_due(now, 2).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 2, "no more than asked for");
    store.remove_published(&ids).await.unwrap();
    assert_eq!(store.claim_due(now + seconds(3600), 10).await.unwrap().len(), 1);
}
