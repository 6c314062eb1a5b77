//! `callvine audit`: what it finds, what it calls right, and what it queues again; on both set-ups.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use harness::{
    Answer, Callvine, Database, Origin, PATIENCE, Postgres, Provider, RabbitMq, TEST_KEY, eventually,
    settled, sounds,
};
use serde_json::Value;

/// Calls posted to a process in this directory and settled: the first is given up, the others are stored.
async fn calls(directory: &Path, count: usize) -> Database {
    let origin = Origin::start().await;
    let sound = sounds(1).remove(0);
    let (page, wav) = (
        origin.serve("/page", Answer::page_as_audio()),
        origin.serve("/wav", Answer::wav(sound.bytes.clone())),
    );
    let mut process = up(directory).start().await;
    let provider = Provider::new(&process.public().await, TEST_KEY);
    let mut calls = vec![provider.call(&page)];
    calls.extend((1..count).map(|_| provider.call(&wav)));
    provider.deliver(&calls, 1, PATIENCE).await;
    let database = Database::embedded(directory);
    settled(&database).await;
    process.stop().await.assert_code(0);
    database
}

fn up(directory: &Path) -> Callvine {
    Callvine::new("up").directory(directory).env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
}

/// The problems that an audit names, each with its call; and whether it ended with code 0.
async fn audit(audit: Callvine) -> (bool, BTreeSet<(String, Option<i64>)>) {
    let finished = audit.args(["--json", "--stuck-after", "0s"]).run().await;
    let lines: Vec<Value> = finished.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, problems) = lines.split_last().expect(&finished.stderr);
    assert_eq!(summary["summary"]["problems"], problems.len(), "{summary}");
    let named = problems.iter().map(|line| {
        let problem = line["problem"].as_str().unwrap().to_owned();
        (problem, line["call_id"].as_i64())
    });
    assert!(matches!(finished.code(), Some(0 | 1)), "{}", finished.stderr);
    (finished.code() == Some(0), named.collect())
}

/// Waits until audits name exactly these problems: within its first second, nothing counts as resting.
#[expect(clippy::print_stdout, reason = "shown when it fails, which names no difference itself")]
async fn assert_found(auditing: impl Fn() -> Callvine, expected: &[(&str, Option<i64>)]) {
    let expected = (expected.is_empty(), named(expected));
    let mut last = None;
    eventually(PATIENCE, "the audit names what was damaged", async || {
        let found = audit(auditing()).await;
        if last.as_ref() != Some(&found) {
            println!("the audit named {found:?}");
            last = Some(found.clone());
        }
        found == expected
    })
    .await;
}

fn embedded(directory: &Path) -> Callvine {
    Callvine::new("audit").directory(directory)
}

fn named(problems: &[(&str, Option<i64>)]) -> BTreeSet<(String, Option<i64>)> {
    problems.iter().map(|(problem, id)| ((*problem).to_owned(), *id)).collect()
}

/// The object of a call.
fn object(directory: &Path, id: i64) -> PathBuf {
    let mut folders = vec![directory.join("callvine-data/recordings")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.starts_with('.') {
                folders.push(path);
            } else if name.starts_with(&format!("{id}-")) {
                return path;
            }
        }
    }
    panic!("call {id} has no object");
}

#[tokio::test]
async fn every_kind_of_damage_is_named_and_what_can_be_is_repaired() {
    let directory = harness::new_directory("audit");
    let database = calls(&directory, 10).await;
    assert_found(|| embedded(&directory), &[]).await;

    for statement in [
        "delete from deliveries where queue = 'callvine.recordings.dead'",
        "delete from recordings where call_id = 2",
        "update recordings set status = 'pending', location = null where call_id = 3",
        "delete from analyses where call_id = 4",
        "delete from deliveries where queue = 'callvine.analysis' and body like '%\"calls/5\"%'",
        "insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
         values ('call.created', 6, 6, 1, 1)",
        "insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
         values ('call.created', 7, 7, 9000000000000000, 1)",
    ] {
        database.execute(statement).await;
    }
    let orphans = [object(&directory, 2), object(&directory, 3)];
    std::fs::remove_file(object(&directory, 8)).unwrap();
    std::fs::write(object(&directory, 9), "short").unwrap();
    let mut bytes = std::fs::read(object(&directory, 10)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(object(&directory, 10), bytes).unwrap();

    let shallow = [
        ("dead_letter_missing", Some(1)),
        ("recording_missing", Some(2)),
        // Its row is gone, so nothing says that this is its object.
        ("object_orphan", None),
        ("recording_stuck", Some(3)),
        ("analysis_missing", Some(4)),
        ("analysis_stuck", Some(5)),
        ("event_stuck", Some(6)),
        ("event_postponed", Some(7)),
        ("object_missing", Some(8)),
        ("object_size", Some(9)),
    ];
    assert_found(|| embedded(&directory), &shallow).await;
    let deep = [&shallow[..], &[("object_content", Some(10))]].concat();
    assert_found(|| embedded(&directory).arg("--deep"), &deep).await;
    assert!(orphans.iter().all(|orphan| orphan.exists()));

    // Asked to repair, it says the same, and queues; a process that runs does the rest. The object without a recording
    // has one again.
    let repaired: Vec<_> = deep.into_iter().filter(|(problem, _)| *problem != "object_orphan").collect();
    assert_eq!(audit(embedded(&directory).args(["--deep", "--repair"])).await, (false, named(&repaired)));
    let left = audit(embedded(&directory)).await.1;
    let in_outbox: Vec<_> = left.iter().map(|(problem, _)| problem.as_str()).collect();
    assert!(in_outbox.iter().all(|problem| *problem == "event_stuck"), "{left:?}");
}

#[tokio::test]
async fn what_was_queued_again_is_fetched_again_and_then_nothing_is_wrong() {
    let directory = harness::new_directory("audit");
    let origin = Origin::start().await;
    let sound = sounds(1).remove(0);
    let wav = origin.serve("/wav", Answer::wav(sound.bytes.clone()));
    let mut process = up(&directory).start().await;
    let provider = Provider::new(&process.public().await, TEST_KEY);
    let calls: Vec<Value> = (0..4).map(|_| provider.call(&wav)).collect();
    provider.deliver(&calls, 1, PATIENCE).await;
    let database = Database::embedded(&directory);
    settled(&database).await;

    // Beside the running process.
    std::fs::remove_file(object(&directory, 1)).unwrap();
    std::fs::write(object(&directory, 2), "damaged").unwrap();
    database.execute("delete from recordings where call_id = 3").await;
    database.execute("delete from analyses where call_id = 4").await;
    let broken = [
        ("object_missing", Some(1)),
        ("object_size", Some(2)),
        ("recording_missing", Some(3)),
        ("object_orphan", None),
        ("analysis_missing", Some(4)),
    ];
    assert_found(|| embedded(&directory), &broken).await;
    audit(embedded(&directory).arg("--repair")).await;
    // A recording on its way is no problem to an audit; wait until all are fetched.
    settled(&database).await;
    assert_found(|| embedded(&directory).arg("--deep"), &[]).await;
    for id in 1..=4 {
        assert_eq!(std::fs::read(object(&directory, id)).unwrap(), sound.bytes);
    }
    assert_eq!(origin.count("/wav"), 4 + 3, "three recordings were fetched again");
    process.stop().await.assert_code(0);
}

#[tokio::test]
async fn only_calls_of_the_window_are_judged() {
    let directory = harness::new_directory("audit");
    let database = calls(&directory, 3).await;
    database.execute("update call_logs set created_at = '2024-05-01 12:00:00' where id = 2").await;
    database.execute("delete from recordings").await;
    let of = async |from: &str, to: &str| {
        let windowed = embedded(&directory).args(["--from", from, "--to", to]);
        let (_, problems) = audit(windowed).await;
        problems.into_iter().filter_map(|(_, id)| id).collect::<Vec<_>>()
    };
    assert_eq!(of("2024-05-01", "2024-05-02").await, [2]);
    assert_eq!(of("2024-05-01 12:00:00", "2024-05-01T12:00:01Z").await, [2]);
    assert_eq!(of("2024-05-01", "2024-05-01 12:00:00").await, [0; 0]);
    assert_eq!(of("1h", "2100-01-01").await, [1, 3]);
}

#[tokio::test]
async fn an_empty_place_is_not_taken_for_the_loss_of_every_object() {
    let directory = harness::new_directory("audit");
    let database = calls(&directory, 3).await;
    let elsewhere = harness::new_directory("unmounted");
    let url = url::Url::from_directory_path(&elsewhere).unwrap();
    let unmounted = embedded(&directory).env("CALLVINE_RECORDINGS_URL", url.as_str()).arg("--repair");
    assert_eq!(audit(unmounted).await, (false, named(&[("place_missing", None)])));
    assert_eq!(database.count("from outbox").await, Some(0), "nothing was queued");
}

#[tokio::test]
async fn without_a_database_it_says_so_and_makes_none() {
    let directory = harness::new_directory("audit");
    let finished = embedded(&directory).run().await;
    finished.assert_code(1);
    assert!(finished.stderr.contains("there is no database"), "{}", finished.stderr);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

#[tokio::test]
async fn with_a_broker_what_its_queues_hold_counts_and_what_they_lost_is_queued_again() {
    let broker = RabbitMq::shared().await;
    let amqp_url = broker.vhost().await;
    let vhost = amqp_url.rsplit('/').next().unwrap();
    let database_url = Postgres::shared().await.database().await;
    let directory = harness::new_directory("audit");
    let on_servers = |command: Callvine, amqp_url: &str| {
        command.directory(&directory).env("DATABASE_URL", &database_url).env("AMQP_URL", amqp_url)
    };
    let origin = Origin::start().await;
    let wav = origin.serve("/wav", Answer::wav(sounds(1).remove(0).bytes));
    let allowed = Callvine::new("up").env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8");
    let mut process = on_servers(allowed, &amqp_url).start().await;
    let provider = Provider::new(&process.public().await, TEST_KEY);
    let calls: Vec<Value> = (0..3).map(|_| provider.call(&wav)).collect();
    let acknowledged = provider.deliver(&calls, 1, PATIENCE).await;
    let database = Database::new(&database_url);
    settled(&database).await;
    let audited = || on_servers(Callvine::new("audit"), &amqp_url);
    assert_found(audited, &[]).await;

    broker.ctl(&["purge_queue", "-p", vhost, "callvine.analysis"]).await;
    database.execute("update recordings set status = 'pending', location = null").await;
    let mut expected: Vec<(&str, Option<i64>)> = Vec::new();
    for call in &acknowledged {
        expected.extend([("recording_stuck", Some(call.id)), ("analysis_stuck", Some(call.id))]);
    }
    assert_found(audited, &expected).await;
    let (_, unknown) = audit(on_servers(Callvine::new("audit"), "amqp://127.0.0.1:9")).await;
    assert_eq!(unknown, named(&[("broker_unreachable", None)]), "nothing is called lost on a guess");
    audit(audited().arg("--repair")).await;
    assert_found(audited, &[]).await;
    process.stop().await.assert_code(0);
}
