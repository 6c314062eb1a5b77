//! The embedded default: one process, SQLite, in-process delivery.

use harness::{Callvine, Database, Outcome, Provider, TEST_KEY};

use crate::recordings::{RECORDINGS, Recorded};

fn up() -> Callvine {
    Callvine::new("up").env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
}

#[tokio::test]
async fn a_hundred_real_recordings_go_all_the_way() {
    let recorded = Recorded::serve().await;
    let mut process = up().start().await;
    let url = process.public().await;
    let acknowledged = recorded.deliver(&Provider::new(&url, TEST_KEY)).await;
    recorded.assert_all_stored(&url, TEST_KEY, &acknowledged).await;
    let directory = process.directory().to_owned();
    process.stop().await.assert_code(0);
    let database = Database::embedded(&directory);
    let analyses =
        "from (select distinct event_id from deliveries where queue = 'callvine.analysis') as events";
    assert_eq!(database.count(analyses).await, Some(i64::try_from(RECORDINGS).unwrap()));
    assert_eq!(database.count("from deliveries where queue = 'callvine.analysis'").await, Some(100));
    assert_eq!(database.count("from deliveries where queue = 'callvine.recordings'").await, Some(0));
    assert_eq!(database.count("from outbox").await, Some(0), "everything was told");
}

/// Goal: a stop under load is orderly, since nothing waits for recordings that are postponed. Method: stop while a
/// hundred recordings are under way, and start again. A stop that waited would end at its deadline, and say so.
#[tokio::test]
async fn stopped_under_load_it_waits_for_nothing_postponed_and_goes_on_at_the_next_start() {
    let recorded = Recorded::serve().await;
    let mut process = up().start().await;
    let directory = process.directory().to_owned();
    let acknowledged = recorded.deliver(&Provider::new(&process.public().await, TEST_KEY)).await;
    let finished = process.stop().await;
    finished.assert_code(0);
    assert!(!finished.stderr.contains("not everything"), "{}", finished.stderr);
    let mut process = up().directory(&directory).start().await;
    recorded.assert_all_stored(&process.public().await, TEST_KEY, &acknowledged).await;
}

/// Goal: whatever was answered 201 survives SIGKILL and is finished by the next start. Method: kill in the middle of
/// 200 posts, start again in the same directory, account for every answer.
#[tokio::test]
async fn killed_in_the_middle_of_a_burst_it_loses_nothing_and_finishes_everything() {
    let recorded = Recorded::serve().await;
    let mut process = up().start().await;
    let directory = process.directory().to_owned();
    let provider = Provider::new(&process.public().await, TEST_KEY);
    provider.burst(&recorded.calls(&provider), 16).await;
    let calls = recorded.calls(&provider);
    let killing = async {
        // Not `eventually`, which looks at intervals: a hundred posts take no longer than one of them.
        while provider.acknowledged().len() <= RECORDINGS {
            tokio::task::yield_now().await;
        }
        process.kill();
    };
    let (outcomes, ()) = tokio::join!(provider.burst(&calls, 16), killing);
    let unanswered = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Acknowledged(_))).count();
    assert!(unanswered > 0, "it was killed in the middle");

    let mut process = up().directory(&directory).start().await;
    let url = process.public().await;
    for call in provider.acknowledged() {
        let data = crate::recordings::settled(&url, TEST_KEY, call.id).await;
        for field in ["from_phone", "handled_by", "recording_url", "start_time"] {
            assert_eq!(data[field], call.sent[field]);
        }
        assert_eq!(data["recording"]["status"], "stored", "{data}");
        assert_eq!(data["analysis"]["status"], "requested");
    }
    process.stop().await.assert_code(0);
    let database = Database::embedded(&directory);
    assert_eq!(database.count("from recordings where status <> 'stored'").await, Some(0));
    let missing = "from call_logs c where not exists (
        select 1 from deliveries d where d.queue = 'callvine.analysis' and d.body like '%\"subject\":\"calls/' || c.id || '\"%')";
    assert_eq!(database.count(missing).await, Some(0), "every call has its analysis request");
}
