//! Looking at the queues without changing anything.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};

use super::{CONNECT_TIMEOUT, RabbitMq, broker, close};
use crate::bus::BusError;
use crate::queue::Queue;

/// AMQP's reply code for what doesn't exist.
const NOT_FOUND: u16 = 404;

/// What a queue of the broker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that wait for a consumer. Those that a consumer has in hand are not counted.
    pub ready: u32,
    /// Consumers.
    pub consumers: u32,
}

/// The depth of each of our queues, in the order of [`Queue::ALL`]; `None`: there is no such queue.
///
/// # Errors
/// [`BusError::Url`] when the URL can't be used, another when the broker can't be asked.
pub async fn queue_depths(url: &str) -> Result<Vec<(Queue, Option<QueueDepth>)>, BusError> {
    // Not the parser's own message: it may quote the password.
    let uri: AMQPUri = url.parse().map_err(|_error| BusError::Url)?;
    let asking = async {
        let properties = ConnectionProperties::default().with_connection_name("callvine audit".into());
        let connection = Connection::connect_uri(uri, properties).await.map_err(broker)?;
        let mut depths = Vec::new();
        for queue in Queue::ALL {
            depths.push((queue, depth(&connection, queue).await?));
        }
        close(&connection).await;
        Ok(depths)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, asking).await.map_err(|_elapsed| BusError::Timeout)?
}

impl RabbitMq {
    /// A queue that doesn't exist has nothing that waits; it is soon declared again.
    pub(in crate::bus) async fn has_waiting(&self, queue: Queue) -> Result<bool, BusError> {
        // On a connection of its own: it is asked once in a while, and asking for what doesn't exist ends a channel.
        let asking = async {
            let properties = ConnectionProperties::default().with_connection_name("callvine".into());
            let connection =
                Connection::connect_uri(self.settings.uri.clone(), properties).await.map_err(broker)?;
            let found = depth(&connection, queue).await;
            close(&connection).await;
            Ok(found?.is_some_and(|depth| depth.ready > 0))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, asking).await.map_err(|_elapsed| BusError::Timeout)?
    }
}

async fn depth(connection: &Connection, queue: Queue) -> Result<Option<QueueDepth>, BusError> {
    // A channel for each: asking for what doesn't exist closes it.
    let channel = connection.create_channel().await.map_err(broker)?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue.name().into(), passive, FieldTable::default()).await {
        Ok(declared) => {
            Ok(Some(QueueDepth { ready: declared.message_count(), consumers: declared.consumer_count() }))
        }
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(broker(error)),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}
