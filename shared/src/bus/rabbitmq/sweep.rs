//! Goes once through a queue that nobody consumes, and takes out what is not needed any more.

use std::time::Duration;

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties};

use super::{CONNECT_TIMEOUT, broker, close};
use crate::bus::BusError;
use crate::queue::Queue;

/// Most messages of one sweep: some ten seconds. What lies behind them is for the next one.
const MESSAGES_MAX: u32 = 10_000;

/// Longest wait for one message to be fetched, judged, and put back or dropped.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Shows each message that is in the queue now to `is_needless` and removes those that are; returns how many.
///
/// What stays is published again, behind the others, before it is acknowledged. Handing it back instead would count as a
/// delivery, and from 4.0 on RabbitMQ drops what was delivered twenty times from a queue without dead letters of its
/// own. A sweep that is killed leaves one message twice at most, and loses none.
///
/// # Errors
/// [`BusError::Url`] when the URL can't be used, another when the broker fails; then the rest stays as it was.
pub async fn sweep(
    url: &str,
    queue: Queue,
    mut is_needless: impl AsyncFnMut(&[u8]) -> bool,
) -> Result<u64, BusError> {
    // Not the parser's own message: it may quote the password.
    let uri: AMQPUri = url.parse().map_err(|_error| BusError::Url)?;
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, open(uri, queue)).await;
    let (connection, channel, count) = opened.map_err(|_elapsed| BusError::Timeout)??;
    let mut removed = 0;
    for _ in 0..count.min(MESSAGES_MAX) {
        let step = tokio::time::timeout(MESSAGE_TIMEOUT, judge_next(&channel, queue, &mut is_needless)).await;
        match step.map_err(|_elapsed| BusError::Timeout)?? {
            Some(needless) => removed += u64::from(needless),
            None => break,
        }
    }
    close(&connection).await;
    Ok(removed)
}

/// A channel with confirms, and how many messages wait in the queue.
async fn open(uri: AMQPUri, queue: Queue) -> Result<(Connection, Channel, u32), BusError> {
    let properties = ConnectionProperties::default().with_connection_name("callvine dead letters".into());
    let connection = Connection::connect_uri(uri, properties).await.map_err(broker)?;
    let channel = connection.create_channel().await.map_err(broker)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(broker)?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared =
        channel.queue_declare(queue.name().into(), passive, FieldTable::default()).await.map_err(broker)?;
    Ok((connection, channel, declared.message_count()))
}

/// Whether the next message was needless, and is gone; `None`: there is no next one.
async fn judge_next(
    channel: &Channel,
    queue: Queue,
    is_needless: &mut impl AsyncFnMut(&[u8]) -> bool,
) -> Result<Option<bool>, BusError> {
    let Some(message) = take(channel, queue).await? else { return Ok(None) };
    let needless = is_needless(&message.data).await;
    if !needless {
        put_back(channel, queue, &message).await?;
    }
    let acknowledged = message.acker.ack(BasicAckOptions::default()).await.map_err(broker)?;
    if acknowledged { Ok(Some(needless)) } else { Err(BusError::Disconnected) }
}

async fn take(channel: &Channel, queue: Queue) -> Result<Option<BasicGetMessage>, BusError> {
    channel.basic_get(queue.name().into(), BasicGetOptions::default()).await.map_err(broker)
}

async fn put_back(channel: &Channel, queue: Queue, message: &BasicGetMessage) -> Result<(), BusError> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = message.properties.clone();
    let confirm = channel
        .basic_publish("".into(), queue.name().into(), mandatory, &message.data, properties)
        .await
        .map_err(broker)?;
    match confirm.await.map_err(broker)? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_returned)) => Err(BusError::Unroutable(queue.name().to_owned())),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(BusError::Refused),
    }
}
