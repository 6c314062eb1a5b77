//! The queues as an operator deals with them: the same on RabbitMQ and in process.

use std::collections::BTreeSet;
use std::time::Duration;

use callvine_shared::bus::{Bus, Local, Queues, RabbitMq};
use callvine_shared::queue::{Message, Queue};
use callvine_shared::store::Store;

/// Long enough for a loaded machine; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than one page of rows.
const MANY: usize = 1050;

/// Instantiates every test for both kinds of delivery.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let url = harness::RabbitMq::shared().await.vhost().await.parse().unwrap();
                let bus = callvine_shared::bus::Bus::RabbitMq(super::RabbitMq::start(Clone::clone(&url), false));
                bus.ready().await;
                super::$name(&bus, &super::Queues::RabbitMq(url)).await;
                bus.close().await;
            })+
        }
        mod local {
            $(#[tokio::test]
            async fn $name() {
                let (_directory, store) = super::sqlite().await;
                let bus = super::Bus::Local(super::Local::new(store.clone()));
                super::$name(&bus, &super::Queues::new(None, &store)).await;
            })+
        }
    };
}

contract!(
    depths_are_told_queue_by_queue,
    a_look_sees_each_message_and_changes_nothing,
    a_sweep_removes_exactly_what_it_is_told,
    a_sweep_that_ends_early_loses_nothing,
);

async fn sqlite() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/callvine.db", directory.path().display());
    let store = Store::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    (directory, store)
}

const DEAD: Queue = Queue::RecordingsDead;

async fn fill(bus: &Bus, queue: Queue, count: usize) {
    let messages: Vec<Message> = (0..count)
        .map(|number| Message {
            event_id: format!("id {number}"),
            routing_key: "recording.failed".into(),
            queue: Some(queue.into()),
            body: number.to_string(),
        })
        .collect();
    let published = bus.publish(&messages).await;
    assert!(published.error.is_none(), "{:?}", published.error);
}

/// The messages of the queue of dead letters.
async fn content(queues: &Queues) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut sweep = queues.sweep(DEAD).await.unwrap();
    while let Some(body) = sweep.next().await.unwrap() {
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(seen.insert(text.clone()), "{text} came twice");
    }
    sweep.close().await.unwrap();
    seen
}

fn numbers(range: impl Iterator<Item = usize>) -> BTreeSet<String> {
    range.map(|number| number.to_string()).collect()
}

async fn depths_are_told_queue_by_queue(bus: &Bus, queues: &Queues) {
    fill(bus, DEAD, 3).await;
    fill(bus, Queue::Analysis, 2).await;
    let depths = queues.depths().await.unwrap();
    let ready: Vec<_> = depths.iter().map(|(queue, depth)| (*queue, depth.unwrap().ready)).collect();
    assert_eq!(ready, [(Queue::Recordings, 0), (DEAD, 3), (Queue::Analysis, 2), (Queue::AnalysisDead, 0)]);
}

async fn a_look_sees_each_message_and_changes_nothing(bus: &Bus, queues: &Queues) {
    assert!(content(queues).await.is_empty());
    fill(bus, Queue::Analysis, 1).await;
    fill(bus, DEAD, MANY).await;
    // Often: a broker counts how often it has delivered a message, and must not be made to.
    for _ in 0..3 {
        assert_eq!(content(queues).await, numbers(0..MANY));
    }
}

async fn a_sweep_removes_exactly_what_it_is_told(bus: &Bus, queues: &Queues) {
    fill(bus, DEAD, MANY).await;
    let mut sweep = queues.sweep(DEAD).await.unwrap();
    while let Some(body) = sweep.next().await.unwrap() {
        if body.last().is_some_and(|digit| b"02468".contains(digit)) {
            sweep.remove().await.unwrap();
        }
    }
    sweep.close().await.unwrap();
    assert_eq!(content(queues).await, numbers((0..MANY).filter(|number| number % 2 == 1)));
}

async fn a_sweep_that_ends_early_loses_nothing(bus: &Bus, queues: &Queues) {
    fill(bus, DEAD, 5).await;
    for ends_well in [true, false] {
        let mut sweep = queues.sweep(DEAD).await.unwrap();
        assert!(sweep.next().await.unwrap().is_some());
        assert!(sweep.next().await.unwrap().is_some());
        if ends_well {
            sweep.close().await.unwrap();
        } else {
            drop(sweep);
        }
        harness::eventually(PATIENCE, "all messages wait again", async || {
            let depths = queues.depths().await.unwrap();
            depths.iter().any(|(queue, depth)| *queue == DEAD && depth.unwrap().ready == 5)
        })
        .await;
        assert_eq!(content(queues).await, numbers(0..5));
    }
}

#[tokio::test]
async fn a_broker_without_our_queues_says_so_and_one_that_is_away_fails() {
    let url = harness::RabbitMq::shared().await.vhost().await.parse().unwrap();
    let depths = Queues::RabbitMq(url).depths().await.unwrap();
    assert_eq!(depths.len(), Queue::ALL.len());
    assert!(depths.iter().all(|(_, depth)| depth.is_none()), "{depths:?}");
    let away = Queues::RabbitMq(format!("amqp://127.0.0.1:{}", harness::free_port()).parse().unwrap());
    assert!(away.depths().await.is_err());
    assert!(away.sweep(DEAD).await.is_err());
}
