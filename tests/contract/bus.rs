//! The bus's contract: what is published arrives, at least once, until it is done; on RabbitMQ and in process.

use std::time::Duration;

use callvine_shared::bus::{Bus, BusError, Consumer, Delivery, Local, RabbitMq};
use callvine_shared::queue::{Message, Queue, QueueName};
use callvine_shared::store::{DELIVERY_LEASE, Store};
use harness::{PATIENCE, eventually};
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

/// Instantiates every test for both kinds of delivery.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let bus = super::rabbitmq().await;
                super::$name(&bus).await;
                bus.close().await;
            })+
        }
        mod local {
            $(#[tokio::test]
            async fn $name() {
                let (_directory, bus) = super::local().await;
                super::$name(&bus).await;
            })+
        }
    };
}

contract!(
    an_event_reaches_the_queues_that_are_bound_to_it_and_no_other,
    a_message_to_a_queue_reaches_that_queue_alone,
    an_event_that_nobody_is_bound_to_is_confirmed,
    a_message_that_is_done_does_not_come_again,
    a_message_that_is_dropped_comes_again,
    a_message_that_is_buried_goes_to_the_dead_letters,
    no_more_than_the_prefetch_is_in_hand,
    many_messages_arrive_each_and_in_order,
    what_waits_is_told_from_what_is_in_hand,
);

async fn rabbitmq() -> Bus {
    let url = harness::RabbitMq::shared().await.vhost().await;
    let bus = Bus::RabbitMq(RabbitMq::start(url.parse().unwrap(), true));
    tokio::time::timeout(PATIENCE, bus.ready()).await.unwrap();
    bus
}

async fn local() -> (tempfile::TempDir, Bus) {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::connect(&format!("sqlite://{}/callvine.db", directory.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    (directory, Bus::Local(Local::new(store)))
}

fn message(routing_key: &str, queue: Option<Queue>, body: &str) -> Message {
    Message {
        event_id: format!("id of {body}"),
        routing_key: routing_key.to_owned().into(),
        queue: queue.map(QueueName::from),
        body: body.to_owned(),
    }
}

async fn publish(bus: &Bus, messages: &[Message]) {
    let published = bus.publish(messages).await;
    assert!(published.error.is_none(), "{:?}", published.error);
    assert_eq!(published.confirmed, vec![true; messages.len()]);
}

/// A consumer and the token that ends it.
fn consume(bus: &Bus, queue: Queue, prefetch: u16) -> (Consumer, CancellationToken) {
    let shutdown = CancellationToken::new();
    (bus.consume(queue, prefetch, shutdown.clone()), shutdown)
}

async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("no message came").unwrap()
}

async fn next_body(consumer: &mut Consumer) -> String {
    let delivery = next(consumer).await;
    let body = String::from_utf8(delivery.body.clone()).unwrap();
    delivery.done().await.unwrap();
    body
}

async fn end(consumer: Consumer, shutdown: CancellationToken) {
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, consumer.close()).await.unwrap();
}

async fn an_event_reaches_the_queues_that_are_bound_to_it_and_no_other(bus: &Bus) {
    publish(bus, &[message("call.created", None, "call"), message("analysis.requested", None, "analysis")])
        .await;
    for (queue, expected) in [(Queue::Recordings, "call"), (Queue::Analysis, "analysis")] {
        publish(bus, &[message("call.created", Some(queue), "the last")]).await;
        let (mut consumer, shutdown) = consume(bus, queue, 1);
        assert_eq!(next_body(&mut consumer).await, expected);
        assert_eq!(next_body(&mut consumer).await, "the last");
        end(consumer, shutdown).await;
    }
}

async fn a_message_to_a_queue_reaches_that_queue_alone(bus: &Bus) {
    publish(bus, &[message("call.created", Some(Queue::AnalysisDead), "direct")]).await;
    publish(bus, &[message("call.created", Some(Queue::Recordings), "the last")]).await;
    let (mut dead, dead_shutdown) = consume(bus, Queue::AnalysisDead, 1);
    assert_eq!(next_body(&mut dead).await, "direct");
    let (mut recordings, shutdown) = consume(bus, Queue::Recordings, 1);
    assert_eq!(next_body(&mut recordings).await, "the last");
    end(dead, dead_shutdown).await;
    end(recordings, shutdown).await;
}

async fn an_event_that_nobody_is_bound_to_is_confirmed(bus: &Bus) {
    publish(bus, &[message("analysis.completed", None, "x"), message("recording.stored", None, "y")]).await;
}

async fn a_message_that_is_done_does_not_come_again(bus: &Bus) {
    publish(bus, &[message("call.created", None, "first")]).await;
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 4);
    assert_eq!(next_body(&mut consumer).await, "first");
    end(consumer, shutdown).await;
    publish(bus, &[message("call.created", None, "second")]).await;
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 4);
    assert_eq!(next_body(&mut consumer).await, "second");
    end(consumer, shutdown).await;
}

async fn a_message_that_is_dropped_comes_again(bus: &Bus) {
    publish(bus, &[message("call.created", None, "again")]).await;
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 4);
    drop(next(&mut consumer).await);
    assert_eq!(next_body(&mut consumer).await, "again");
    end(consumer, shutdown).await;
}

async fn a_message_that_is_buried_goes_to_the_dead_letters(bus: &Bus) {
    publish(bus, &[message("call.created", None, "poison")]).await;
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 4);
    next(&mut consumer).await.bury().await.unwrap();
    let (mut dead, dead_shutdown) = consume(bus, Queue::RecordingsDead, 4);
    assert_eq!(next_body(&mut dead).await, "poison");
    end(consumer, shutdown).await;
    end(dead, dead_shutdown).await;
}

async fn no_more_than_the_prefetch_is_in_hand(bus: &Bus) {
    let messages: Vec<_> = (0..6).map(|number| message("call.created", None, &number.to_string())).collect();
    publish(bus, &messages).await;
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 2);
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    // On RabbitMQ the messages of the consumer's buffer count as in hand; in process as many again may wait there.
    let mut more = Vec::new();
    while let Ok(delivery) = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await {
        more.push(delivery.unwrap());
    }
    assert!(more.len() <= 4, "{}", more.len());
    if matches!(bus, Bus::RabbitMq(_)) {
        assert!(more.is_empty(), "{}", more.len());
    }
    drop((first, second, more));
    end(consumer, shutdown).await;
}

async fn what_waits_is_told_from_what_is_in_hand(bus: &Bus) {
    assert!(!bus.has_waiting(Queue::Recordings).await.unwrap());
    publish(bus, &[message("call.created", None, "one")]).await;
    eventually(PATIENCE, "the message waits", async || bus.has_waiting(Queue::Recordings).await.unwrap())
        .await;
    assert!(!bus.has_waiting(Queue::Analysis).await.unwrap());
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 1);
    let one = next(&mut consumer).await;
    eventually(PATIENCE, "nothing waits", async || !bus.has_waiting(Queue::Recordings).await.unwrap()).await;
    one.done().await.unwrap();
    end(consumer, shutdown).await;
}

async fn many_messages_arrive_each_and_in_order(bus: &Bus) {
    let bodies: Vec<String> = (0..500).map(|number| format!("{number:03}")).collect();
    let messages: Vec<_> = bodies.iter().map(|body| message("call.created", None, body)).collect();
    publish(bus, &messages).await;
    let (mut consumer, shutdown) = consume(bus, Queue::Recordings, 16);
    let mut seen = Vec::new();
    while seen.len() < bodies.len() {
        seen.push(next_body(&mut consumer).await);
    }
    assert_eq!(seen, bodies);
    end(consumer, shutdown).await;
}

#[tokio::test]
async fn a_broker_that_is_killed_is_found_again_and_confirmed_messages_are_still_there() {
    let broker = harness::RabbitMq::start().await;
    let url = broker.vhost().await;
    let bus = Bus::RabbitMq(RabbitMq::start(url.parse().unwrap(), true));
    tokio::time::timeout(PATIENCE, bus.ready()).await.unwrap();
    publish(&bus, &[message("call.created", None, "before")]).await;
    let (mut consumer, shutdown) = consume(&bus, Queue::Recordings, 4);
    assert_eq!(next_body(&mut consumer).await, "before");
    publish(&bus, &[message("call.created", None, "kept")]).await;
    let in_hand = next(&mut consumer).await;
    broker.kill().await;
    eventually(PATIENCE, "the bus notices", async || bus.ping().await.is_err()).await;
    let lost = bus.publish(&[message("call.created", None, "lost")]).await;
    assert_eq!(lost.confirmed, [false]);
    assert!(matches!(lost.error, Some(BusError::Disconnected)), "{:?}", lost.error);
    broker.restart().await;
    tokio::time::timeout(PATIENCE, bus.ready()).await.unwrap();
    assert!(in_hand.done().await.is_err(), "it was the old connection's");
    assert_eq!(next_body(&mut consumer).await, "kept", "what was not acknowledged comes again");
    publish(&bus, &[message("call.created", None, "after")]).await;
    assert_eq!(next_body(&mut consumer).await, "after");
    end(consumer, shutdown).await;
    bus.close().await;
}

#[tokio::test]
async fn a_deleted_queue_is_declared_again_and_what_found_no_queue_is_not_confirmed() {
    let broker = harness::RabbitMq::shared().await;
    let url = broker.vhost().await;
    let bus = Bus::RabbitMq(RabbitMq::start(url.parse().unwrap(), false));
    tokio::time::timeout(PATIENCE, bus.ready()).await.unwrap();
    let vhost = url.rsplit('/').next().unwrap();
    broker.ctl(&["delete_queue", "callvine.recordings", "-p", vhost]).await;
    let lost = bus.publish(&[message("call.created", None, "x")]).await;
    assert_eq!(lost.confirmed, [false], "a returned message is confirmed by the broker, and must not count");
    assert!(matches!(lost.error, Some(BusError::Unroutable(_))), "{:?}", lost.error);
    eventually(PATIENCE, "the queue is there again", async || {
        bus.publish(&[message("call.created", None, "y")]).await.confirmed == [true]
    })
    .await;
    bus.close().await;
}

/// Goal: renewing what is in hand and claiming what is new never wait for each other, though both need the one writing
/// connection. Method: another process holds the database's lock for longer than the interval of renewals.
#[tokio::test]
async fn a_database_that_is_busy_when_claims_are_renewed_does_not_end_in_process_delivery() {
    let (directory, bus) = local().await;
    publish(&bus, &[message("call.created", None, "first")]).await;
    let (mut consumer, shutdown) = consume(&bus, Queue::Recordings, 2);
    let in_hand = next(&mut consumer).await;

    let url = format!("sqlite://{}/callvine.db", directory.path().display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    tokio::time::sleep(DELIVERY_LEASE / 3 + Duration::from_millis(500)).await;
    sqlx::query("rollback").execute(&mut other).await.unwrap();

    publish(&bus, &[message("call.created", None, "second")]).await;
    assert_eq!(next_body(&mut consumer).await, "second");
    in_hand.done().await.unwrap();
    end(consumer, shutdown).await;
}
