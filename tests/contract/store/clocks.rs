//! A clock that is set back: rows that were postponed under the old time don't wait until it comes again.

use callvine_shared::queue::Queue;
use callvine_shared::store::{Begun, Store};
use chrono::{TimeDelta, Utc};

use super::{LATE, one_call, seconds};

contract!(
    an_event_that_was_postponed_under_another_clock_is_recalled,
    a_delivery_that_was_postponed_under_another_clock_is_recalled,
    a_lease_from_another_clock_is_none,
    a_lease_or_a_retry_is_not_recalled,
);

async fn an_event_that_was_postponed_under_another_clock_is_recalled(store: &Store) {
    one_call(store).await;
    let now = Utc::now();
    assert_eq!(store.claim_due(now + TimeDelta::days(1), 10).await.unwrap().len(), 1);
    assert!(store.claim_due(now, 10).await.unwrap().is_empty());
    assert_eq!(store.recall_postponed(now).await.unwrap(), 1);
    assert_eq!(store.claim_due(now, 10).await.unwrap().len(), 1);
}

async fn a_delivery_that_was_postponed_under_another_clock_is_recalled(store: &Store) {
    let (queue, now) = (Queue::Recordings.name(), Utc::now());
    store.push_deliveries(&[(queue, "id", "body")], now + TimeDelta::days(1)).await.unwrap();
    assert!(store.claim_deliveries(queue, now, 10).await.unwrap().is_empty());
    assert_eq!(store.recall_postponed(now).await.unwrap(), 1);
    assert_eq!(store.claim_deliveries(queue, now, 10).await.unwrap().len(), 1);
}

async fn a_lease_from_another_clock_is_none(store: &Store) {
    let id = one_call(store).await;
    let (now, then) = (Utc::now(), Utc::now() + TimeDelta::days(1));
    let leased = store.begin_recording(id, then, then + seconds(15)).await.unwrap();
    assert!(matches!(leased, Begun::Leased(_)), "{leased:?}");
    let leased = store.begin_recording(id, now, now + seconds(15)).await.unwrap();
    assert!(matches!(leased, Begun::Leased(_)), "{leased:?}");
    let busy = store.begin_recording(id, now, now + seconds(15)).await.unwrap();
    assert!(matches!(busy, Begun::Busy(_)), "{busy:?}");
    store.postpone_recording(id, LATE, then, then).await.unwrap();
    let leased = store.begin_recording(id, now, now + seconds(15)).await.unwrap();
    assert!(matches!(leased, Begun::Leased(_)), "{leased:?}");
}

async fn a_lease_or_a_retry_is_not_recalled(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert_eq!(store.claim_due(now, 10).await.unwrap().len(), 1);
    store.postpone_recording(id, LATE, now + seconds(3600), now).await.unwrap();
    store.push_deliveries(&[(Queue::Recordings.name(), "id", "body")], now).await.unwrap();
    assert_eq!(store.claim_deliveries(Queue::Recordings.name(), now, 10).await.unwrap().len(), 1);
    assert_eq!(store.recall_postponed(now).await.unwrap(), 0);
}
