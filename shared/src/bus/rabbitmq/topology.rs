//! The exchange, queues and bindings, as published in the events' documentation.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ExchangeKind};

use super::{REPLY_SUCCESS, broker};
use crate::bus::BusError;
use crate::queue::{BINDINGS, DELIVERY_LIMIT, Queue};

/// The topic exchange that all events go through.
pub(super) const EXCHANGE: &str = "callvine.events";

/// The stream that keeps all events for a while, to be read back.
const STREAM: &str = "callvine.stream";

/// How long the stream keeps an event.
const STREAM_MAX_AGE: &str = "7D";

/// Declares exchange, queues and bindings. Declaring one that exists changes nothing.
///
/// Without a delivery limit, a dead-letter exchange, at-least-once dead-lettering and reject-publish, all four
/// together, RabbitMQ drops messages at one point or another (rabbitmq.com, "Quorum Queues").
pub(super) async fn declare(connection: &Connection, stream: bool) -> Result<(), BusError> {
    let channel = connection.create_channel().await.map_err(broker)?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .map_err(broker)?;
    // Dead-letter queues come first: with at-least-once they must be there to take the messages that are sent to them.
    for queue in Queue::ALL.into_iter().filter(|queue| queue.dead_letters().is_none()) {
        declare_queue(&channel, queue.name(), &[("x-queue-type", text("quorum"))]).await?;
    }
    for queue in Queue::ALL {
        let Some(dead_letters) = queue.dead_letters() else {
            continue;
        };
        let arguments = [
            ("x-queue-type", text("quorum")),
            ("x-delivery-limit", AMQPValue::LongInt(i32::from(DELIVERY_LIMIT))),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(dead_letters.name())),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ];
        declare_queue(&channel, queue.name(), &arguments).await?;
    }
    for (routing_key, queue) in BINDINGS {
        bind(&channel, queue.name(), routing_key).await?;
    }
    if stream {
        declare_queue(
            &channel,
            STREAM,
            &[("x-queue-type", text("stream")), ("x-max-age", text(STREAM_MAX_AGE))],
        )
        .await?;
        bind(&channel, STREAM, "#").await?;
    }
    channel.close(REPLY_SUCCESS, "declared".into()).await.map_err(broker)
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    arguments: &[(&str, AMQPValue)],
) -> Result<(), BusError> {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), durable, table).await.map(drop).map_err(broker)
}

async fn bind(channel: &Channel, queue: &str, routing_key: &str) -> Result<(), BusError> {
    channel
        .queue_bind(
            queue.into(),
            EXCHANGE.into(),
            routing_key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(broker)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
