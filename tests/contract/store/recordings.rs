//! The state machine of a recording, and what each step tells.

use callvine_shared::analysis;
use callvine_shared::call::CallId;
use callvine_shared::queue::Queue;
use callvine_shared::recording::{Cause, Reason, Status};
use callvine_shared::store::{Begun, Postponed, Store};
use chrono::{DateTime, Utc};

use super::{LATE, begin, due, one_call, seconds, stored};

contract!(
    a_recording_goes_from_pending_over_leased_to_stored,
    a_leased_recording_is_busy_until_the_lease_ends,
    a_lease_can_be_renewed,
    a_failed_attempt_is_counted_and_comes_back_when_it_is_due,
    an_open_recording_is_remembered_until_the_next_look,
    a_recording_that_is_given_up_tells_everybody,
    a_settled_recording_stays_settled,
    a_deferred_recording_is_looked_at_again,
    a_postponed_recording_waits_without_its_lease_and_counts_no_attempt,
    an_unknown_recording_is_unknown,
    an_attempt_that_is_counted_before_its_end_is_counted_once,
    an_attempt_whose_worker_died_stays_counted,
    a_recording_whose_attempts_are_used_up_is_given_up_without_another,
);

async fn a_recording_goes_from_pending_over_leased_to_stored(store: &Store) {
    let id = one_call(store).await;
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    due(store, Utc::now()).await;
    let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
    assert_eq!((pending.call_id, pending.attempts), (id, 0));
    assert_eq!(pending.url, "https://example.com/call.wav");
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    let record = store.call(id, Some("a client")).await.unwrap().unwrap();
    let recording = record.recording.clone();
    assert_eq!((recording.status, recording.attempts), (Status::Stored, 1));
    assert_eq!(recording.size_bytes, Some(242_880));
    assert_eq!(recording.duration_seconds, Some(15.18));
    assert_eq!((recording.channels, recording.sample_rate), (Some(2), Some(8000)));
    assert_eq!(recording.stored_at, Some(now));
    assert_eq!(store.waveform(id).await.unwrap(), stored().waveform);
    assert_eq!(record.quality().unwrap().status, analysis::Status::Requested);
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

async fn a_failed_attempt_is_counted_and_comes_back_when_it_is_due(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    due(store, now).await;
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    let at = now + seconds(5);
    let why = Postponed::Failed(Cause { reason: Reason::NotFound, last_error: "the host answered 404" });
    store.postpone_recording(id, why, at, now).await.unwrap();
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((recording.status, recording.attempts), (Status::Pending, 1));
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
    assert_eq!(retries[0].1, Some(Queue::Recordings.name()));
    let Begun::Leased(pending) = begin(store, id, at).await else { panic!("not leased") };
    assert_eq!(pending.attempts, 1);
}

async fn an_open_recording_is_remembered_until_the_next_look(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
    assert_eq!(pending.open_sha256, None);
    let cause = Cause { reason: Reason::Truncated, last_error: "it may still be being written" };
    let sha256 = "ab".repeat(32);
    store.postpone_recording(id, Postponed::Open { cause, sha256: &sha256 }, now, now).await.unwrap();
    // Also when the attempt fails meanwhile.
    for why in [LATE, Postponed::HostRests, Postponed::HostIsFull] {
        let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
        assert_eq!(pending.open_sha256.as_ref(), Some(&sha256), "{why:?}");
        store.postpone_recording(id, why, now, now).await.unwrap();
    }
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((recording.status, recording.attempts), (Status::Pending, 2));
    assert_eq!(recording.last_error.as_deref(), Some("late"));
}

async fn a_recording_that_is_given_up_tells_everybody(store: &Store) {
    let id = one_call(store).await;
    let now = Utc::now();
    due(store, now).await;
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    assert!(
        store
            .recording_failed(id, Cause { reason: Reason::NotAudio, last_error: "it is a web page" }, now)
            .await
            .unwrap()
    );
    let record = store.call(id, Some("a client")).await.unwrap().unwrap();
    assert_eq!((record.recording.status, record.recording.attempts), (Status::Failed, 1));
    assert_eq!(record.recording.reason, Some(Reason::NotAudio));
    assert!(record.analyses.is_empty());
    let events = due(store, Utc::now()).await;
    let queues: Vec<_> = events.iter().map(|(key, queue, _)| (key.as_str(), *queue)).collect();
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
    assert!(
        !store
            .recording_failed(id, Cause { reason: Reason::Timeout, last_error: "late" }, now)
            .await
            .unwrap()
    );
    store.postpone_recording(id, LATE, now, now).await.unwrap();
    assert!(matches!(begin(store, id, now).await, Begun::Settled));
    assert!(due(store, Utc::now()).await.is_empty(), "nothing happened, so nothing is told");
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((recording.status, recording.attempts, recording.reason), (Status::Stored, 1, None));
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
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!(recording.attempts, 0, "looking is no attempt");
}

async fn a_postponed_recording_waits_without_its_lease_and_counts_no_attempt(store: &Store) {
    let id = one_call(store).await;
    let mut now = Utc::now();
    due(store, now).await;
    for (why, refusals) in [(Postponed::HostIsFull, 0), (Postponed::HostRests, 1), (Postponed::HostRests, 2)]
    {
        assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
        store.postpone_recording(id, why, now + seconds(5), now).await.unwrap();
        assert!(matches!(begin(store, id, now + seconds(4)).await, Begun::NotDue(_)));
        now += seconds(5);
        assert!(!due(store, now).await.is_empty(), "it is queued");
        let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
        assert_eq!((pending.attempts, pending.attempts_counted), (0, 0), "waiting is no attempt");
        assert_eq!(pending.refusals, refusals);
        now += seconds(15);
    }
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((recording.attempts, recording.last_error), (0, None));
}

async fn an_attempt_that_is_counted_before_its_end_is_counted_once(store: &Store) {
    let cause = Cause { reason: Reason::NotAudio, last_error: "it is a web page" };
    let attempts = async |id| store.call(id, Some("a client")).await.unwrap().unwrap().recording.attempts;
    for (counted, end) in [(true, "stored"), (false, "stored"), (true, "failed"), (true, "postponed")] {
        let id = one_call(store).await;
        let now = Utc::now();
        assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
        if counted {
            assert!(store.count_recording_attempt(id).await.unwrap());
            assert_eq!(attempts(id).await, 1, "counted while it lasts");
            assert!(store.count_recording_attempt(id).await.unwrap());
        }
        match end {
            "stored" => assert!(store.recording_stored(id, &stored(), now).await.unwrap()),
            "failed" => assert!(store.recording_failed(id, cause, now).await.unwrap()),
            _ => store.postpone_recording(id, Postponed::Failed(cause), now, now).await.unwrap(),
        }
        assert_eq!(attempts(id).await, 1, "{counted} {end}");
        if end == "postponed" {
            let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
            assert_eq!((pending.attempts, pending.attempts_counted), (1, 1));
            store.postpone_recording(id, Postponed::Failed(cause), now, now).await.unwrap();
            assert_eq!(attempts(id).await, 2, "the next attempt counts for itself");
        } else {
            assert!(!store.count_recording_attempt(id).await.unwrap(), "it is settled");
            assert_eq!(attempts(id).await, 1);
        }
    }
}

async fn an_attempt_whose_worker_died_stays_counted(store: &Store) {
    let id = one_call(store).await;
    let mut now = Utc::now();
    for attempts in 0..3 {
        let Begun::Leased(pending) = begin(store, id, now).await else { panic!("not leased") };
        assert_eq!((pending.attempts, pending.attempts_counted), (attempts, attempts));
        assert!(store.count_recording_attempt(id).await.unwrap());
        now += seconds(15);
    }
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    store.postpone_recording(id, Postponed::HostIsFull, now, now).await.unwrap();
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!(recording.attempts, 3, "one that was not made is not counted");
}

async fn a_recording_whose_attempts_are_used_up_is_given_up_without_another(store: &Store) {
    let id = one_call(store).await;
    let (now, cause) = (Utc::now(), Cause { reason: Reason::Timeout, last_error: "used up" });
    assert!(matches!(begin(store, id, now).await, Begun::Leased(_)));
    assert!(store.count_recording_attempt(id).await.unwrap());
    let later = now + seconds(15);
    assert!(matches!(begin(store, id, later).await, Begun::Leased(_)));
    store.waive_recording_attempt(id).await.unwrap();
    assert!(store.recording_failed(id, cause, later).await.unwrap());
    let recording = store.call(id, Some("a client")).await.unwrap().unwrap().recording;
    assert_eq!((recording.attempts, recording.last_error.as_deref()), (1, Some("used up")));
    store.waive_recording_attempt(CallId(404)).await.unwrap();
}

async fn an_unknown_recording_is_unknown(store: &Store) {
    let now = Utc::now();
    assert!(matches!(begin(store, CallId(404), now).await, Begun::Unknown));
    assert!(!store.recording_stored(CallId(404), &stored(), now).await.unwrap());
    assert!(
        !store
            .recording_failed(CallId(404), Cause { reason: Reason::Dns, last_error: "" }, now)
            .await
            .unwrap()
    );
    assert!(!store.count_recording_attempt(CallId(404)).await.unwrap());
    store.defer_recording(CallId(404), now, now).await.unwrap();
    assert_eq!(store.waveform(CallId(404)).await.unwrap(), None);
    assert!(due(store, Utc::now()).await.is_empty());
}
