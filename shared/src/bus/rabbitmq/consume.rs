//! Consuming, and acknowledging.

use std::sync::Arc;

use futures_util::StreamExt;
use lapin::Connection;
use lapin::message::Delivery as LapinDelivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{RECONNECT_ATTEMPT_MAX, RabbitMq, STATE_INTERVAL, answered, broker, close, wait};
use crate::bus::{self, BusError, Delivery};
use crate::error_chain::Chain;
use crate::queue::Queue;

impl RabbitMq {
    /// Takes messages from a queue and hands them to `sender` until the shutdown.
    pub(in crate::bus) async fn feed(
        self,
        queue: Queue,
        sender: mpsc::Sender<Delivery>,
        shutdown: CancellationToken,
    ) {
        let mut attempt = 0;
        while !shutdown.is_cancelled() && !sender.is_closed() {
            let connection = match self.open().await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::warn!(queue = queue.name(), error = %Chain(&error), "cannot reach the broker to consume");
                    attempt = (attempt + 1).min(RECONNECT_ATTEMPT_MAX);
                    wait(attempt, &shutdown).await;
                    continue;
                }
            };
            attempt = 1;
            let feeding = self.feed_from(&connection, queue, &sender);
            tokio::select! {
                () = ended(&connection) => {
                    tracing::warn!(queue = queue.name(), "lost the broker; consuming again");
                }
                () = shutdown.cancelled() => {
                    // Messages in hand are acknowledged over this connection; it may close when the receiver is gone.
                    sender.closed().await;
                }
                () = sender.closed() => {}
                ended = feeding => match ended {
                    Ok(()) => tracing::warn!(queue = queue.name(), "the broker ended the consumer; consuming again"),
                    Err(error) => {
                        tracing::warn!(queue = queue.name(), error = %Chain(&error), "lost the broker; consuming again");
                    }
                }
            }
            close(&connection).await;
            wait(attempt, &shutdown).await;
        }
        sender.closed().await;
    }

    /// Returns when the consumer ends: `Ok` when the broker says so, as it does when the queue is deleted.
    async fn feed_from(
        &self,
        connection: &Arc<Connection>,
        queue: Queue,
        sender: &mpsc::Sender<Delivery>,
    ) -> Result<(), BusError> {
        let prefetch = u16::try_from(sender.max_capacity()).unwrap_or(u16::MAX);
        let mut consumer = answered(consumer(connection, queue, prefetch)).await?;
        tracing::info!(queue = queue.name(), "consuming");
        while let Some(message) = consumer.next().await {
            let mut message = message.map_err(broker)?;
            let data = std::mem::take(&mut message.data);
            let receipt = Receipt { message: Box::new(message), _connection: connection.clone() };
            if sender.send(Delivery::new(data, bus::Receipt::RabbitMq(receipt))).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }
}

async fn consumer(connection: &Connection, queue: Queue, prefetch: u16) -> lapin::Result<lapin::Consumer> {
    let channel = connection.create_channel().await?;
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.name().into(), "".into(), options, FieldTable::default()).await
}

/// Returns when the connection is closed or broken, and two looks at it say so: between them a consumer can tell why.
async fn ended(connection: &Connection) {
    let mut states = tokio::time::interval(STATE_INTERVAL);
    let mut was_connected = true;
    loop {
        states.tick().await;
        let is_connected = connection.status().connected();
        if !was_connected && !is_connected {
            return;
        }
        was_connected = is_connected;
    }
}

/// The right to acknowledge one message; keeps its connection open.
#[derive(Debug)]
pub(in crate::bus) struct Receipt {
    message: Box<LapinDelivery>,
    _connection: Arc<Connection>,
}

impl Receipt {
    pub(in crate::bus) async fn acknowledge(self) -> Result<(), BusError> {
        used(answered(self.message.acker.ack(BasicAckOptions::default())).await)
    }

    pub(in crate::bus) async fn reject(self) -> Result<(), BusError> {
        used(answered(self.message.acker.reject(BasicRejectOptions { requeue: false })).await)
    }

    /// Best effort: when it can't be said, the broker takes the message back with the channel.
    pub(in crate::bus) fn give_back(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            if let Err(error) = answered(self.message.acker.nack(options)).await {
                tracing::debug!(error = %Chain(&error), "a message goes back with its channel");
            }
        });
    }
}

/// `false` means that the channel is gone, and the message is the broker's again.
fn used(answer: Result<bool, BusError>) -> Result<(), BusError> {
    if answer? { Ok(()) } else { Err(BusError::Disconnected) }
}
