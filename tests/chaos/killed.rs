//! SIGKILL at random moments, as the kernel does it to a process that takes too much memory.

use harness::{Callvine, Database, new_directory};

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::embedded::Embedded;
use crate::minutes::kills;
use crate::report::{Engine, Recoveries, say};

#[tokio::test]
async fn up_killed_at_random_moments_loses_nothing() {
    let mut chance = Chance::new("up killed");
    let mut recoveries = Recoveries::new(Engine::Embedded, "up killed");
    let mut embedded = Embedded::start().await;
    let traffic = embedded.traffic();
    for _ in 0..kills() {
        chance.moment(&embedded.provider).await;
        embedded.kill();
        embedded.restart().await;
        recoveries.note("Killed", &embedded.provider).await;
    }
    chance.moment(&embedded.provider).await;
    traffic.stop().await;
    embedded.finish("up killed").await;
    recoveries.say();
}

#[tokio::test]
async fn a_gateway_killed_at_random_moments_loses_nothing() {
    let mut chance = Chance::new("gateway killed");
    let mut recoveries = Recoveries::new(Engine::Distributed, "gateway killed");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    for _ in 0..kills() {
        chance.moment(&cluster.provider).await;
        cluster.kill_gateway();
        cluster.start_gateway().await;
        recoveries.note("Killed", &cluster.provider).await;
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("gateway killed").await;
    recoveries.say();
}

#[tokio::test]
async fn a_worker_killed_at_random_moments_loses_nothing() {
    let mut chance = Chance::new("worker killed");
    let mut recoveries = Recoveries::new(Engine::Distributed, "worker killed");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    for _ in 0..kills() {
        chance.moment(&cluster.provider).await;
        cluster.kill_worker();
        cluster.start_worker().await;
        recoveries.note("Killed", &cluster.provider).await;
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("worker killed").await;
    recoveries.say();
}

/// Goal: what is lost from the in-process queue, as a message that was delivered too often is, comes back.
#[tokio::test]
async fn up_whose_queue_is_emptied_fetches_everything_all_the_same() {
    let mut chance = Chance::new("up emptied");
    let directory = new_directory("up");
    let place = directory.clone();
    let adapt =
        Box::new(move |command: Callvine| command.directory(&place).env("CALLVINE_REQUEUE_AFTER", "2s"));
    let mut embedded = Embedded::start_with(Database::embedded(&directory), adapt).await;
    let traffic = embedded.traffic();
    let mut lost = 0;
    while lost == 0 {
        chance.moment(&embedded.provider).await;
        embedded.kill();
        lost += embedded.database.execute("delete from deliveries where queue = 'callvine.recordings'").await;
        embedded.restart().await;
    }
    traffic.stop().await;
    say(&format!("up emptied: {lost} recordings lost their message"));
    embedded.finish("up emptied").await;
}
