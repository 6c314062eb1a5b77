//! The state machine of an analysis, what each step tells, and the answers of others' analyzers.

use callvine_shared::analysis::Status;
use callvine_shared::analyzer::AnalyzerName;
use callvine_shared::call::CallId;
use callvine_shared::queue::Queue;
use callvine_shared::store::{
    ANALYZERS_MAX, AnalysisState, Answer, Answered, BegunAnalysis, RecordedAnswer, Store,
};
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use super::{UNREADABLE, due, one_call, seconds, stored};

contract!(
    an_analysis_goes_from_requested_over_leased_to_completed,
    a_leased_analysis_is_busy_until_the_lease_ends_or_longer_if_it_is_renewed,
    a_failed_attempt_at_an_analysis_comes_back_when_it_is_due,
    an_analysis_that_is_given_up_tells_everybody,
    a_deferred_analysis_is_looked_at_again,
    an_analysis_attempt_is_counted_once_also_when_its_process_died,
    nothing_is_done_about_an_analysis_that_nobody_requested,
    an_answer_of_somebody_elses_stands_beside_ours,
    the_same_answer_again_changes_nothing_and_another_one_replaces_it,
    answers_about_calls_that_are_not_there_and_answers_of_too_many_are_refused,
);

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn acme() -> AnalyzerName {
    "acme".parse().unwrap()
}

/// A call whose recording is stored, and whose events are published.
async fn requested(store: &Store, now: DateTime<Utc>) -> CallId {
    let id = one_call(store).await;
    assert!(store.recording_stored(id, &stored(), now).await.unwrap());
    publish(store).await;
    id
}

async fn publish(store: &Store) {
    let rows = store.claim_due(Utc::now(), 1000).await.unwrap();
    store.remove_published(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();
}

async fn begin(store: &Store, id: CallId, now: DateTime<Utc>) -> BegunAnalysis {
    store.begin_analysis(id, now, now + seconds(15)).await.unwrap()
}

async fn state(store: &Store, id: CallId, analyzer: &str) -> AnalysisState {
    let record = store.call(id, Some("a client")).await.unwrap().unwrap();
    record.analyses.into_iter().find(|state| state.analyzer == analyzer).unwrap()
}

async fn an_analysis_goes_from_requested_over_leased_to_completed(store: &Store) {
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let id = requested(store, now).await;
    let BegunAnalysis::Leased(analysis) = begin(store, id, now).await else { panic!("not leased") };
    assert_eq!((analysis.call_id, analysis.attempts, analysis.attempts_counted), (id, 0, 0));
    assert_eq!((analysis.recording.location, analysis.recording.size_bytes), (stored().location, 242_880));
    assert_eq!((analysis.end_time - analysis.start_time).num_seconds(), 900);
    let results = raw(r#"{"schema": "callvine.results/1"}"#);
    let answered = Answered { results: &results, version: Some("1.2.3") };
    assert!(store.analysis_completed(id, answered, now + seconds(1)).await.unwrap());
    assert!(!store.analysis_completed(id, answered, now).await.unwrap(), "it is settled");
    let state = state(store, id, "quality").await;
    assert_eq!((state.status, state.attempts), (Status::Completed, 1));
    assert_eq!((state.version.as_deref(), state.results.as_deref()), (Some("1.2.3"), Some(results.get())));
    assert_eq!((state.requested_at, state.completed_at), (now, Some(now + seconds(1))));
    let events = due(store, Utc::now()).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].0.as_str(), events[0].1), ("analysis.completed", None));
    assert_eq!(
        events[0].2["data"],
        serde_json::json!({"call_id": id.0, "analyzer": "quality", "results": {"schema": "callvine.results/1"}})
    );
    assert!(matches!(begin(store, id, now).await, BegunAnalysis::Settled));
}

async fn a_leased_analysis_is_busy_until_the_lease_ends_or_longer_if_it_is_renewed(store: &Store) {
    let now = Utc::now();
    let id = requested(store, now).await;
    assert!(matches!(begin(store, id, now).await, BegunAnalysis::Leased(_)));
    let busy_until = async |at| match begin(store, id, at).await {
        BegunAnalysis::Busy(until) => until.timestamp_micros(),
        other => panic!("{other:?}"),
    };
    assert_eq!(busy_until(now + seconds(14)).await, (now + seconds(15)).timestamp_micros());
    store.renew_analysis_lease(id, now + seconds(30)).await.unwrap();
    assert_eq!(busy_until(now + seconds(29)).await, (now + seconds(30)).timestamp_micros());
    assert!(matches!(begin(store, id, now + seconds(30)).await, BegunAnalysis::Leased(_)));
}

async fn a_failed_attempt_at_an_analysis_comes_back_when_it_is_due(store: &Store) {
    let now = Utc::now();
    let id = requested(store, now).await;
    assert!(matches!(begin(store, id, now).await, BegunAnalysis::Leased(_)));
    store.postpone_analysis(id, UNREADABLE, now + seconds(60), now).await.unwrap();
    assert!(due(store, now + seconds(59)).await.is_empty());
    assert!(matches!(begin(store, id, now + seconds(59)).await, BegunAnalysis::NotDue(_)));
    let messages = due(store, now + seconds(61)).await;
    assert_eq!((messages[0].0.as_str(), messages[0].1), ("analysis.requested", Some(Queue::Analysis.name())));
    let state = state(store, id, "quality").await;
    assert_eq!((state.status, state.attempts), (Status::Requested, 1));
    assert_eq!(state.reason.as_deref(), Some(UNREADABLE.reason));
    let BegunAnalysis::Leased(again) = begin(store, id, now + seconds(61)).await else {
        panic!("not leased")
    };
    assert_eq!(again.attempts, 1);
}

async fn an_analysis_that_is_given_up_tells_everybody(store: &Store) {
    let now = Utc::now();
    let id = requested(store, now).await;
    assert!(store.analysis_failed(id, UNREADABLE, now).await.unwrap());
    let events = due(store, Utc::now()).await;
    let told: Vec<_> = events.iter().map(|(key, queue, _)| (key.as_str(), *queue)).collect();
    assert_eq!(
        told,
        [("analysis.failed", None), ("analysis.requested", Some(Queue::AnalysisDead.name()))],
        "to everybody, and to the dead letters"
    );
    assert_eq!(
        events[0].2["data"],
        serde_json::json!({
            "call_id": id.0, "analyzer": "quality", "reason": UNREADABLE.reason, "attempts": 1,
            "last_error": UNREADABLE.last_error,
        })
    );
    assert_eq!(state(store, id, "quality").await.status, Status::Failed);
}

async fn a_deferred_analysis_is_looked_at_again(store: &Store) {
    let now = Utc::now();
    let id = requested(store, now).await;
    store.defer_analysis(id, now + seconds(16), now).await.unwrap();
    assert!(due(store, now + seconds(15)).await.is_empty());
    assert_eq!(due(store, now + seconds(17)).await.len(), 1);
    assert_eq!(state(store, id, "quality").await.attempts, 0);
}

async fn an_analysis_attempt_is_counted_once_also_when_its_process_died(store: &Store) {
    let now = Utc::now();
    let id = requested(store, now).await;
    assert!(matches!(begin(store, id, now).await, BegunAnalysis::Leased(_)));
    for _ in 0..2 {
        assert!(store.count_analysis_attempt(id).await.unwrap());
    }
    // Its process dies here, and the lease ends.
    let later = now + seconds(16);
    let BegunAnalysis::Leased(again) = begin(store, id, later).await else { panic!("not leased") };
    assert_eq!((again.attempts, again.attempts_counted), (1, 1));
    assert!(store.count_analysis_attempt(id).await.unwrap());
    store.postpone_analysis(id, UNREADABLE, later, later).await.unwrap();
    assert_eq!(state(store, id, "quality").await.attempts, 2);
    assert!(store.analysis_failed(id, UNREADABLE, later).await.unwrap());
    assert!(!store.count_analysis_attempt(id).await.unwrap());
}

async fn nothing_is_done_about_an_analysis_that_nobody_requested(store: &Store) {
    let now = Utc::now();
    let id = one_call(store).await;
    publish(store).await;
    assert!(matches!(begin(store, id, now).await, BegunAnalysis::Unknown));
    store.defer_analysis(id, now, now).await.unwrap();
    store.postpone_analysis(id, UNREADABLE, now, now).await.unwrap();
    assert!(!store.analysis_failed(id, UNREADABLE, now).await.unwrap());
    assert!(due(store, Utc::now()).await.is_empty());
}

async fn an_answer_of_somebody_elses_stands_beside_ours(store: &Store) {
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let id = requested(store, now).await;
    let results = raw(r#"{"score": 7}"#);
    let answer = store.answer_analysis(id, &acme(), Answer::Completed(&results), now).await.unwrap();
    let RecordedAnswer::Recorded(recorded) = answer else { panic!("{answer:?}") };
    assert_eq!((recorded.analyzer.as_str(), recorded.status), ("acme", Status::Completed));
    assert_eq!((recorded.results.as_deref(), recorded.completed_at), (Some(results.get()), Some(now)));
    let record = store.call(id, Some("a client")).await.unwrap().unwrap();
    let names: Vec<_> = record.analyses.iter().map(|state| state.analyzer.as_str()).collect();
    assert_eq!(names, ["acme", "quality"]);
    assert_eq!(record.quality().unwrap().status, Status::Requested);
    let events = due(store, Utc::now()).await;
    assert_eq!((events.len(), events[0].0.as_str()), (1, "analysis.completed"));
    assert_eq!(events[0].2["data"]["analyzer"], "acme");
}

async fn the_same_answer_again_changes_nothing_and_another_one_replaces_it(store: &Store) {
    let now: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let id = requested(store, now).await;
    let results = raw(r#"{"score": 7}"#);
    let mut ids = Vec::new();
    for (answer, tells) in [
        (Answer::Failed("no sound"), Some("analysis.failed")),
        (Answer::Failed("no sound"), None),
        (Answer::Completed(&results), Some("analysis.completed")),
        (Answer::Completed(&results), None),
        (Answer::Failed("no sound"), Some("analysis.failed")),
    ] {
        let recorded = store.answer_analysis(id, &acme(), answer, now).await.unwrap();
        let RecordedAnswer::Recorded(recorded) = recorded else { panic!("{recorded:?}") };
        assert_eq!(recorded.results.is_some(), matches!(answer, Answer::Completed(_)));
        let events = due(store, Utc::now()).await;
        assert_eq!(events.first().map(|event| event.0.as_str()), tells, "{answer:?}");
        ids.extend(events.into_iter().map(|event| event.2["id"].as_str().unwrap().to_owned()));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each change is an event of its own");
    let state = state(store, id, "acme").await;
    assert_eq!(
        (state.status, state.attempts, state.last_error.as_deref()),
        (Status::Failed, 3, Some("no sound"))
    );
}

async fn answers_about_calls_that_are_not_there_and_answers_of_too_many_are_refused(store: &Store) {
    let now = Utc::now();
    let missing = store.answer_analysis(CallId(404), &acme(), Answer::Failed("x"), now).await.unwrap();
    assert!(matches!(missing, RecordedAnswer::Unknown));
    let id = requested(store, now).await;
    for number in 0..ANALYZERS_MAX {
        let analyzer = format!("acme-{number}").parse().unwrap();
        let answer = store.answer_analysis(id, &analyzer, Answer::Failed("x"), now).await.unwrap();
        assert!(matches!(answer, RecordedAnswer::Recorded(_)), "{number}");
    }
    let answer = store.answer_analysis(id, &acme(), Answer::Failed("x"), now).await.unwrap();
    assert!(matches!(answer, RecordedAnswer::TooMany));
    let known = "acme-0".parse().unwrap();
    let answer = store.answer_analysis(id, &known, Answer::Failed("y"), now).await.unwrap();
    assert!(matches!(answer, RecordedAnswer::Recorded(_)));
}
