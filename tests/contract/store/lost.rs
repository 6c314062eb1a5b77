//! The search for lost recordings.

use callvine_shared::call::CallId;
use callvine_shared::store::Store;
use chrono::{DateTime, Utc};

use super::{LATE, begin, one_call, seconds, stored};

contract!(
    a_recording_to_which_nothing_happens_is_idle,
    a_recording_in_somebodys_hands_is_not_idle,
    a_recording_that_came_under_another_clock_is_idle,
    a_search_takes_one_step_at_a_time,
    an_outbox_that_keeps_up_is_told_from_one_that_does_not,
);

async fn idle(store: &Store, since: DateTime<Utc>) -> Vec<CallId> {
    store.idle_recordings_after(CallId(0), since, since + seconds(300)).await.unwrap()
}

async fn a_recording_to_which_nothing_happens_is_idle(store: &Store) {
    let (waiting, settled) = (one_call(store).await, one_call(store).await);
    let now = Utc::now();
    assert_eq!(store.newest_call().await.unwrap(), Some(settled));
    begin(store, settled, now).await;
    store.recording_stored(settled, &stored(), now).await.unwrap();
    assert_eq!(idle(store, now).await, [waiting]);
    let created_at: DateTime<Utc> = "2024-01-15T10:30:00Z".parse().unwrap();
    assert_eq!(idle(store, created_at).await, [], "it came no earlier");
}

async fn a_recording_in_somebodys_hands_is_not_idle(store: &Store) {
    let (leased, retried) = (one_call(store).await, one_call(store).await);
    let now = Utc::now();
    begin(store, leased, now).await;
    begin(store, retried, now).await;
    store.postpone_recording(retried, LATE, now + seconds(60), now).await.unwrap();
    assert_eq!(idle(store, now + seconds(14)).await, []);
    assert_eq!(idle(store, now + seconds(16)).await, [leased], "its worker has gone");
    assert_eq!(idle(store, now + seconds(61)).await, [leased, retried]);
    // Under a clock that is a day behind, both are postponed for longer than anything can be.
    assert_eq!(idle(store, now - seconds(24 * 60 * 60)).await, [leased, retried]);
}

/// Under a clock that has been set back, a call seems to have come later than now.
async fn a_recording_that_came_under_another_clock_is_idle(store: &Store) {
    let id = one_call(store).await;
    let came_at: DateTime<Utc> = "2024-01-15T10:30:00Z".parse().unwrap();
    for (now, is_idle) in [(came_at - seconds(24 * 60 * 60), true), (came_at - seconds(30), false)] {
        let since = now - seconds(300);
        let expected = if is_idle { vec![id] } else { Vec::new() };
        assert_eq!(store.idle_recordings_after(CallId(0), since, now).await.unwrap(), expected);
        let audited = store.idle_recordings(since, now, CallId(0)).await.unwrap();
        assert_eq!(audited.into_iter().map(|idle| idle.call_id).collect::<Vec<_>>(), expected);
    }
}

async fn a_search_takes_one_step_at_a_time(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    assert_eq!(store.idle_recordings_after(id, now, now).await.unwrap(), []);
    let before = CallId(id.0 - callvine_shared::store::SEARCH_STEP);
    assert_eq!(store.idle_recordings_after(before, now, now).await.unwrap(), [id]);
    let before = CallId(before.0 - 1);
    assert_eq!(store.idle_recordings_after(before, now, now).await.unwrap(), []);
}

async fn an_outbox_that_keeps_up_is_told_from_one_that_does_not(store: &Store) {
    let now = Utc::now();
    assert!(store.has_published_until(now, now).await.unwrap(), "it is empty");
    let id = one_call(store).await;
    let later = Utc::now();
    assert!(store.has_published_until(now - seconds(1), now).await.unwrap());
    assert!(!store.has_published_until(later, now).await.unwrap(), "the event is not published");
    let rows = store.claim_due(later, 10).await.unwrap();
    assert!(!store.has_published_until(later, now).await.unwrap(), "somebody tries to publish the event");
    let rows: Vec<i64> = rows.into_iter().map(|row| row.id).collect();
    store.remove_published(&rows).await.unwrap();
    begin(store, id, later).await;
    store.postpone_recording(id, LATE, later + seconds(60), later).await.unwrap();
    assert!(store.has_published_until(later + seconds(59), now).await.unwrap(), "the retry isn't due");
    assert!(!store.has_published_until(later + seconds(60), now).await.unwrap());
    let before = now - seconds(24 * 60 * 60);
    assert!(
        !store.has_published_until(before, before).await.unwrap(),
        "it was postponed under another clock"
    );
}
