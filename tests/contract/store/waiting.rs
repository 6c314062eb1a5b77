//! Which recordings wait for a worker, and whose they are.

use std::sync::Arc;

use callvine_shared::call::CallId;
use callvine_shared::recording::{Cause, Reason};
use callvine_shared::store::{Begun, Postponed, Store, WaitingSpan};
use chrono::Utc;

use super::{begin, call, insert, received, seconds, stored};

contract!(
    waiting_recordings_are_found_a_turn_of_each_client_at_a_time,
    a_recording_waits_when_it_is_due_and_nobody_has_it,
    a_leased_recording_says_whose_it_is,
);

async fn call_of(store: &Store, client: &str) -> CallId {
    let mut received = received(call("https://example.com/call.wav"));
    received.client = Arc::from(client);
    insert(store, &[received]).await[0]
}

/// Everything, but for what a test says.
fn all(store_newest: CallId) -> WaitingSpan {
    WaitingSpan { after: CallId(0), last: store_newest, per_client: 100, limit: 100 }
}

async fn waiting_recordings_are_found_a_turn_of_each_client_at_a_time(store: &Store) {
    let mut ids = Vec::new();
    for client in ["flood", "flood", "flood", "quiet", "quiet", "third"] {
        ids.push((call_of(store, client).await, client.to_owned()));
    }
    let (now, newest) = (Utc::now(), ids[5].0);
    let found = async |span: WaitingSpan| store.waiting_recordings(span, now).await.unwrap();
    let pick = |indices: &[usize]| -> Vec<_> { indices.iter().map(|index| ids[*index].clone()).collect() };
    assert_eq!(found(all(newest)).await, pick(&[0, 3, 5, 1, 4, 2]));
    assert_eq!(found(WaitingSpan { per_client: 1, ..all(newest) }).await, pick(&[0, 3, 5]));
    assert_eq!(found(WaitingSpan { limit: 4, ..all(newest) }).await, pick(&[0, 3, 5, 1]));
    assert_eq!(found(WaitingSpan { after: ids[0].0, ..all(ids[3].0) }).await, pick(&[1, 3, 2]));
}

async fn a_recording_waits_when_it_is_due_and_nobody_has_it(store: &Store) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(call_of(store, "acme").await);
    }
    let now = Utc::now();
    for id in &ids[..3] {
        begin(store, *id, now).await;
    }
    let late = Postponed::Failed(Cause { reason: Reason::Timeout, last_error: "late" });
    store.postpone_recording(ids[1], late, now + seconds(60), now).await.unwrap();
    store.recording_stored(ids[2], &stored(), now).await.unwrap();
    for (later, expected) in
        [(1, vec![ids[3]]), (16, vec![ids[0], ids[3]]), (61, vec![ids[0], ids[1], ids[3]])]
    {
        let found = store.waiting_recordings(all(ids[3]), now + seconds(later)).await.unwrap();
        assert_eq!(found.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), expected, "after {later} s");
    }
}

async fn a_leased_recording_says_whose_it_is(store: &Store) {
    let id = call_of(store, "acme").await;
    let Begun::Leased(recording) = begin(store, id, Utc::now()).await else { panic!("it is free") };
    assert_eq!((recording.client.as_str(), recording.call_id), ("acme", id));
}
