//! No space left: for SQLite, for PostgreSQL, for the recordings. Space comes back, and everything goes on by itself.

use std::sync::Arc;

use harness::{Callvine, Database, PATIENCE, Postgres, RabbitMq, Volume, eventually, new_directory};

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::embedded::Embedded;
use crate::outage::{assert_answered, assert_recovers, harm_until_refused};

/// Enough for SQLite's files and for recordings until the space is taken.
const SMALL_BYTES: usize = 32 * 1024 * 1024;
/// Enough for a new cluster of PostgreSQL and a few segments of its log.
const POSTGRES_BYTES: usize = 160 * 1024 * 1024;

#[tokio::test]
async fn a_full_disk_under_sqlite_is_answered_500_until_there_is_space() {
    let volume = Arc::new(Volume::mount(SMALL_BYTES).await);
    let recordings = url::Url::from_directory_path(new_directory("recordings")).unwrap();
    let inside = Arc::clone(&volume);
    let adapt = Box::new(move |command: Callvine| {
        command
            .inside(&inside)
            .env("CALLVINE_DATA_DIR", inside.path().join("callvine-data"))
            .env("CALLVINE_RECORDINGS_URL", recordings.as_str())
    });
    let embedded = Embedded::start_with(Database::on_volume(&volume), adapt).await;
    let traffic = embedded.traffic();
    let mut chance = Chance::new("disk full, SQLite");
    chance.moment(&embedded.provider).await;
    harm_until_refused(&embedded.provider, || volume.fill()).await;
    volume.free();
    assert_recovers(&embedded.provider).await;
    chance.moment(&embedded.provider).await;
    traffic.stop().await;
    assert_answered(&embedded.provider);
    embedded.finish("disk full, SQLite").await;
}

/// PostgreSQL ends by itself when its log finds no space, and is started again by whoever runs it.
#[tokio::test]
async fn a_full_disk_under_postgres_is_answered_500_until_there_is_space() {
    let volume = Arc::new(Volume::mount(POSTGRES_BYTES).await);
    let postgres = Postgres::start_on(&volume, &["max_wal_size=32MB", "min_wal_size=32MB"]).await;
    let broker = RabbitMq::shared().await.vhost().await;
    let cluster = Cluster::on(&postgres.database().await, &broker).await;
    let traffic = cluster.traffic();
    let mut chance = Chance::new("disk full, PostgreSQL");
    chance.moment(&cluster.provider).await;
    harm_until_refused(&cluster.provider, || volume.fill()).await;
    volume.free();
    if !postgres.is_running() {
        postgres.restart().await;
    }
    assert_recovers(&cluster.provider).await;
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    assert_answered(&cluster.provider);
    cluster.finish("disk full, PostgreSQL").await;
}

/// Goal: calls are taken though no recording can be kept; each is tried again, and none is kept in part.
#[tokio::test]
async fn a_full_disk_under_the_recordings_delays_them() {
    let volume = Arc::new(Volume::mount(SMALL_BYTES).await);
    let directory = new_directory("up");
    let (inside, place) = (Arc::clone(&volume), directory.clone());
    let recordings = url::Url::from_directory_path(volume.path().join("recordings")).unwrap();
    let adapt = Box::new(move |command: Callvine| {
        command
            .inside(&inside)
            .env("CALLVINE_DATA_DIR", place.join("callvine-data"))
            .env("CALLVINE_RECORDINGS_URL", recordings.as_str())
            .env("CALLVINE_MIN_FREE", "0")
    });
    let database = Database::embedded(&directory);
    let embedded = Embedded::start_with(database.clone(), adapt).await;
    let traffic = embedded.traffic();
    let mut chance = Chance::new("disk full, recordings");
    chance.moment(&embedded.provider).await;
    eventually(PATIENCE, "a recording can't be kept", async || {
        volume.fill();
        database.count("from recordings where reason = 'storage'").await.is_some_and(|count| count > 0)
    })
    .await;
    crate::outage::assert_unnoticed(&embedded.provider, crate::cluster::LANES).await;
    volume.free();
    chance.moment(&embedded.provider).await;
    traffic.stop().await;
    embedded.finish("disk full, recordings").await;
}
