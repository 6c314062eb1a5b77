//! A subscriber to all events, with a queue of its own. It notes each event, and connects again whenever the broker is
//! back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties, Consumer, ExchangeKind};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::eventually::eventually;

/// Pause before it connects again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// A subscription stands within milliseconds, or is refused at once; a broker that is starting may do neither.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// An acknowledgement is on its way within milliseconds, or never: lapin leaves unanswered what it is handed while the
/// broker is closing the connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Until it is first connected.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Its queue, bound to every event.
const QUEUE: &str = "subscriber";

/// How often each event id was received, by routing key and call.
pub type Received = HashMap<(String, i64), HashMap<String, u32>>;

/// A running subscriber; it ends when dropped, or with the runtime of the test that started it.
pub struct Subscriber {
    received: Arc<Mutex<Received>>,
    _stop: DropGuard,
}

impl Subscriber {
    /// Subscribes to all events of the broker at this address; returns when the subscription stands.
    ///
    /// # Panics
    /// When the broker can't be reached.
    pub async fn start(amqp_url: &str) -> Self {
        let received: Arc<Mutex<Received>> = Arc::default();
        let stop = CancellationToken::new();
        let is_subscribed = CancellationToken::new();
        let consuming = keep_consuming(amqp_url.to_owned(), Arc::clone(&received), is_subscribed.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(consuming));
        eventually(START_DEADLINE, "the subscriber is connected", async || is_subscribed.is_cancelled())
            .await;
        Self { received, _stop: stop.drop_guard() }
    }

    /// The events that it has received so far.
    pub fn received(&self) -> Received {
        self.received.lock().clone()
    }
}

async fn keep_consuming(url: String, received: Arc<Mutex<Received>>, is_subscribed: CancellationToken) {
    loop {
        // However it ends, it connects again: the events wait in the queue.
        consume(&url, &received, &is_subscribed).await.ok();
        sleep(RECONNECT_PAUSE).await;
    }
}

async fn consume(
    url: &str,
    received: &Mutex<Received>,
    is_subscribed: &CancellationToken,
) -> Result<(), anyhow::Error> {
    // The connection lives as long as the consumer is read.
    let (_connection, mut consumer) = timeout(SUBSCRIBE_TIMEOUT, subscribe(url)).await??;
    is_subscribed.cancel();
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        write_down(received, delivery.routing_key.as_str(), &delivery.data);
        timeout(ACK_TIMEOUT, delivery.ack(BasicAckOptions::default())).await??;
    }
    Ok(())
}

async fn subscribe(url: &str) -> Result<(Connection, Consumer), anyhow::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let exchange = "callvine.events";
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), durable, quorum).await?;
    channel
        .queue_bind(
            QUEUE.into(),
            exchange.into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    channel.basic_qos(200, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default()).await?;
    Ok((connection, consumer))
}

fn write_down(received: &Mutex<Received>, routing_key: &str, body: &[u8]) {
    let event: Value = serde_json::from_slice(body).expect("an event is JSON");
    let text = |field: &str| event.get(field).and_then(Value::as_str).expect("an event has it").to_owned();
    let call_id = text("subject").strip_prefix("calls/").expect("an event is about a call").parse().unwrap();
    let mut received = received.lock();
    let ids = received.entry((routing_key.to_owned(), call_id)).or_default();
    *ids.entry(text("id")).or_default() += 1;
}
