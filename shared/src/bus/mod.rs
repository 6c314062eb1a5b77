//! Messages get from the outbox to their consumers: by RabbitMQ, or by in-process delivery over the database.

mod local;
mod queues;
mod rabbitmq;

use tokio::sync::mpsc;

pub use local::Local;
pub use queues::{QueueDepth, Queues, Sweep};
pub use rabbitmq::{BrokerUrl, RabbitMq};

use crate::queue::{Message, Queue};
use crate::store::StoreError;

/// Batches that may be published at the same time; each has a channel to the broker for itself. More (8) brought no more
/// events a second, and took 10 MiB more.
pub const PUBLISHING_CHANNELS: usize = 4;

/// The outcome for a number of messages.
#[derive(Debug)]
pub struct Published {
    /// For each message, in order, whether it is safe: confirmed by the broker, or committed.
    pub confirmed: Vec<bool>,
    /// Why some are not, if any.
    pub error: Option<BusError>,
}

/// Where messages go. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Bus {
    /// A RabbitMQ broker.
    RabbitMq(RabbitMq),
    /// Within this process, over rows of the database.
    Local(Local),
}

impl Bus {
    /// Publishes the messages; returns when each is safe, or when it is known that it is not, which takes a few
    /// seconds at most.
    ///
    /// A message that is not confirmed may have been published all the same: it must be published again.
    pub async fn publish(&self, messages: &[Message]) -> Published {
        match self {
            Self::RabbitMq(rabbitmq) => rabbitmq.publish(messages).await,
            Self::Local(local) => local.publish(messages).await,
        }
    }

    /// Takes messages from a queue, at most `prefetch` at a time, until `shutdown`. Connections that break are made
    /// again.
    #[must_use]
    pub fn consume(
        &self,
        queue: Queue,
        prefetch: u16,
        shutdown: tokio_util::sync::CancellationToken,
    ) -> Consumer {
        let (sender, deliveries) = mpsc::channel(usize::from(prefetch.max(1)));
        let task = match self {
            Self::RabbitMq(rabbitmq) => tokio::spawn(rabbitmq.clone().feed(queue, sender, shutdown)),
            Self::Local(local) => tokio::spawn(local.clone().feed(queue, sender, shutdown)),
        };
        Consumer { deliveries, task }
    }

    /// Whether messages can be published now.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<(), BusError> {
        match self {
            Self::RabbitMq(rabbitmq) => rabbitmq.ping(),
            Self::Local(local) => local.ping().await,
        }
    }

    /// Whether messages of a queue wait for a consumer. Those that a consumer has in hand don't.
    ///
    /// # Errors
    /// [`BusError`] when it can't be told.
    pub async fn has_waiting(&self, queue: Queue) -> Result<bool, BusError> {
        match self {
            Self::RabbitMq(rabbitmq) => rabbitmq.has_waiting(queue).await,
            Self::Local(local) => local.has_waiting(queue).await,
        }
    }

    /// Returns as soon as messages can be published, as far as is known. Cancel-safe.
    pub async fn ready(&self) {
        match self {
            Self::RabbitMq(rabbitmq) => rabbitmq.ready().await,
            Self::Local(_) => {}
        }
    }

    /// Ends the connections.
    pub async fn close(&self) {
        match self {
            Self::RabbitMq(rabbitmq) => rabbitmq.close().await,
            Self::Local(_) => {}
        }
    }
}

/// Messages of one queue.
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
    task: tokio::task::JoinHandle<()>,
}

impl Consumer {
    /// The next message; `None` after the shutdown. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    /// Hands back the messages that were not taken, and waits for the end of the feeding task. Those that were taken must be
    /// done by now.
    pub async fn close(mut self) {
        self.deliveries.close();
        while self.deliveries.recv().await.is_some() {}
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a consumer's task ended badly");
        }
    }
}

/// A message in hand. Dropped before it is [done](Delivery::done), it is delivered again.
#[derive(Debug)]
pub struct Delivery {
    /// A CloudEvents JSON object, if it is one of ours.
    pub body: Vec<u8>,
    receipt: Option<Receipt>,
}

#[derive(Debug)]
enum Receipt {
    RabbitMq(rabbitmq::Receipt),
    Local(local::Receipt),
}

impl Delivery {
    fn new(body: Vec<u8>, receipt: Receipt) -> Self {
        Self { body, receipt: Some(receipt) }
    }

    /// The message's effects are committed: it need not be delivered again.
    ///
    /// # Errors
    /// [`BusError`] when that could not be said; it is then delivered again, and its effects must bear that.
    pub async fn done(mut self) -> Result<(), BusError> {
        match self.receipt.take() {
            Some(Receipt::RabbitMq(receipt)) => receipt.acknowledge().await,
            Some(Receipt::Local(receipt)) => receipt.remove().await,
            None => Ok(()),
        }
    }

    /// The message can't be dealt with, now or ever: it goes to the queue's dead letters.
    ///
    /// # Errors
    /// [`BusError`] when that could not be said; it is then delivered again.
    pub async fn bury(mut self) -> Result<(), BusError> {
        match self.receipt.take() {
            Some(Receipt::RabbitMq(receipt)) => receipt.reject().await,
            Some(Receipt::Local(receipt)) => receipt.bury().await,
            None => Ok(()),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(Receipt::RabbitMq(receipt)) = self.receipt.take() {
            receipt.give_back();
        }
        // A local receipt stops renewing its claim by being dropped.
    }
}

/// A failed bus operation.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// There is no connection to the broker.
    #[error("the broker is unavailable (check AMQP_URL and the server's log)")]
    Disconnected,
    /// The broker has stopped taking messages: it is short of memory or disk.
    #[error("the broker takes no messages at the moment (it is short of memory or disk)")]
    Blocked,
    /// The broker did not answer in time.
    #[error("the broker did not confirm in time")]
    Timeout,
    /// No queue takes the message: it was deleted or unbound.
    #[error("no queue takes messages with routing key {0} (was a queue deleted?)")]
    Unroutable(String),
    /// The broker refused the message: a queue is full or has no leader.
    #[error("the broker refused the message")]
    Refused,
    /// Another error of the broker or the connection.
    #[error("the broker or its connection failed")]
    Broker(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database under in-process delivery.
    #[error("in-process delivery failed")]
    Store(#[from] StoreError),
    /// The address can't be used.
    #[error("AMQP_URL can't be used: it must be amqp://… or amqps://…")]
    Url,
}
