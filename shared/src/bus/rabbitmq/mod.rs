//! RabbitMQ: the only room that names lapin and deadpool. Here: its connections.
//!
//! Connections are supervised here, and lapin's own recovery is not used: when one breaks, everything on it is made
//! again (connection, topology, channels, consumers) with jittered backoff. Unconfirmed messages stay in the outbox and
//! are published again. Publishing and consuming have a connection each, since a broker short of memory stops
//! reading from a publishing one, and acknowledgements must still get through.

mod address;
mod consume;
mod inspect;
mod publish;
mod sweep;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Connection, ConnectionProperties};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::BusError;
use crate::error_chain::Chain;
use crate::pause::pause;
use crate::retry::backoff;

pub use address::BrokerUrl;
pub(super) use consume::Receipt;
pub(super) use inspect::depths;
use publish::Publisher;
pub(super) use sweep::{Messages, Taken};

/// A connection that is not open by then is given up; a broker that is reachable needs a few milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The first wait before connecting again; it doubles with each attempt up to [`RECONNECT_ATTEMPT_MAX`].
const RECONNECT_FIRST: Duration = Duration::from_millis(100);

/// The wait stops growing with this attempt: 100 ms doubled five times is 3.2 s, so a broker that is back is found within
/// seconds.
const RECONNECT_ATTEMPT_MAX: u32 = 6;

/// Exchange and queues are declared again this often. A publish does not miss a deleted queue as long as another one gets
/// the event, the stream for one; so this bounds the time for which its messages are lost.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(10);

/// A connection's state is looked at this often, beside listening to its events.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// A request on a connection is answered by then, or never: lapin leaves unanswered what it is handed while the
/// broker is closing the connection. Longer than a broker takes that is busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// AMQP's reply code for a normal close.
const REPLY_SUCCESS: u16 = 200;

/// A broker. Cheap to clone; all clones share one publishing connection.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    settings: Arc<Settings>,
    publisher: watch::Receiver<Option<Arc<Publisher>>>,
    /// Told when a message could not be routed: the topology must be declared again.
    topology_is_stale: Arc<Notify>,
    closing: CancellationToken,
}

#[derive(Debug)]
struct Settings {
    url: BrokerUrl,
    stream: bool,
}

impl RabbitMq {
    /// Begins to connect to the broker at `url`, and keeps at it until the bus is closed. With `stream`, the
    /// replayable stream is declared too.
    #[must_use]
    pub fn start(url: BrokerUrl, stream: bool) -> Self {
        let (sender, publisher) = watch::channel(None);
        let rabbitmq = Self {
            settings: Arc::new(Settings { url, stream }),
            publisher,
            topology_is_stale: Arc::default(),
            closing: CancellationToken::new(),
        };
        tokio::spawn(rabbitmq.clone().supervise(sender));
        rabbitmq
    }

    pub(super) fn ping(&self) -> Result<(), BusError> {
        self.current().map(drop)
    }

    pub(super) async fn ready(&self) {
        let mut publisher = self.publisher.clone();
        if publisher.wait_for(Option::is_some).await.is_err() {
            // The supervisor has ended, which it does on closing only: there will never be a connection again.
            std::future::pending::<()>().await;
        }
    }

    pub(super) async fn close(&self) {
        self.closing.cancel();
        let mut publisher = self.publisher.clone();
        while publisher.changed().await.is_ok() {}
    }

    fn current(&self) -> Result<Arc<Publisher>, BusError> {
        let publisher = self.publisher.borrow().clone().ok_or(BusError::Disconnected)?;
        if publisher.is_blocked() { Err(BusError::Blocked) } else { Ok(publisher) }
    }

    /// Keeps one publishing connection open until closed.
    async fn supervise(self, sender: watch::Sender<Option<Arc<Publisher>>>) {
        let mut attempt = 0;
        while !self.closing.is_cancelled() {
            match self.open().await {
                Ok(connection) => {
                    tracing::info!("connected to the broker");
                    attempt = 0;
                    self.keep(&connection, &sender).await;
                    sender.send_replace(None);
                    close(&connection).await;
                }
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "cannot reach the broker; events wait in the outbox");
                }
            }
            attempt = (attempt + 1).min(RECONNECT_ATTEMPT_MAX);
            wait(attempt, &self.closing).await;
        }
    }

    /// Offers the connection to publishers until it breaks or is to be closed.
    async fn keep(&self, connection: &Arc<Connection>, sender: &watch::Sender<Option<Arc<Publisher>>>) {
        let publisher = match Publisher::new(connection.clone()) {
            Ok(publisher) => Arc::new(publisher),
            Err(error) => return tracing::error!(error = %Chain(&error), "cannot make a channel pool"),
        };
        let mut events = connection.events_listener();
        let mut states = tokio::time::interval(STATE_INTERVAL);
        let mut declarations = tokio::time::interval(TOPOLOGY_INTERVAL);
        sender.send_replace(Some(publisher.clone()));
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return,
                event = events.next() => match event {
                    Some(lapin::Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(reason, "the broker takes no messages; events wait in the outbox");
                        publisher.set_blocked(true);
                    }
                    Some(lapin::Event::ConnectionUnblocked) => {
                        tracing::info!("the broker takes messages again");
                        publisher.set_blocked(false);
                    }
                    Some(lapin::Event::Error(error)) => {
                        tracing::warn!(error = %Chain(&error), "lost the broker; connecting again");
                        return;
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = states.tick() => if !connection.status().connected() {
                    tracing::warn!("lost the broker; connecting again");
                    return;
                },
                () = self.topology_is_stale.notified() => {
                    tracing::warn!("a message found no queue; declaring exchange and queues again");
                    declarations.reset_immediately();
                }
                // A broker that takes no messages answers nothing on this connection.
                _ = declarations.tick(), if !publisher.is_blocked() => if let Err(error) = self.declare(connection).await {
                    tracing::warn!(error = %Chain(&error), "cannot declare exchange and queues");
                    return;
                }
            }
        }
    }

    async fn declare(&self, connection: &Connection) -> Result<(), BusError> {
        let declaring = topology::declare(connection, self.settings.stream);
        tokio::time::timeout(CONNECT_TIMEOUT, declaring).await.map_err(|_elapsed| BusError::Timeout)?
    }

    /// A connection with the topology declared.
    async fn open(&self) -> Result<Arc<Connection>, BusError> {
        let opening = async {
            let connection = connect(&self.settings.url, "callvine").await?;
            topology::declare(&connection, self.settings.stream).await?;
            Ok(Arc::new(connection))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, opening).await.map_err(|_elapsed| BusError::Timeout)?
    }
}

/// Connects under a name that the broker's pages show.
async fn connect(url: &BrokerUrl, name: &'static str) -> Result<Connection, BusError> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect_uri(url.uri(), properties).await.map_err(broker)
}

fn broker(error: lapin::Error) -> BusError {
    BusError::Broker(Box::new(error))
}

/// The answer, in time.
async fn answered<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, BusError> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_elapsed| BusError::Timeout)?.map_err(broker)
}

async fn close(connection: &Connection) {
    if let Err(error) = answered(connection.close(REPLY_SUCCESS, "closing".into())).await {
        tracing::debug!(error = %Chain(&error), "the connection was closed already");
    }
}

/// Waits before the next connection, or until `end`.
async fn wait(attempt: u32, end: &CancellationToken) {
    pause(backoff(RECONNECT_FIRST, attempt), end).await;
}
