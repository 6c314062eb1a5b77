//! The queues as an operator deals with them, on either engine: how much they hold, and a sweep that shows each message
//! and may remove it.

use std::vec::IntoIter;

use super::BusError;
use super::rabbitmq::{BrokerUrl, Messages, Taken};
use crate::queue::Queue;
use crate::store::{Store, StoreError};

/// The queues of a system. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Queues {
    /// A broker's. Each operation connects anew: operators ask seldom.
    RabbitMq(BrokerUrl),
    /// In-process delivery's, which are rows of the database.
    Local(Store),
}

/// How much a queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages. A broker leaves out those that a consumer has in hand.
    pub ready: u64,
    /// Consumers; `None`: in-process delivery doesn't know them.
    pub consumers: Option<u32>,
}

impl Queues {
    /// The broker's queues if there is a broker, else those in the database.
    #[must_use]
    pub fn new(broker: Option<BrokerUrl>, store: &Store) -> Self {
        broker.map_or_else(|| Self::Local(store.clone()), Self::RabbitMq)
    }

    /// Whether messages go through a broker.
    #[must_use]
    pub fn are_in_a_broker(&self) -> bool {
        matches!(self, Self::RabbitMq(_))
    }

    /// The depth of each queue, in the order of [`Queue::ALL`]; `None`: there is no such queue.
    ///
    /// # Errors
    /// [`BusError`] when the broker or the database can't be asked.
    pub async fn depths(&self) -> Result<Vec<(Queue, Option<QueueDepth>)>, BusError> {
        match self {
            Self::RabbitMq(url) => super::rabbitmq::depths(url).await,
            Self::Local(store) => {
                let mut depths = Vec::new();
                for queue in Queue::ALL {
                    let rows = store.delivery_depth(queue.name()).await?;
                    let ready = u64::try_from(rows).unwrap_or(0);
                    depths.push((queue, Some(QueueDepth { ready, consumers: None })));
                }
                Ok(depths)
            }
        }
    }

    /// Begins to go once through a queue that nobody consumes.
    ///
    /// # Errors
    /// [`BusError`] when the broker can't be reached, or has no such queue.
    pub async fn sweep(&self, queue: Queue) -> Result<Sweep, BusError> {
        let messages = match self {
            Self::RabbitMq(url) => Contents::RabbitMq(Messages::open(url, queue).await?),
            Self::Local(store) => Contents::Local(Rows::new(store.clone(), queue)),
        };
        Ok(Sweep { messages, in_hand: None })
    }
}

/// One way through a queue, message by message. A message stays in the queue unless it is [removed](Sweep::remove).
///
/// A broker's message can't be looked at without taking it, so one that stays is put back behind the others. At most
/// 10,000 of a broker's messages are seen; the next sweep takes those behind them. One message, or one page of rows, is
/// in memory at a time.
///
/// The caller judges between two steps, and its judgement may fail as anything may. A function that it gives would not do:
/// Rust can't say yet that the future of an async closure may go from thread to thread, and a server spawns its sweeps.
pub struct Sweep {
    messages: Contents,
    in_hand: Option<Message>,
}

enum Contents {
    RabbitMq(Messages),
    Local(Rows),
}

impl Sweep {
    /// Keeps the message that was shown last, unless it was removed, and shows the next one; `None`: that was all.
    ///
    /// # Errors
    /// [`BusError`] when the broker or the database fails; the message in hand and those behind it stay.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, BusError> {
        self.keep().await?;
        self.in_hand = match &mut self.messages {
            Contents::RabbitMq(messages) => messages.next().await?.map(Box::new).map(Message::RabbitMq),
            Contents::Local(rows) => rows.next().await?.map(Box::new).map(Message::Local),
        };
        Ok(self.in_hand.as_ref().map(Message::body))
    }

    /// Removes the message that was shown last.
    ///
    /// # Errors
    /// [`BusError`] when the broker or the database fails; the message stays.
    pub async fn remove(&mut self) -> Result<(), BusError> {
        match self.in_hand.take() {
            Some(Message::RabbitMq(taken)) => taken.remove().await,
            Some(Message::Local(row)) => Ok(row.store.remove_delivery(row.id).await?),
            None => Ok(()),
        }
    }

    /// Ends the sweep, also before its end, and keeps the message that was shown last. A sweep that is dropped leaves
    /// that message too, but a broker counts it as delivered once more, and drops it after twenty times.
    ///
    /// # Errors
    /// [`BusError`] when the broker fails; then the message is in the queue all the same.
    pub async fn close(mut self) -> Result<(), BusError> {
        let kept = self.keep().await;
        if let Contents::RabbitMq(messages) = self.messages {
            messages.close().await;
        }
        kept
    }

    async fn keep(&mut self) -> Result<(), BusError> {
        match self.in_hand.take() {
            Some(Message::RabbitMq(taken)) => taken.put_back().await,
            // A row stays where it is until it is removed.
            Some(Message::Local(_)) | None => Ok(()),
        }
    }
}

/// A message in the hands of a sweep.
enum Message {
    RabbitMq(Box<Taken>),
    Local(Box<Row>),
}

impl Message {
    fn body(&self) -> &[u8] {
        match self {
            Self::RabbitMq(taken) => taken.body(),
            Self::Local(row) => row.body.as_bytes(),
        }
    }
}

/// A message of in-process delivery.
struct Row {
    store: Store,
    id: i64,
    body: String,
}

/// The rows of a queue of in-process delivery, read page by page.
struct Rows {
    store: Store,
    queue: Queue,
    /// The row that was handed out last.
    last: i64,
    page: IntoIter<(i64, String)>,
}

impl Rows {
    fn new(store: Store, queue: Queue) -> Self {
        Self { store, queue, last: 0, page: Vec::new().into_iter() }
    }

    async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        if self.page.len() == 0 {
            self.page = self.store.deliveries_in(self.queue, self.last).await?.into_iter();
        }
        let Some((id, body)) = self.page.next() else { return Ok(None) };
        self.last = id;
        Ok(Some(Row { store: self.store.clone(), id, body }))
    }
}
