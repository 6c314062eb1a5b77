//! Recordings leave a reserve of the disk alone (`CALLVINE_MIN_FREE`): a flood of them stops there, calls are taken all the
//! while, and the recordings go on when there is space.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use harness::{
    Answer, Callvine, Database, Origin, Outcome, PATIENCE, Postgres, Provider, RabbitMq, Running, Volume,
    eventually, new_directory, telephone_file, telephone_sound,
};
use serde_json::Value;

/// Room for the flood, the reserve, and SQLite's files.
const VOLUME_BYTES: usize = 160 * 1024 * 1024;
/// `CALLVINE_MIN_FREE`.
const RESERVE: &str = "48MiB";
/// Taken by others at first: it leaves room for a part of the flood alone.
const TAKEN_BYTES: usize = 72 * 1024 * 1024;
/// Free at the least. Recordings under way and SQLite may have taken a part of the reserve: each recording looks at it once
/// in a MiB.
const LEFT_BYTES: u64 = 20 * 1024 * 1024;
/// Taken by others at a time while the disk is not yet at its reserve.
const PIECE_BYTES: usize = 256 * 1024;
/// The flood.
const RECORDINGS: usize = 70;
const RECORDING_BYTES: u64 = 1024 * 1024;
/// Posts that must be answered 201 while the disk is at its reserve.
const POSTS: usize = 50;

/// A process with its recordings on the volume.
fn process(command: &str, volume: &Arc<Volume>) -> Callvine {
    let recordings = url::Url::from_directory_path(volume.path().join("recordings")).unwrap();
    Callvine::new(command)
        .inside(volume)
        .env("CALLVINE_RECORDINGS_URL", recordings.as_str())
        .env("CALLVINE_MIN_FREE", RESERVE)
        .env("CALLVINE_FETCH_ALLOW", "127.0.0.0/8")
        .env("CALLVINE_FETCH_PER_HOST", "16")
        .env("CALLVINE_FETCH_BACKOFF", "100ms")
        .env("CALLVINE_FETCH_ATTEMPTS", "100")
}

#[tokio::test]
async fn recordings_leave_the_reserve_to_sqlite() {
    let volume = Arc::new(Volume::mount(VOLUME_BYTES).await);
    let up = process("up", &volume).env("CALLVINE_DATA_DIR", volume.path().join("callvine-data"));
    let mut up = up.start().await;
    let provider = Provider::new(&up.public().await, "test_key_123");
    let admin = up.admin().await;
    a_flood_stops_at_the_reserve(&volume, &Database::on_volume(&volume), &provider, (&admin, 200)).await;
    up.stop().await.assert_code(0);
}

#[tokio::test]
async fn recordings_leave_the_reserve_of_a_workers_disk() {
    let volume = Arc::new(Volume::mount(VOLUME_BYTES).await);
    let database = Postgres::shared().await.database().await;
    let broker = RabbitMq::shared().await.vhost().await;
    let on_servers = |command: Callvine| {
        command.env("DATABASE_URL", &database).env("AMQP_URL", &broker).env("CALLVINE_DEV_KEYS", "on")
    };
    let mut gateway = on_servers(Callvine::new("gateway")).start().await;
    let data = new_directory("data");
    let worker = on_servers(process("worker", &volume)).env("CALLVINE_DATA_DIR", data);
    let mut worker: Running = worker.start_worker().await;
    let provider = Provider::new(&gateway.public().await, "test_key_123");
    let admin = worker.admin().await;
    a_flood_stops_at_the_reserve(&volume, &Database::new(&database), &provider, (&admin, 503)).await;
    gateway.stop().await.assert_code(0);
    worker.stop().await.assert_code(0);
}

/// `readiness` is the admin listener of the process that fetches, and its status while the disk is at its reserve.
async fn a_flood_stops_at_the_reserve(
    volume: &Volume,
    database: &Database,
    provider: &Provider,
    (admin, status): (&str, u16),
) {
    let taken = volume.from_outside().join("taken");
    fs::write(&taken, vec![0; TAKEN_BYTES]).unwrap();
    let origin = Origin::start().await;
    let sound = origin.serve("/sound", Answer::wav(telephone_file(RECORDING_BYTES)));
    let calls: Vec<Value> = (0..RECORDINGS).map(|_| provider.call(&sound)).collect();
    provider.deliver(&calls, 8, PATIENCE).await;
    let refused = "from recordings where reason = 'storage' and last_error like '%CALLVINE_MIN_FREE%'";
    eventually(PATIENCE, "the flood stops", async || database.count(refused).await.is_some_and(|n| n > 5))
        .await;

    // The space above the reserve is too little for one more of the flood, but not yet for a shorter recording.
    let client = harness::http_client();
    let get = async |path: &str| client.get(format!("{admin}{path}")).send().await.unwrap();
    let mut others = File::options().append(true).open(&taken).unwrap();
    eventually(PATIENCE, "readiness tells", async || {
        let ready = get("/readyz").await;
        let (answered, parts) = (ready.status().as_u16(), ready.text().await.unwrap());
        let parts: Value = serde_json::from_str(&parts).unwrap();
        let tells = parts.get("object_store").and_then(Value::as_str).unwrap().contains("CALLVINE_MIN_FREE");
        if !tells {
            others.write_all(&[0; PIECE_BYTES]).unwrap();
        }
        tells && answered == status
    })
    .await;

    let short = origin.serve("/short", Answer::wav(telephone_sound(1)));
    let calls: Vec<Value> = (0..POSTS).map(|_| provider.call(&short)).collect();
    for outcome in provider.burst(&calls, 8).await {
        assert!(matches!(outcome, Outcome::Acknowledged(_)), "{outcome:?}");
    }
    let disk = rustix::fs::statvfs(volume.from_outside()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    assert!(free > LEFT_BYTES, "{free} bytes are left");
    let metrics = get("/metrics").await.text().await.unwrap();
    let gauge = metrics.lines().find_map(|line| line.strip_prefix("callvine_free_disk_bytes "));
    assert!(gauge.is_some_and(|bytes| bytes.parse::<f64>().unwrap() > 0.0), "{metrics}");

    drop(others);
    fs::remove_file(&taken).unwrap();
    eventually(PATIENCE + Duration::from_secs(60), "all are stored", async || {
        database.count("from recordings where status = 'stored'").await.is_some_and(|n| n >= 120)
    })
    .await;
    eventually(PATIENCE, "it is ready again", async || get("/readyz").await.status().as_u16() == 200).await;
}
