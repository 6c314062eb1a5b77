//! Calls: in by batches, out by their client.

use std::time::Duration;

use callvine_shared::api_key::Environment;
use callvine_shared::call::{Call, CallId, NewCall, RecordingUrl};
use callvine_shared::recording::Status;
use callvine_shared::store::{Begun, Store, StoreError};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::{begin, call, due, insert, one_call, received, seconds, stored};

contract!(
    calls_come_back_as_they_were_sent,
    any_accepted_call_comes_back_as_it_was_sent,
    a_batch_of_any_size_gets_distinct_ids_in_order,
    a_call_is_seen_by_its_own_client_alone,
    credentials_are_kept_out_of_the_public_table_and_out_of_events,
    one_bad_call_keeps_the_whole_batch_out,
    a_batch_that_is_given_up_half_way_holds_nobody_up,
    concurrent_batches_never_share_an_id,
);

async fn calls_come_back_as_they_were_sent(store: &Store) {
    let mut unusual = call("HTTPS://Example.com:8443/a/b?c=d&e=%20#f");
    unusual.from_phone = "+49 (0) 30/1234-5 \u{1F4DE}".to_owned();
    unusual.handled_by = "O'Brien; drop table call_logs; -- \\ \"quoted\" {a,b} 名前".to_owned();
    unusual.department = None;
    unusual.start_time = "1970-01-01T00:00:00".parse().unwrap();
    unusual.end_time = "9999-12-31T23:59:59".parse().unwrap();
    for sent in [call("https://example.com/call.wav"), unusual] {
        let ids = insert(store, &[received(sent.clone())]).await;
        let record = store.call(ids[0], Some("a client")).await.unwrap().unwrap();
        assert_eq!(*record.call.call, sent);
        assert_eq!(record.call.id, ids[0]);
        assert_eq!(record.call.created_at, "2024-01-15T10:30:00Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!((record.recording.status, record.recording.attempts), (Status::Pending, 0));
        assert!(record.analyses.is_empty());
        assert!(record.recording.location.is_none() && record.recording.stored_at.is_none());
    }
}

/// Calls that the validation may let through, at its limits and in all alphabets.
fn any_call() -> impl Strategy<Value = NewCall> {
    let phone = "[^\\p{Cc}]{0,62}[^\\p{Cc}\\s]";
    let name = "[^\\p{Cc}]{0,200}[^\\p{Cc}\\s\"'\\\\]{1,54}";
    let times = (0..253_402_300_799_i64).prop_flat_map(|start| (Just(start), start + 1..253_402_300_800));
    let url = "(http|HTTPS)://[a-z]{1,20}/[^\\p{Cc}\\s]{0,200}";
    (phone, phone, name, prop::option::of(name), times, url).prop_map(
        |(from_phone, to_phone, handled_by, department, (start, end), recording_url)| NewCall {
            from_phone,
            to_phone,
            handled_by,
            department,
            start_time: DateTime::from_timestamp(start, 0).unwrap().naive_utc(),
            end_time: DateTime::from_timestamp(end, 0).unwrap().naive_utc(),
            recording_url,
        },
    )
}

async fn any_accepted_call_comes_back_as_it_was_sent(store: &Store) {
    let mut runner = TestRunner::default();
    let calls: Vec<_> = (0..300).map(|_| any_call().new_tree(&mut runner).unwrap().current()).collect();
    let batch: Vec<_> = calls.iter().cloned().map(received).collect();
    let ids = insert(store, &batch).await;
    for (id, sent) in ids.into_iter().zip(calls) {
        let mut json = Vec::new();
        let call = Call { id, call: sent.clone().into(), created_at: Utc::now(), env: Environment::Live };
        call.write_json(RecordingUrl::AsSent, &mut json);
        assert_eq!(NewCall::parse(&json), Ok(sent.clone()), "it is accepted");
        let record = store.call(id, Some("a client")).await.unwrap().unwrap();
        assert_eq!(*record.call.call, sent);
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
        let ids = insert(store, &batch).await;
        assert_eq!(ids.len(), size);
        for (id, sent) in [(ids[0], &batch[0]), (ids[size - 1], &batch[size - 1])] {
            let record = store.call(id, Some("a client")).await.unwrap().unwrap();
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
    assert!(store.call(id, Some("a client")).await.unwrap().is_some());
    assert!(store.call(id, Some("another")).await.unwrap().is_none());
    assert!(store.call(id, None).await.unwrap().is_some(), "an analyst's");
    assert!(store.call(CallId(id.0 + 1_000_000), None).await.unwrap().is_none());
    assert!(store.call(CallId(id.0 + 1_000_000), Some("a client")).await.unwrap().is_none());
}

async fn credentials_are_kept_out_of_the_public_table_and_out_of_events(store: &Store) {
    let url = "https://user:s3cret@example.com/call.wav";
    let ids = insert(store, &[received(call(url))]).await;
    let record = store.call(ids[0], Some("a client")).await.unwrap().unwrap();
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
    let mut bad = call("https://example.com/bad.wav");
    // The validation refuses U+0000, since PostgreSQL does; SQLite would take it.
    bad.from_phone = "a\0b".to_owned();
    match store.insert_calls(&[good.clone(), received(bad)]).await {
        Err(StoreError::Rejected(_)) => assert_eq!(due(store, Utc::now()).await.len(), before),
        Ok(_) => assert!(store.is_embedded()),
        Err(error) => panic!("{error:?}"),
    }
    store.insert_calls(&[good]).await.unwrap();
}

async fn a_batch_that_is_given_up_half_way_holds_nobody_up(store: &Store) {
    let batch = vec![received(call("https://example.com/call.wav")); 40];
    for _ in 0..5 {
        // Polled once: it is on its way to the database.
        drop(tokio::time::timeout(Duration::ZERO, store.insert_calls(&batch)).await);
        let ids = insert(store, &batch).await;
        // Read by another connection: it sees only what was committed.
        assert!(store.call(ids[0], Some("a client")).await.unwrap().is_some());
    }
}

async fn concurrent_batches_never_share_an_id(store: &Store) {
    let batch = vec![received(call("https://example.com/call.wav")); 40];
    let inserts = (0..10).map(|_| insert(store, &batch));
    let mut ids: Vec<CallId> = futures_util::future::join_all(inserts).await.concat();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 400);
}
