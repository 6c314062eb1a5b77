//! The broker away: stopped, killed, cut off without a word, short of memory, robbed of a queue. Providers notice
//! nothing, and the events follow.

use harness::{Network, RabbitMq, eventually};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::chance::Chance;
use crate::cluster::{Cluster, LANES, PATIENCE, postgres};
use crate::outage::assert_unnoticed;

/// Posts that go through while the broker is away: some seconds' worth.
const UNNOTICED: usize = 20 * LANES;

/// A broker that one test at a time may harm. Starting one takes longer than most faults last.
pub(crate) async fn broker() -> MutexGuard<'static, RabbitMq> {
    static BROKER: OnceCell<Mutex<RabbitMq>> = OnceCell::const_new();
    BROKER.get_or_init(async || Mutex::new(RabbitMq::start().await)).await.lock().await
}

async fn cluster_on(broker: &RabbitMq) -> Cluster {
    Cluster::on(&postgres().await.database().await, &broker.vhost().await).await
}

#[tokio::test]
async fn while_the_broker_is_stopped_ingestion_goes_on_and_the_events_follow() {
    let broker = broker().await;
    let cluster = cluster_on(&broker).await;
    let traffic = cluster.traffic();
    Chance::new("broker stopped").moment(&cluster.provider).await;
    broker.stop().await;
    assert_unnoticed(&cluster.provider, UNNOTICED).await;
    broker.restart().await;
    assert_unnoticed(&cluster.provider, LANES).await;
    traffic.stop().await;
    cluster.finish("broker stopped").await;
}

#[tokio::test]
async fn a_broker_that_is_killed_loses_no_event() {
    let broker = broker().await;
    let cluster = cluster_on(&broker).await;
    let traffic = cluster.traffic();
    Chance::new("broker killed").moment(&cluster.provider).await;
    broker.kill().await;
    assert_unnoticed(&cluster.provider, LANES).await;
    broker.restart().await;
    assert_unnoticed(&cluster.provider, LANES).await;
    traffic.stop().await;
    cluster.finish("broker killed").await;
}

/// Goal: a connection that only looks open is given up by its missing heartbeats, on both sides.
#[tokio::test]
async fn a_broker_that_vanishes_without_a_word_is_found_again() {
    let broker = RabbitMq::shared().await;
    let cluster = cluster_on(broker).await;
    let traffic = cluster.traffic();
    Chance::new("broker vanished").moment(&cluster.provider).await;
    cluster.broker_network.set(Network::Cut);
    cluster.broker_network.strand();
    assert_unnoticed(&cluster.provider, UNNOTICED).await;
    cluster.broker_network.set(Network::Open);
    assert_unnoticed(&cluster.provider, LANES).await;
    traffic.stop().await;
    cluster.finish("broker vanished").await;
}

#[tokio::test]
async fn a_broker_short_of_memory_gets_the_events_when_it_takes_them_again() {
    let broker = broker().await;
    let cluster = cluster_on(&broker).await;
    let traffic = cluster.traffic();
    Chance::new("memory alarm").moment(&cluster.provider).await;
    broker.ctl(&["set_vm_memory_high_watermark", "0.00001"]).await;
    eventually(PATIENCE, "events wait in the outbox", async || {
        cluster.database.count("from outbox").await.is_some_and(|rows| rows > 0)
    })
    .await;
    assert_unnoticed(&cluster.provider, UNNOTICED).await;
    broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    assert_unnoticed(&cluster.provider, LANES).await;
    traffic.stop().await;
    cluster.finish("memory alarm").await;
}

/// Goal: messages that are lost with their queue are named by the audit and queued again by it, and the queue is made
/// again by itself.
#[tokio::test]
async fn a_queue_that_is_deleted_is_made_again_and_the_audit_refills_it() {
    let broker = RabbitMq::shared().await;
    let mut cluster = cluster_on(broker).await;
    let mut chance = Chance::new("queue deleted");
    cluster.kill_worker();
    let traffic = cluster.traffic();
    chance.moment(&cluster.provider).await;
    broker.ctl(&["delete_queue", "-p", cluster.vhost(), "callvine.recordings"]).await;
    assert_unnoticed(&cluster.provider, LANES).await;
    traffic.stop().await;
    cluster.start_worker().await;

    // What is as young as a second doesn't count as resting yet.
    let mut named = 0;
    eventually(PATIENCE, "the audit has queued again what was lost with the queue", async || {
        let audit = cluster.audit().args(["--stuck-after", "1s", "--json", "--repair"]).run().await;
        let stuck = audit.stdout.lines().filter(|line| line.contains("\"recording_stuck\"")).count();
        named += stuck;
        named > 0 && audit.code() == Some(0)
    })
    .await;
    println!("queue deleted: {named} recordings queued again by the audit");
    cluster.finish("queue deleted").await;
}
