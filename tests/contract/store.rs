//! The store's contract: every operation, on PostgreSQL and on SQLite, by the same tests.

use std::sync::Arc;
use std::time::Duration;

use callvine_shared::bus::Queue;
use callvine_shared::call::{CallId, NewCall};
use callvine_shared::event::StoredRecording;
use callvine_shared::store::{
    Begun, DELIVERY_LEASE, NewApiKey, OUTBOX_LEASE, ReceivedCall, Store, StoreError,
};
use chrono::{DateTime, TimeDelta, Utc};
use harness::Postgres;
use serde_json::Value;

/// Instantiates every test for both databases: a statement that only one of them understands can't land.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                let store = super::postgres().await;
                super::$name(&store).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (_directory, store) = super::sqlite().await;
                super::$name(&store).await;
            })+
        }
    };
}

contract!(
    calls_come_back_as_they_were_sent,
    a_batch_of_any_size_gets_distinct_ids_in_order,
    a_call_is_seen_by_its_own_client_alone,
    credentials_are_kept_out_of_the_public_table_and_out_of_events,
    one_bad_call_keeps_the_whole_batch_out,
    concurrent_batches_never_share_an_id,
    every_call_leaves_one_event_in_the_outbox,
    a_claimed_event_is_left_alone_until_its_lease_ends,
    a_released_event_is_due_when_it_is_said,
    an_event_that_is_removed_never_comes_back,
    a_recording_goes_from_pending_over_leased_to_stored,
    a_leased_recording_is_busy_until_the_lease_ends,
    a_lease_can_be_renewed,
    a_failed_try_is_counted_and_comes_back_when_it_is_due,
    a_recording_that_is_given_up_tells_everybody,
    a_settled_recording_stays_settled,
    a_deferred_recording_is_looked_at_again,
    an_unknown_recording_is_unknown,
    keys_are_made_listed_used_and_revoked,
    the_same_key_is_not_stored_twice,
    deliveries_are_claimed_renewed_moved_and_removed,
    release_frees_what_a_dead_process_had_leased,
    an_unmigrated_database_is_said_to_be_one,
);

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
    ReceivedCall { client: Arc::from("a client"), call, created_at: "2024-01-15T10:30:00Z".parse().unwrap() }
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
        verification: "decoded".to_owned(),
    }
}

fn seconds(count: i64) -> TimeDelta {
    TimeDelta::seconds(count)
}

/// Everything that is due, with its body as JSON.
async fn due(store: &Store, now: DateTime<Utc>) -> Vec<(String, Option<String>, Value)> {
    let mut rows = store.claim_due(now, 1000).await.unwrap();
    rows.sort_by_key(|row| row.id);
    rows.into_iter()
        .map(|row| (row.routing_key, row.queue, serde_json::from_str(&row.body).unwrap()))
        .collect()
}

async fn begin(store: &Store, id: CallId, now: DateTime<Utc>) -> Begun {
    store.begin_recording(id, now, now + seconds(15)).await.unwrap()
}

async fn calls_come_back_as_they_were_sent(store: &Store) {
    let mut unusual = call("HTTPS://Example.com:8443/a/b?c=d&e=%20#f");
    unusual.from_phone = "+49 (0) 30/1234-5 \u{1F4DE}".to_owned();
    unusual.handled_by = "O'Brien; drop table call_logs; -- \\ \"quoted\" {a,b} 名前".to_owned();
    unusual.department = None;
    unusual.start_time = "1970-01-01T00:00:00".parse().unwrap();
    unusual.end_time = "9999-12-31T23:59:59".parse().unwrap();
    for sent in [call("https://example.com/call.wav"), unusual] {
        let ids = store.insert_calls(&[received(sent.clone())]).await.unwrap();
        let record = store.call(ids[0], "a client").await.unwrap().unwrap();
        assert_eq!(record.call.call, sent);
        assert_eq!(record.call.id, ids[0]);
        assert_eq!(record.call.created_at, "2024-01-15T10:30:00Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!((record.recording.status.as_str(), record.recording.attempts), ("pending", 0));
        assert_eq!(record.analysis.status, "none");
        assert!(record.recording.location.is_none() && record.recording.stored_at.is_none());
    }
}

async fn a_batch_of_any_size_gets_distinct_ids_in_order(store: &Store) {
    let mut seen = Vec::new();
    for size in [1, 7, 8, 9, 64, 73, 512, 1500] {
        let batch: Vec<_> = (0..size)
            .map(|number| {
                let mut call = call("https://example.com/call.wav");
                call.from_phone = format!("{size}/{number}");
                received(call)
            })
            .collect();
        let ids = store.insert_calls(&batch).await.unwrap();
        assert_eq!(ids.len(), size);
        for (id, sent) in [(ids[0], &batch[0]), (ids[size - 1], &batch[size - 1])] {
            let record = store.call(id, "a client").await.unwrap().unwrap();
            assert_eq!(record.call.call.from_phone, sent.call.from_phone);
        }
        seen.extend(ids);
    }
    assert!(seen.iter().all(|id| id.0 > 0));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

async fn a_call_is_seen_by_its_own_client_alone(store: &Store) {
    let id = one_call(store).await;
    assert!(store.call(id, "a client").await.unwrap().is_some());
    assert!(store.call(id, "another").await.unwrap().is_none());
    assert!(store.call(CallId(id.0 + 1_000_000), "a client").await.unwrap().is_none());
}

async fn credentials_are_kept_out_of_the_public_table_and_out_of_events(store: &Store) {
    let url = "https://user:s3cret@example.com/call.wav";
    let ids = store.insert_calls(&[received(call(url))]).await.unwrap();
    let record = store.call(ids[0], "a client").await.unwrap().unwrap();
    assert_eq!(record.call.call.recording_url, "https://example.com/call.wav");
    let now = Utc::now();
    let events = due(store, now).await;
    assert_eq!(events[0].2["data"]["recording_url"], "https://example.com/call.wav");
    let Begun::Leased(pending) = begin(store, ids[0], now).await else { panic!("not leased") };
    assert_eq!(pending.url, url, "the worker needs them");
    assert!(!format!("{pending:?}").contains("s3cret"));
    store.recording_stored(ids[0], &stored(), now).await.unwrap();
    for (_, _, event) in due(store, now + seconds(1)).await {
        assert!(!event.to_string().contains("s3cret"));
    }
}

async fn one_bad_call_keeps_the_whole_batch_out(store: &Store) {
    let good = received(call("https://example.com/good.wav"));
    let before = due(store, Utc::now()).await.len();
    let mut bad = received(call("https://example.com/bad.wav"));
    // The validation refuses U+0000, since PostgreSQL does; SQLite would take it.
    bad.call.from_phone = "a\0b".to_owned();
    match store.insert_calls(&[good.clone(), bad]).await {
        Err(StoreError::Rejected(_)) => assert_eq!(due(store, Utc::now()).await.len(), before),
        Ok(_) => assert!(store.is_embedded()),
        Err(error) => panic!("{error:?}"),
    }
    store.insert_calls(&[good]).await.unwrap();
}

async fn concurrent_batches_never_share_an_id(store: &Store) {
    let batch = vec![received(call("https://example.com/call.wav")); 40];
    let inserts = (0..10).map(|_| store.insert_calls(&batch));
    let mut ids: Vec<CallId> = futures_util::future::try_join_all(inserts).await.unwrap().concat();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 400);
}

async fn every_call_leaves_one_event_in_the_outbox(store: &Store) {
    let batch = vec![received(call("https://example.com/call.wav")); 3];
    let ids = store.insert_calls(&batch).await.unwrap();
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
    assert_eq!(rows, 3);
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
    assert_eq!((again.len(), &again[0].event_id), (1, &first[0].event_id));
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
    store.insert_calls(&vec![received(call("https://example.com/call.wav")); 3]).await.unwrap();
    let now = Utc::now();
    let ids: Vec<i64> = store.claim_due(now, 2).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 2, "no more than asked for");
    store.remove_published(&ids).await.unwrap();
    assert_eq!(store.claim_due(now + seconds(3600), 10).await.unwrap().len(), 1);
}

async fn a_recording_goes_from_pending_over_leased_to_stored(store: &Store) {
    let id = one_call(store).await;
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    due(store, Utc::now()).await;
    let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
    assert_eq!((pending.call_id, pending.attempts), (id, 0));
    assert_eq!(pending.url, "https://example.com/call.wav");
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    let record = store.call(id, "a client").await.unwrap().unwrap();
    let recording = record.recording;
    assert_eq!((recording.status.as_str(), recording.attempts), ("stored", 1));
    assert_eq!(recording.size_bytes, Some(242_880));
    assert_eq!(recording.duration_seconds, Some(15.18));
    assert_eq!((recording.channels, recording.sample_rate), (Some(2), Some(8000)));
    assert_eq!(recording.stored_at, Some(now));
    assert_eq!(record.analysis.status, "requested");
    let events = due(store, Utc::now()).await;
    let keys: Vec<_> = events.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(keys, ["recording.stored", "analysis.requested"]);
    assert_eq!(events[0].2["data"]["sha256"], "ab".repeat(32));
    assert_eq!(events[1].2["data"]["call_id"], id.0);
    assert_eq!(events[1].2["data"]["handled_by"], "Agent Smith");
    assert_eq!(events[1].2["data"]["location"], "file:///r/2026/1.wav");
}

async fn a_leased_recording_is_busy_until_the_lease_ends(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    match begin(store, id, now + seconds(14)).await {
        Begun::Busy(until) => assert_eq!(until.timestamp_micros(), (now + seconds(15)).timestamp_micros()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(begin(store, id, now + seconds(15)).await, Begun::Leased(_)));
}

async fn a_lease_can_be_renewed(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    store.renew_recording_lease(id, now + seconds(30)).await.unwrap();
    assert!(matches!(begin(store, id, now + seconds(29)).await, Begun::Busy(_)));
    assert!(matches!(begin(store, id, now + seconds(30)).await, Begun::Leased(_)));
}

async fn a_failed_try_is_counted_and_comes_back_when_it_is_due(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    due(store, now).await;
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    let at = now + seconds(5);
    store.retry_recording(id, ("not_found", "the host answered 404"), at, now).await.unwrap();
    let recording = store.call(id, "a client").await.unwrap().unwrap().recording;
    assert_eq!((recording.status.as_str(), recording.attempts), ("pending", 1));
    assert_eq!(recording.reason, None, "it is not given up");
    assert_eq!(recording.last_error.as_deref(), Some("the host answered 404"));
    assert_eq!(recording.next_attempt_at.unwrap().timestamp_micros(), at.timestamp_micros());
    match begin(store, id, at - seconds(1)).await {
        Begun::NotDue(due) => assert_eq!(due.timestamp_micros(), at.timestamp_micros()),
        other => panic!("{other:?}"),
    }
    assert!(due(store, at - seconds(1)).await.is_empty(), "the retry waits in the outbox");
    let retries = due(store, at).await;
    assert_eq!(retries.len(), 1);
    assert_eq!(retries[0].1.as_deref(), Some(Queue::Recordings.name()));
    let Begun::Leased(pending) = begin(store, id, at).await else { panic!("not leased") };
    assert_eq!(pending.attempts, 1);
}

async fn a_recording_that_is_given_up_tells_everybody(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    due(store, now).await;
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    assert!(store.recording_failed(id, ("not_audio", "it is a web page"), now).await.unwrap());
    let record = store.call(id, "a client").await.unwrap().unwrap();
    assert_eq!((record.recording.status.as_str(), record.recording.attempts), ("failed", 1));
    assert_eq!(record.recording.reason.as_deref(), Some("not_audio"));
    assert_eq!(record.analysis.status, "none");
    let events = due(store, Utc::now()).await;
    let queues: Vec<_> = events.iter().map(|(key, queue, _)| (key.as_str(), queue.as_deref())).collect();
    assert_eq!(queues, [("recording.failed", None), ("recording.failed", Some("callvine.recordings.dead"))]);
    assert_eq!(events[0].2["data"]["reason"], "not_audio");
    assert_eq!(events[0].2["data"]["attempts"], 1);
    assert_eq!(events[0].2["data"]["last_error"], "it is a web page");
}

async fn a_settled_recording_stays_settled(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    due(store, Utc::now()).await;
    assert!(!store.recording_stored(id, &stored(), now).await.unwrap());
    assert!(!store.recording_failed(id, ("timeout", "late"), now).await.unwrap());
    store.retry_recording(id, ("timeout", "late"), now, now).await.unwrap();
    assert!(matches!(begin(store, id, now).await, Begun::Settled));
    assert!(due(store, Utc::now()).await.is_empty(), "nothing happened, so nothing is told");
    let recording = store.call(id, "a client").await.unwrap().unwrap().recording;
    assert_eq!((recording.status.as_str(), recording.attempts, recording.reason), ("stored", 1, None));
}

async fn a_deferred_recording_is_looked_at_again(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    due(store, now).await;
    store.defer_recording(id, now + seconds(16), now).await.unwrap();
    assert!(due(store, now + seconds(5)).await.is_empty());
    let again = due(store, now + seconds(16)).await;
    let subject = format!("calls/{id}");
    assert!(again.iter().any(|(_, queue, event)| queue.is_some() && event["subject"] == subject));
    let recording = store.call(id, "a client").await.unwrap().unwrap().recording;
    assert_eq!(recording.attempts, 0, "looking is not trying");
}

async fn an_unknown_recording_is_unknown(store: &Store) {
    let now = Utc::now();
    assert!(matches!(begin(store, CallId(404), now).await, Begun::Unknown));
    assert!(!store.recording_stored(CallId(404), &stored(), now).await.unwrap());
    assert!(!store.recording_failed(CallId(404), ("dns", ""), now).await.unwrap());
    store.defer_recording(CallId(404), now, now).await.unwrap();
    assert!(due(store, Utc::now()).await.is_empty());
}

fn key(digest: u8) -> NewApiKey {
    NewApiKey {
        client: "a client".to_owned(),
        environment: "live".to_owned(),
        prefix: "cv_live_abcd".to_owned(),
        digest: vec![digest; 32],
    }
}

async fn keys_are_made_listed_used_and_revoked(store: &Store) {
    let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
    let first = store.create_api_key(&key(1), now).await.unwrap();
    let second = store.create_api_key(&key(2), now).await.unwrap();
    store.record_key_use(&[(second, now + seconds(60))]).await.unwrap();
    assert!(store.revoke_api_key(first, now + seconds(120)).await.unwrap());
    assert!(!store.revoke_api_key(first, now).await.unwrap());
    assert!(!store.revoke_api_key(second + 1000, now).await.unwrap());
    let keys = store.api_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(keys[0].revoked_at, Some(now + seconds(120)));
    assert_eq!((keys[1].last_used_at, keys[1].revoked_at), (Some(now + seconds(60)), None));
    assert_eq!(keys[1].digest, vec![2; 32]);
    assert_eq!((keys[1].client.as_str(), keys[1].created_at), ("a client", now));
}

async fn the_same_key_is_not_stored_twice(store: &Store) {
    store.create_api_key(&key(1), Utc::now()).await.unwrap();
    let again = store.create_api_key(&key(1), Utc::now()).await;
    assert!(matches!(again, Err(StoreError::Rejected(_))), "{again:?}");
}

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

/// `store` is only there to say which database is meant.
async fn an_unmigrated_database_is_said_to_be_one(store: &Store) {
    let directory = tempfile::tempdir().unwrap();
    let url = if store.is_embedded() {
        format!("sqlite://{}/empty.db", directory.path().display())
    } else {
        Postgres::shared().await.database().await
    };
    let empty = Store::connect(&url).await.unwrap();
    let refused = empty.api_keys().await;
    assert!(matches!(refused, Err(StoreError::Mismatch(_))), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(10), empty.close()).await.unwrap();
}
