//! The queues of in-process delivery, and what a dead process left.

use callvine_shared::store::{Begun, DELIVERY_LEASE, Store};
use chrono::{TimeDelta, Utc};

use super::{begin, one_call, seconds};

contract!(
    deliveries_are_claimed_renewed_moved_and_removed,
    a_queue_has_waiting_messages_until_all_are_claimed,
    release_frees_what_a_dead_process_had_leased,
);

async fn deliveries_are_claimed_renewed_moved_and_removed(store: &Store) {
    let now = Utc::now();
    let lease = TimeDelta::from_std(DELIVERY_LEASE).unwrap();
    store
        .push_deliveries(&[("q", "1", "first"), ("q", "2", "second"), ("other", "3", "third")], now)
        .await
        .unwrap();
    let claimed = store.claim_deliveries("q", now, 10).await.unwrap();
    let bodies: Vec<_> = claimed.iter().map(|row| (row.body.as_str(), row.attempts)).collect();
    assert_eq!(bodies, [("first", 1), ("second", 1)]);
    assert!(store.claim_deliveries("q", now + lease - seconds(1), 10).await.unwrap().is_empty());
    store.renew_deliveries(&[claimed[0].id], now + seconds(10)).await.unwrap();
    let again = store.claim_deliveries("q", now + lease, 10).await.unwrap();
    assert_eq!((again[0].body.as_str(), again[0].attempts, again.len()), ("second", 2, 1));
    store.move_delivery(again[0].id, "dead", now).await.unwrap();
    store.remove_delivery(claimed[0].id).await.unwrap();
    assert_eq!(store.delivery_depth("q").await.unwrap(), 0);
    assert_eq!(store.delivery_depth("dead").await.unwrap(), 1);
    assert_eq!(store.claim_deliveries("dead", now, 1).await.unwrap()[0].attempts, 1);
}

async fn a_queue_has_waiting_messages_until_all_are_claimed(store: &Store) {
    let now = Utc::now();
    let lease = TimeDelta::from_std(DELIVERY_LEASE).unwrap();
    assert!(!store.deliveries_wait("q", now).await.unwrap());
    store.push_deliveries(&[("q", "1", "body")], now).await.unwrap();
    assert!(store.deliveries_wait("q", now).await.unwrap());
    assert!(!store.deliveries_wait("another", now).await.unwrap());
    assert_eq!(store.claim_deliveries("q", now, 10).await.unwrap().len(), 1);
    assert!(!store.deliveries_wait("q", now).await.unwrap(), "it is in hand");
    assert!(store.deliveries_wait("q", now + lease).await.unwrap(), "its claim has ended");
    let before = now - TimeDelta::days(1);
    assert!(store.deliveries_wait("q", before).await.unwrap(), "it was claimed under another clock");
}

async fn release_frees_what_a_dead_process_had_leased(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert_eq!(store.claim_due(now, 10).await.unwrap().len(), 1);
    store.push_deliveries(&[("q", "1", "body")], now).await.unwrap();
    assert_eq!(store.claim_deliveries("q", now, 10).await.unwrap().len(), 1);
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    store.release_leases(now + seconds(1)).await.unwrap();
    let now = now + seconds(1);
    assert_eq!(store.claim_due(now, 10).await.unwrap().len(), 1);
    assert_eq!(store.claim_deliveries("q", now, 10).await.unwrap().len(), 1);
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
}
