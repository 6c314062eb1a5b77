//! The queues as an operator deals with them, on either engine: how much they hold, a look at each message, and a sweep
//! that removes some.

use std::vec::IntoIter;

use super::BusError;
use super::rabbitmq::{BrokerUrl, Messages, Taken};
use crate::queue::Queue;
use crate::store::{Store, StoreError};

/// The queues of a system. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Queues {
    /// Those of a broker. Each operation connects anew: operators ask seldom.
    RabbitMq(BrokerUrl),
    /// Those of in-process delivery, which are rows of the database.
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

/// Whether a message stays in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It is removed.
    Remove,
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

    /// Shows each message of a queue to `see`.
    ///
    /// A broker's message can't be looked at without taking it, so each is put back behind the others (see
    /// [`Queues::sweep`]).
    ///
    /// # Errors
    /// As [`Queues::sweep`].
    pub async fn look<E: From<BusError>>(
        &self,
        queue: Queue,
        mut see: impl AsyncFnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let keep_all = async |body: &[u8]| {
            see(body).await?;
            Ok(Verdict::Keep)
        };
        self.sweep(queue, keep_all).await.map(drop)
    }

    /// Goes once through a queue that nobody consumes, has `judge` decide about each message, and removes those that
    /// are not kept. Returns how many were removed.
    ///
    /// Of a broker's queue, at most 10,000 messages are judged; the next sweep takes those behind them. One message, or
    /// one page of rows, is in memory at a time.
    ///
    /// # Errors
    /// The judge's own, and a [`BusError`] when the broker or the database fails. The message in hand and those behind
    /// it stay.
    pub async fn sweep<E: From<BusError>>(
        &self,
        queue: Queue,
        mut judge: impl AsyncFnMut(&[u8]) -> Result<Verdict, E>,
    ) -> Result<u64, E> {
        let mut contents = self.open(queue).await?;
        let mut removed = 0;
        while let Some(message) = contents.next().await? {
            match judge(message.body()).await {
                Ok(Verdict::Remove) => {
                    message.remove().await?;
                    removed += 1;
                }
                Ok(Verdict::Keep) => message.keep().await?,
                Err(error) => {
                    message.keep().await?;
                    contents.close().await;
                    return Err(error);
                }
            }
        }
        contents.close().await;
        Ok(removed)
    }

    async fn open(&self, queue: Queue) -> Result<Contents, BusError> {
        Ok(match self {
            Self::RabbitMq(url) => Contents::RabbitMq(Messages::open(url, queue).await?),
            Self::Local(store) => Contents::Local(Rows::new(store.clone(), queue)),
        })
    }
}

/// A queue in the middle of a sweep.
enum Contents {
    RabbitMq(Messages),
    Local(Rows),
}

impl Contents {
    async fn next(&mut self) -> Result<Option<Message>, BusError> {
        match self {
            Self::RabbitMq(messages) => Ok(messages.next().await?.map(Box::new).map(Message::RabbitMq)),
            Self::Local(rows) => Ok(rows.next().await?.map(Message::Local)),
        }
    }

    async fn close(self) {
        match self {
            Self::RabbitMq(messages) => messages.close().await,
            Self::Local(_) => {}
        }
    }
}

/// A message in the hands of a sweep.
enum Message {
    RabbitMq(Box<Taken>),
    Local(Row),
}

impl Message {
    fn body(&self) -> &[u8] {
        match self {
            Self::RabbitMq(taken) => taken.body(),
            Self::Local(row) => row.body.as_bytes(),
        }
    }

    async fn remove(self) -> Result<(), BusError> {
        match self {
            Self::RabbitMq(taken) => taken.remove().await,
            Self::Local(row) => Ok(row.store.remove_delivery(row.id).await?),
        }
    }

    async fn keep(self) -> Result<(), BusError> {
        match self {
            Self::RabbitMq(taken) => taken.put_back().await,
            // A row stays where it is until it is removed.
            Self::Local(_) => Ok(()),
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
