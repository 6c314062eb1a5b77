//! Recordings kept in an S3-compatible store, on both engines.

use std::time::Duration;

use harness::{
    Answer, Callvine, Database, Origin, Postgres, Provider, RabbitMq, S3, TEST_KEY, eventually, obtained,
};
use sha2::{Digest, Sha256};

use crate::recordings::{PATIENCE, settled};

/// Seconds of 8 kHz A-law that don't fit one request to the store: 9 MB.
const LONG_SECONDS: u64 = 1125;

/// Calls that are on their way when the store goes.
const MANY: usize = 12;

/// A short recording and a long one.
fn recordings() -> [Vec<u8>; 2] {
    [harness::telephone_sound(3), harness::telephone_sound(LONG_SECONDS)]
}

/// Posts a call for each, and asserts that each comes to lie in the bucket, byte for byte.
async fn assert_kept(url: &str, key: &str, store: &S3, bucket: &str) {
    let origin = Origin::start().await;
    let provider = Provider::new(url, key);
    let sounds = recordings();
    let calls: Vec<_> = sounds
        .iter()
        .enumerate()
        .map(|(number, sound)| {
            provider.call(&origin.serve(&format!("/{number}"), Answer::wav(sound.clone())))
        })
        .collect();
    for (call, sound) in provider.deliver(&calls, 1, PATIENCE).await.iter().zip(&sounds) {
        let data = settled(url, key, call.id).await;
        let recording = &data["recording"];
        assert_eq!(recording["status"], "stored", "{data}");
        assert_eq!(recording["sha256"], hex::encode(Sha256::digest(sound)));
        let location = recording["location"].as_str().unwrap();
        let name = location.strip_prefix(&format!("s3://{bucket}/")).unwrap();
        let name_of_call = name.rsplit('/').next().unwrap();
        assert!(name.starts_with("calls/20") && name_of_call.starts_with(&format!("{}-", call.id)), "{name}");
        let (media_type, kept) = store.object(bucket, name).await.unwrap();
        assert_eq!(media_type, "audio/wav");
        assert!(kept == *sound, "byte for byte");
    }
    assert_eq!(store.keys(bucket).await.len(), 2);
    assert!(store.uploads(bucket).await.is_empty());
}

async fn object_store(admin: &str) -> String {
    let answer = harness::http_client().get(format!("{admin}/readyz")).send().await.unwrap();
    let report: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    report["object_store"].as_str().unwrap().to_owned()
}

/// The problems that an audit names, sorted.
async fn audit(store: &S3, bucket: &str, directory: &std::path::Path, arguments: &[&str]) -> Vec<String> {
    let audit = store.keeps(bucket, Callvine::new("audit").directory(directory));
    let finished = audit.args(["--json", "--deep", "--stuck-after", "0s"]).args(arguments).run().await;
    let lines = finished.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut problems: Vec<String> =
        lines.filter_map(|line| line["problem"].as_str().map(str::to_owned)).collect();
    problems.sort();
    assert_eq!(finished.code(), Some(i32::from(!problems.is_empty())), "{}", finished.stderr);
    problems
}

fn up(store: &S3, bucket: &str) -> Callvine {
    let up =
        Callvine::new("up").env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8").env("CALLVINE_FETCH_BACKOFF", "1s");
    store.keeps(bucket, up)
}

#[tokio::test]
async fn one_process_keeps_recordings_in_a_bucket_and_an_audit_reads_them() {
    let store = S3::shared().await;
    let bucket = store.bucket().await;
    let mut process = up(store, &bucket).start().await;
    assert_kept(&process.public().await, TEST_KEY, store, &bucket).await;
    assert_eq!(object_store(&process.admin().await).await, "ok");
    let directory = process.directory().to_owned();
    assert_eq!(std::fs::read_dir(directory.join("callvine-data/staging")).unwrap().count(), 0);
    process.stop().await.assert_code(0);

    eventually(PATIENCE, "the audit finds nothing wrong", async || {
        audit(store, &bucket, &directory, &[]).await.is_empty()
    })
    .await;
    let keys = store.keys(&bucket).await;
    store.write(&bucket, &keys[0], b"other bytes").await;
    store.remove(&bucket, &keys[1]).await;
    store.write(&bucket, "calls/2026/01/01/4711-ab.wav", b"nobody's").await;
    // An object is judged by its age in whole seconds.
    eventually(PATIENCE, "the audit names the damage", async || {
        let found = audit(store, &bucket, &directory, &[]).await;
        found == ["object_missing", "object_orphan", "object_size"]
    })
    .await;
}

#[tokio::test]
async fn a_gateway_and_a_worker_keep_recordings_in_a_bucket() {
    let (store, postgres) = (S3::shared().await, Postgres::shared().await);
    let (bucket, database) = (store.bucket().await, postgres.database().await);
    let broker = RabbitMq::shared().await.vhost().await;
    let process = |command| Callvine::new(command).env("DATABASE_URL", &database).env("AMQP_URL", &broker);
    let created = process("keys").args(["create", "--client", "acme"]).run().await;
    created.assert_code(0);
    let mut gateway = process("gateway").start().await;
    let worker = process("worker").env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8");
    let mut worker = store.keeps(&bucket, worker).start_worker().await;
    assert_kept(&gateway.public().await, created.stdout.trim(), store, &bucket).await;
    assert_eq!(object_store(&worker.admin().await).await, "ok");
    gateway.stop().await.assert_code(0);
    worker.stop().await.assert_code(0);
}

/// Goal: a store that dies and comes back empty costs no recording. Method: kill it while recordings are on their way;
/// recordings that were not kept yet are attempted again; an audit names the lost ones and has them fetched again.
#[tokio::test]
async fn a_store_that_is_killed_midway_loses_no_recording_for_good() {
    let store = S3::start().await;
    let bucket = store.bucket().await;
    let mut process = up(&store, &bucket).start().await;
    let (url, admin) = (process.public().await, process.admin().await);
    let origin = Origin::start().await;
    let [_, long] = recordings();
    let sound = origin.serve("/long", Answer::wav(long));
    let provider = Provider::new(&url, TEST_KEY);
    let calls: Vec<_> = (0..MANY).map(|_| provider.call(&sound)).collect();
    let acknowledged = provider.deliver(&calls, 8, PATIENCE).await;
    eventually(PATIENCE, "some are kept", async || !store.keys(&bucket).await.is_empty()).await;
    store.kill();
    let database = Database::embedded(process.directory());
    // Whichever: those that are fetched at the same time are kept in any order.
    obtained(PATIENCE, "a recording waits for the store", async || {
        for call in &acknowledged {
            let url = format!("{url}/calls/{}", call.id);
            let answer = harness::http_client().get(url).header("X-API-Key", TEST_KEY).send().await.ok()?;
            let data: serde_json::Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
            let recording = &data["data"]["recording"];
            if recording["attempts"] != 0 && recording["status"] == "pending" {
                return Some(());
            }
        }
        None
    })
    .await;
    assert!(object_store(&admin).await.contains("can't be reached"));

    store.restart().await;
    store.create(&bucket).await;
    for call in &acknowledged {
        let data = settled(&url, TEST_KEY, call.id).await;
        assert_eq!(data["recording"]["status"], "stored", "{data}");
    }
    let lost = MANY - store.keys(&bucket).await.len();
    assert!(lost > 0, "something was kept before the kill");
    let directory = process.directory().to_owned();
    let named = obtained(PATIENCE, "the audit names what was lost", async || {
        let named = audit(&store, &bucket, &directory, &["--repair"]).await;
        named.iter().any(|problem| problem == "object_missing").then_some(named)
    })
    .await;
    assert_eq!(named, vec!["object_missing"; lost]);
    eventually(PATIENCE, "all are there again", async || store.keys(&bucket).await.len() == MANY).await;
    harness::settled(&database).await;
    process.stop().await.assert_code(0);
    eventually(Duration::from_secs(60), "the audit finds nothing wrong", async || {
        audit(&store, &bucket, &directory, &[]).await.is_empty()
    })
    .await;
}
