//! Takes the messages of a queue that nobody consumes one after the other, and removes each or puts it back.

use std::time::Duration;

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Connection};

use super::{BrokerUrl, CONNECT_TIMEOUT, broker, close, connect};
use crate::bus::BusError;
use crate::queue::Queue;

/// Most messages of one sweep: some ten seconds. The next sweep takes those behind them.
const MESSAGES_MAX: u32 = 10_000;

/// Longest wait for one message to be fetched, and again to be put back or dropped.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The messages that were in a queue when the sweep began.
pub(in crate::bus) struct Messages {
    connection: Connection,
    channel: Channel,
    queue: Queue,
    left: u32,
}

impl Messages {
    /// Connects, with confirms, and counts the messages that wait.
    pub(in crate::bus) async fn open(url: &BrokerUrl, queue: Queue) -> Result<Self, BusError> {
        let opening = async {
            let connection = connect(url, "callvine dead letters").await?;
            let channel = connection.create_channel().await.map_err(broker)?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(broker)?;
            let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let declaring = channel.queue_declare(queue.name().into(), passive, FieldTable::default());
            let left = declaring.await.map_err(broker)?.message_count().min(MESSAGES_MAX);
            Ok(Self { connection, channel, queue, left })
        };
        tokio::time::timeout(CONNECT_TIMEOUT, opening).await.map_err(|_elapsed| BusError::Timeout)?
    }

    /// The next message; `None`: all that were there have been taken.
    pub(in crate::bus) async fn next(&mut self) -> Result<Option<Taken>, BusError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let getting = self.channel.basic_get(self.queue.name().into(), BasicGetOptions::default());
        let message = in_time(async { getting.await.map_err(broker) }).await?;
        Ok(message.map(|message| Taken { message, channel: self.channel.clone(), queue: self.queue }))
    }

    /// Ends the connection.
    pub(in crate::bus) async fn close(self) {
        close(&self.connection).await;
    }
}

/// A message that was taken out of its queue. Dropped, it goes back when the connection ends.
pub(in crate::bus) struct Taken {
    message: BasicGetMessage,
    channel: Channel,
    queue: Queue,
}

impl Taken {
    pub(in crate::bus) fn body(&self) -> &[u8] {
        &self.message.data
    }

    /// Removes it.
    pub(in crate::bus) async fn remove(self) -> Result<(), BusError> {
        in_time(self.acknowledge()).await
    }

    /// Publishes it again, behind the others, and then acknowledges it: a sweep that is killed in between leaves it
    /// twice, and loses none.
    ///
    /// Handing it back instead would count as a delivery, and from 4.0 on RabbitMQ drops a message that was delivered
    /// twenty times from a queue without dead letters of its own.
    pub(in crate::bus) async fn put_back(self) -> Result<(), BusError> {
        in_time(async {
            self.publish().await?;
            self.acknowledge().await
        })
        .await
    }

    async fn publish(&self) -> Result<(), BusError> {
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (name, properties) = (self.queue.name(), self.message.properties.clone());
        let body = &self.message.data;
        let publishing = self.channel.basic_publish("".into(), name.into(), mandatory, body, properties);
        match publishing.await.map_err(broker)?.await.map_err(broker)? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_returned)) => Err(BusError::Unroutable(name.to_owned())),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(BusError::Refused),
        }
    }

    async fn acknowledge(&self) -> Result<(), BusError> {
        let acknowledged = self.message.acker.ack(BasicAckOptions::default()).await.map_err(broker)?;
        if acknowledged { Ok(()) } else { Err(BusError::Disconnected) }
    }
}

async fn in_time<T>(step: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
    tokio::time::timeout(MESSAGE_TIMEOUT, step).await.map_err(|_elapsed| BusError::Timeout)?
}
