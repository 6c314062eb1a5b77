//! The reads of an audit: messages on their way, calls of a time, and work to which nothing happens.

use callvine_shared::call::CallId;
use callvine_shared::queue::{Queue, QueueName};
use callvine_shared::recording::{Cause, Reason};
use callvine_shared::store::{Store, WaitingMessage, Window};
use callvine_shared::{analysis, recording};
use chrono::{DateTime, Utc};
use harness::Database;

use super::{UNREADABLE, call, insert, one_call, received, seconds, stored};

contract!(
    tables;
    every_message_of_the_outbox_is_read_with_the_calls_that_it_is_about,
    a_message_that_is_no_event_of_ours_is_about_no_call,
    every_message_of_the_queues_is_read_page_by_page,
    calls_are_read_by_the_time_at_which_they_were_stored,
    a_call_is_read_with_what_became_of_it,
    an_analysis_that_nobody_answers_is_idle,
    what_is_known_of_calls_is_read_for_those_that_exist,
);

/// When [`received`] calls are stored.
const STORED_AT: &str = "2024-01-15T10:30:00Z";
/// More messages than one page holds.
const MORE_THAN_A_PAGE: usize = 1100;

fn stored_at() -> DateTime<Utc> {
    STORED_AT.parse().unwrap()
}

fn hour() -> Window {
    Window { from: stored_at() - seconds(1800), to: stored_at() + seconds(1800) }
}

fn bounds(message: &WaitingMessage) -> Option<(i64, i64)> {
    message.calls.clone().map(|calls| (*calls.start(), *calls.end()))
}

async fn every_message_of_the_outbox_is_read_with_the_calls_that_it_is_about(store: &Store, _: &Database) {
    let batch = vec![received(call("https://example.com/call.wav")); 3];
    let ids = insert(store, &batch).await;
    let now = Utc::now();
    store.defer_recording(ids[1], now + seconds(60), now).await.unwrap();

    let messages = store.audit_outbox(0).await.unwrap();
    let about: Vec<_> = messages.iter().map(bounds).collect();
    assert_eq!(about, [Some((ids[0].0, ids[2].0)), Some((ids[1].0, ids[1].0))]);
    assert!(messages.iter().all(|message| message.routing_key.as_deref() == Some("call.created")));
    assert_eq!(messages[0].queue, None);
    assert_eq!(messages[1].queue, Some(QueueName::from(Queue::Recordings)));
    assert_eq!(messages[1].available_at.timestamp_micros(), (now + seconds(60)).timestamp_micros());
    let after = store.audit_outbox(messages[0].id).await.unwrap();
    assert_eq!(after.iter().map(|message| message.id).collect::<Vec<_>>(), [messages[1].id]);
    assert!(store.audit_outbox(messages[1].id).await.unwrap().is_empty());
}

async fn a_message_that_is_no_event_of_ours_is_about_no_call(store: &Store, tables: &Database) {
    tables
        .execute(
            "insert into outbox (routing_key, queue, event_id, body, available_at, created_at)
             values ('transcript.completed', 'callvine.transcripts', 'x', '{}', 5000000, 1)",
        )
        .await;
    let messages = store.audit_outbox(0).await.unwrap();
    assert_eq!((messages.len(), bounds(&messages[0])), (1, None));
    assert_eq!(messages[0].routing_key.as_deref(), Some("transcript.completed"));
    assert_eq!(messages[0].queue, Some(QueueName::from("callvine.transcripts".to_owned())));
    assert_eq!(messages[0].available_at, DateTime::from_timestamp(5, 0).unwrap());
}

async fn every_message_of_the_queues_is_read_page_by_page(store: &Store, _: &Database) {
    let id = one_call(store).await;
    let now = Utc::now();
    let body = format!(r#"{{"subject":"calls/{id}","data":{{}}}}"#);
    let (work, dead) = (Queue::Recordings, Queue::RecordingsDead);
    store.push_deliveries(&[(dead.name(), "x", "not ours")], now).await.unwrap();
    store.push_deliveries(&vec![(work.name(), "y", body.as_str()); MORE_THAN_A_PAGE], now).await.unwrap();

    let (mut read, mut pages, mut after) = (Vec::new(), 0, 0);
    loop {
        let page = store.audit_deliveries(after).await.unwrap();
        let Some(last) = page.last() else { break };
        (after, pages) = (last.id, pages + 1);
        read.extend(page);
    }
    assert_eq!((read.len(), pages), (MORE_THAN_A_PAGE + 1, 2));
    assert!(read.is_sorted_by(|one, other| one.id < other.id), "by id, each once");
    assert_eq!((bounds(&read[0]), &read[0].queue), (None, &Some(dead.into())));
    assert_eq!((bounds(&read[1]), &read[1].queue), (Some((id.0, id.0)), &Some(work.into())));
    assert_eq!(read[1].available_at.timestamp_micros(), now.timestamp_micros());
    assert_eq!(read[1].routing_key, None);

    let first = store.deliveries_in(work, 0).await.unwrap();
    let rest = store.deliveries_in(work, first.last().unwrap().0).await.unwrap();
    assert_eq!(first.len() + rest.len(), MORE_THAN_A_PAGE);
    assert!(first.iter().chain(&rest).all(|(_, found)| *found == body), "of this queue alone");
    assert_eq!(store.deliveries_in(Queue::Analysis, 0).await.unwrap(), []);
}

async fn calls_are_read_by_the_time_at_which_they_were_stored(store: &Store, _: &Database) {
    let ids = [one_call(store).await, one_call(store).await];
    let read = async |window: Window, after: CallId| -> Vec<CallId> {
        store.audit_calls(window, after).await.unwrap().iter().map(|audited| audited.id).collect()
    };
    assert_eq!(read(hour(), CallId(0)).await, ids);
    assert_eq!(read(hour(), ids[0]).await, [ids[1]]);
    assert_eq!(read(hour(), ids[1]).await, []);
    let (from, to) = (stored_at(), stored_at() + seconds(1));
    assert_eq!(read(Window { from, to }, CallId(0)).await, ids, "the first second belongs to it");
    let (from, to) = (stored_at() - seconds(1), stored_at());
    assert_eq!(read(Window { from, to }, CallId(0)).await, [], "the second after it does not");
    let always = Window { from: DateTime::<Utc>::MIN_UTC, to: DateTime::<Utc>::MAX_UTC };
    assert_eq!(read(always, CallId(0)).await, ids);
}

async fn a_call_is_read_with_what_became_of_it(store: &Store, tables: &Database) {
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let (gone, pending) = (one_call(store).await, one_call(store).await);
    let (kept, failed) = (one_call(store).await, one_call(store).await);
    assert!(gone < pending && pending < kept && kept < failed);
    tables.execute("delete from recordings where call_id = (select min(id) from call_logs)").await;
    assert!(store.recording_stored(kept, &stored(), now).await.unwrap());
    let why = Cause { reason: Reason::Dns, last_error: "no such host" };
    assert!(store.recording_failed(failed, why, now).await.unwrap());

    let calls = store.audit_calls(hour(), CallId(0)).await.unwrap();
    let states: Vec<_> = calls.iter().map(|audited| (audited.id, audited.recording)).collect();
    let expected = [
        (gone, None),
        (pending, Some(recording::Status::Pending)),
        (kept, Some(recording::Status::Stored)),
        (failed, Some(recording::Status::Failed)),
    ];
    assert_eq!(states, expected);
    assert!(calls.iter().all(|audited| audited.created_at == stored_at()));
    let facts = stored();
    assert_eq!(calls[2].location.as_ref(), Some(&facts.location));
    assert_eq!(calls[2].sha256.as_ref(), Some(&facts.sha256));
    assert_eq!(calls[2].size_bytes.map(i64::unsigned_abs), Some(facts.size_bytes));
    assert_eq!((calls[2].analysis, calls[2].failed_at), (Some(analysis::Status::Requested), None));
    assert_eq!((calls[3].analysis, calls[3].failed_at), (None, Some(now)));
    assert_eq!((&calls[3].location, &calls[3].sha256, calls[3].size_bytes), (&None, &None, None));
}

async fn an_analysis_that_nobody_answers_is_idle(store: &Store, _: &Database) {
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let (waiting, failed, unfetched) = (one_call(store).await, one_call(store).await, one_call(store).await);
    for id in [waiting, failed] {
        assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    }
    assert!(store.analysis_failed(failed, UNREADABLE, now).await.unwrap());
    let idle = async |since: DateTime<Utc>, now: DateTime<Utc>, after: CallId| -> Vec<CallId> {
        let idle = store.idle_analyses(since, now, after).await.unwrap();
        assert!(idle.iter().all(|idle| idle.created_at == stored_at()));
        idle.iter().map(|idle| idle.call_id).collect()
    };
    let later = now + seconds(600);
    assert_eq!(idle(now + seconds(1), later, CallId(0)).await, [waiting]);
    assert_eq!(idle(now, later, CallId(0)).await, [], "it was requested no earlier");
    assert_eq!(idle(now + seconds(1), later, waiting).await, []);
    assert!(unfetched > waiting);
    // Under a clock that has been set back, it was requested later than now.
    let before = now - seconds(24 * 60 * 60);
    assert_eq!(idle(before - seconds(300), before, CallId(0)).await, [waiting]);
}

async fn what_is_known_of_calls_is_read_for_those_that_exist(store: &Store, _: &Database) {
    let (pending, kept) = (one_call(store).await, one_call(store).await);
    assert!(store.recording_stored(kept, &stored(), Utc::now()).await.unwrap());
    let ids = [kept, CallId(kept.0 + 1_000_000), pending];

    let mut created = store.created_at(&ids).await.unwrap();
    created.sort_unstable_by_key(|idle| idle.call_id);
    let created: Vec<_> = created.iter().map(|idle| (idle.call_id, idle.created_at)).collect();
    assert_eq!(created, [(pending, stored_at()), (kept, stored_at())]);
    assert!(store.created_at(&[]).await.unwrap().is_empty());

    let mut locations = store.recording_locations(&ids).await.unwrap();
    locations.sort_unstable();
    assert_eq!(locations, [(pending, None, true), (kept, Some(stored().location), false)]);
    assert!(store.recording_locations(&[]).await.unwrap().is_empty());
}
