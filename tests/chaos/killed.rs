//! SIGKILL at random moments, as the kernel does it to a process that takes too much memory.

use crate::chance::{Chance, kills};
use crate::cluster::Cluster;
use crate::embedded::Embedded;

#[tokio::test]
async fn up_killed_at_random_moments_loses_nothing() {
    let mut chance = Chance::new("up killed");
    let mut embedded = Embedded::start().await;
    let traffic = embedded.traffic();
    for _ in 0..kills() {
        chance.moment(&embedded.provider).await;
        embedded.kill();
        embedded.restart().await;
    }
    chance.moment(&embedded.provider).await;
    traffic.stop().await;
    embedded.finish("up killed").await;
}

#[tokio::test]
async fn a_gateway_killed_at_random_moments_loses_nothing() {
    let mut chance = Chance::new("gateway killed");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    for _ in 0..kills() {
        chance.moment(&cluster.provider).await;
        cluster.kill_gateway();
        cluster.start_gateway().await;
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("gateway killed").await;
}

#[tokio::test]
async fn a_worker_killed_at_random_moments_loses_nothing() {
    let mut chance = Chance::new("worker killed");
    let mut cluster = Cluster::start().await;
    let traffic = cluster.traffic();
    for _ in 0..kills() {
        chance.moment(&cluster.provider).await;
        cluster.kill_worker();
        cluster.start_worker().await;
    }
    chance.moment(&cluster.provider).await;
    traffic.stop().await;
    cluster.finish("worker killed").await;
}
