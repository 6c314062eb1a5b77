//! A rolling upgrade: a newer process writes messages for a queue that this version does not know. They go there and
//! nowhere else, or wait until the queue exists.

use callvine_shared::queue::Queue;
use harness::{Callvine, Database, PATIENCE, Postgres, RabbitMq, eventually, obtained};
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// The queue of a newer version.
const NEWER: &str = "callvine.transcripts";

/// A message for it. By its routing key alone it would go to `callvine.analysis`.
const FOR_NEWER: &str = "insert into outbox (routing_key, queue, event_id, body, available_at, created_at)
    values ('analysis.requested', 'callvine.transcripts', 'newer', 'newer', 1, 1)";

/// The rows of [`FOR_NEWER`].
const WAITING_FOR_NEWER: &str = "from outbox where queue = 'callvine.transcripts'";

/// A message for each queue of this version, due later than those of [`FOR_NEWER`].
const FOR_KNOWN: &str = "insert into outbox (routing_key, queue, event_id, body, available_at, created_at)
    values ('analysis.requested', 'callvine.recordings', 'known', 'known', 2, 1),
           ('analysis.requested', 'callvine.recordings.dead', 'known', 'known', 2, 1),
           ('analysis.requested', 'callvine.analysis', 'known', 'known', 2, 1),
           ('analysis.requested', 'callvine.analysis.dead', 'known', 'known', 2, 1)";

#[tokio::test]
async fn a_message_for_a_queue_of_a_newer_version_waits_for_the_queue_and_goes_to_it_alone() {
    let (postgres, broker) = (Postgres::shared().await, RabbitMq::shared().await);
    let (database_url, amqp_url) = (postgres.database().await, broker.vhost().await);
    let gateway = Callvine::new("gateway").env("DATABASE_URL", &database_url).env("AMQP_URL", &amqp_url);
    let gateway = gateway.start().await;
    let database = Database::new(&database_url);

    database.execute(FOR_NEWER).await;
    database.execute(FOR_KNOWN).await;
    eventually(PATIENCE, "all that is due later is published", async || {
        database.count("from outbox").await == Some(1)
    })
    .await;
    assert_eq!(database.count(WAITING_FOR_NEWER).await, Some(1), "there is no such queue yet");

    let connection = Connection::connect(&amqp_url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(NEWER.into(), durable, FieldTable::default()).await.unwrap();
    eventually(PATIENCE, "it is published", async || database.count("from outbox").await == Some(0)).await;
    assert_eq!(next(&channel, NEWER).await, "newer");

    // A copy that had gone to another queue would lie between the two messages for that queue itself.
    database.execute(FOR_KNOWN).await;
    eventually(PATIENCE, "the outbox is empty", async || database.count("from outbox").await == Some(0))
        .await;
    for queue in Queue::ALL {
        for _ in 0..2 {
            assert_eq!(next(&channel, queue.name()).await, "known", "in {}", queue.name());
        }
    }
    gateway.stop().await.assert_code(0);
}

/// The body of the next message of a queue.
async fn next(channel: &Channel, queue: &str) -> String {
    let taken = BasicGetOptions { no_ack: true };
    obtained(PATIENCE, &format!("a message is in {queue}"), async || {
        let message = channel.basic_get(queue.into(), taken).await.unwrap()?;
        Some(String::from_utf8(message.delivery.data).unwrap())
    })
    .await
}

#[tokio::test]
async fn a_message_for_a_queue_of_a_newer_version_lies_in_it_in_process() {
    let up = Callvine::new("up").start().await;
    let database = Database::embedded(up.directory());
    database.execute(FOR_NEWER).await;
    eventually(PATIENCE, "it is delivered", async || database.count("from outbox").await == Some(0)).await;
    let there =
        "from deliveries where queue = 'callvine.transcripts' and event_id = 'newer' and body = 'newer'";
    assert_eq!(database.count(there).await, Some(1));
    assert_eq!(database.count("from deliveries").await, Some(1), "nothing consumes analyses here");
    up.stop().await.assert_code(0);
}
