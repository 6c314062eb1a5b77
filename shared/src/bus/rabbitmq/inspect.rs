//! Looking at the queues without changing anything.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind};

use super::{BrokerUrl, CONNECT_TIMEOUT, RabbitMq, broker, close, connect};
use crate::bus::{BusError, QueueDepth};
use crate::queue::Queue;

/// AMQP's reply code for something that doesn't exist.
const NOT_FOUND: u16 = 404;

/// The depth of each of our queues, in the order of [`Queue::ALL`]; `None`: there is no such queue.
///
/// # Errors
/// [`BusError`] when the broker can't be asked.
pub(in crate::bus) async fn depths(url: &BrokerUrl) -> Result<Vec<(Queue, Option<QueueDepth>)>, BusError> {
    asked(url, "callvine audit", async |connection: &Connection| {
        let mut depths = Vec::new();
        for queue in Queue::ALL {
            depths.push((queue, depth(connection, queue).await?));
        }
        Ok(depths)
    })
    .await
}

impl RabbitMq {
    /// Whether messages of a queue wait. A queue that doesn't exist has none; it is soon declared again.
    pub(in crate::bus) async fn has_waiting(&self, queue: Queue) -> Result<bool, BusError> {
        let found = asked(&self.settings.url, "callvine", async |connection: &Connection| {
            depth(connection, queue).await
        });
        Ok(found.await?.is_some_and(|depth| depth.ready > 0))
    }
}

/// Asks over a connection of its own: questions are rare, and one about a queue that doesn't exist ends its channel.
async fn asked<T>(
    url: &BrokerUrl,
    name: &'static str,
    question: impl AsyncFnOnce(&Connection) -> Result<T, BusError>,
) -> Result<T, BusError> {
    let asking = async {
        let connection = connect(url, name).await?;
        let answer = question(&connection).await;
        close(&connection).await;
        answer
    };
    tokio::time::timeout(CONNECT_TIMEOUT, asking).await.map_err(|_elapsed| BusError::Timeout)?
}

async fn depth(connection: &Connection, queue: Queue) -> Result<Option<QueueDepth>, BusError> {
    // A channel for each queue: asking for one that doesn't exist closes the channel.
    let channel = connection.create_channel().await.map_err(broker)?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue.name().into(), passive, FieldTable::default()).await {
        Ok(declared) => Ok(Some(QueueDepth {
            ready: u64::from(declared.message_count()),
            consumers: Some(declared.consumer_count()),
        })),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(broker(error)),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}
