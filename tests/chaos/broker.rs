//! The broker away: stopped, killed, cut off without a word, short of memory, robbed of a queue. Providers notice
//! nothing, and the events follow.

use harness::{Network, PATIENCE, RabbitMq, eventually};
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use lapin::{Connection, ConnectionProperties};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::chance::Chance;
use crate::cluster::{Cluster, LANES, postgres};
use crate::outage::assert_unnoticed;
use crate::report::say;

/// Where the workers' messages wait.
const WORKERS_QUEUE: &str = "callvine.recordings";
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

/// Goal: messages that are lost with their queue come back, and so does the queue, without anybody's doing.
#[tokio::test]
async fn a_queue_that_is_deleted_is_made_and_filled_again() {
    let broker = RabbitMq::shared().await;
    let mut cluster = cluster_on(broker).await;
    let lost = lose_queue(&mut cluster, broker, "queue deleted").await;
    say(&format!("queue deleted: {lost} recordings lost their message"));
    cluster.start_searching_worker().await;
    cluster.finish("queue deleted").await;
}

/// Goal: the audit names what is lost with a queue, and queues it again.
#[tokio::test]
async fn what_is_lost_with_a_queue_is_named_by_the_audit_and_queued_again() {
    let broker = RabbitMq::shared().await;
    let mut cluster = cluster_on(broker).await;
    lose_queue(&mut cluster, broker, "queue deleted, audit").await;
    cluster.start_worker().await;
    let mut named = 0;
    // One audit need not name all: a recording younger than a second isn't idle yet, and while the queue holds as many
    // messages as recordings are pending, these count as queued.
    eventually(PATIENCE, "the audit has queued again what was lost with the queue", async || {
        let audit = cluster.audit().args(["--stuck-after", "1s", "--json", "--repair"]).run().await;
        named += audit.stdout.lines().filter(|line| line.contains("\"recording_stuck\"")).count();
        let pending = cluster.database.count("from recordings where status = 'pending'").await;
        audit.code() == Some(0) && pending == Some(0)
    })
    .await;
    assert!(named > 0, "nothing was lost: nothing was tested");
    say(&format!("queue deleted: {named} recordings queued again by the audit"));
    cluster.finish("queue deleted, audit").await;
}

/// Goal: a message that the broker has given up, having delivered it too often, is not the end of its recording.
#[tokio::test]
async fn recordings_whose_messages_were_dead_lettered_are_fetched_all_the_same() {
    let broker = RabbitMq::shared().await;
    let mut cluster = cluster_on(broker).await;
    cluster.kill_worker();
    let traffic = cluster.traffic();
    Chance::new("dead letters").moment(&cluster.provider).await;
    let mut rejected = 0;
    eventually(PATIENCE, "messages are dead-lettered", async || {
        rejected += reject_all(&broker.url(cluster.vhost())).await;
        rejected > 0
    })
    .await;
    traffic.stop().await;
    say(&format!("dead letters: {rejected} recordings lost their message"));
    cluster.start_searching_worker().await;
    cluster.finish("dead letters").await;
}

/// Takes the messages out of the workers' queue as one that was delivered too often leaves it; returns how many.
async fn reject_all(amqp_url: &str) -> usize {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut count = 0;
    let get = async || channel.basic_get(WORKERS_QUEUE.into(), BasicGetOptions::default()).await.unwrap();
    while let Some(message) = get().await {
        message.acker.reject(BasicRejectOptions { requeue: false }).await.unwrap();
        count += 1;
    }
    connection.close(200, "done".into()).await.unwrap();
    count
}

/// Kills the worker, and deletes its queue when some messages are in there; returns how many recordings are pending.
async fn lose_queue(cluster: &mut Cluster, broker: &RabbitMq, test: &str) -> i64 {
    let mut chance = Chance::new(test);
    cluster.kill_worker();
    let traffic = cluster.traffic();
    chance.moment(&cluster.provider).await;
    broker.ctl(&["delete_queue", "-p", cluster.vhost(), WORKERS_QUEUE]).await;
    assert_unnoticed(&cluster.provider, LANES).await;
    traffic.stop().await;
    let pending = cluster.database.count("from recordings where status = 'pending'").await;
    pending.expect("the database runs")
}
