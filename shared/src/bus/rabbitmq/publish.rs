//! Publishing with confirms over a pool of channels.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use deadpool::managed::{self, RecycleError, RecycleResult};
use futures_util::future::{MaybeDone, maybe_done};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use super::topology::EXCHANGE;
use super::{RabbitMq, broker};
use crate::bus::{BusError, PUBLISHING_CHANNELS, Published};
use crate::event::CONTENT_TYPE;
use crate::queue::{Message, Queue};

/// A publish that is not confirmed by then has failed. Shorter than the outbox's lease, so that a slow one is not
/// published twice.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The publishing connection while it lasts.
#[derive(Debug)]
pub(super) struct Publisher {
    channels: managed::Pool<ConfirmChannels>,
    /// Set while the broker takes no messages (`connection.blocked`).
    blocked: AtomicBool,
}

impl Publisher {
    /// A publisher over this connection.
    pub(super) fn new(connection: Arc<Connection>) -> Result<Self, BusError> {
        let channels = managed::Pool::builder(ConfirmChannels { connection })
            .max_size(PUBLISHING_CHANNELS)
            .build()
            .map_err(|error| BusError::Broker(Box::new(error)))?;
        Ok(Self { channels, blocked: AtomicBool::new(false) })
    }

    /// Whether the broker has said that it takes no messages.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// The broker has said that it takes no messages, or that it does again.
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }
}

impl RabbitMq {
    /// Publishes all messages before it waits for the first confirm: one round trip, not one each.
    pub(in crate::bus) async fn publish(&self, messages: &[Message]) -> Published {
        let mut confirmed = vec![false; messages.len()];
        let published = self.publish_and_confirm(messages, &mut confirmed);
        let error = match tokio::time::timeout(PUBLISH_TIMEOUT, published).await {
            Ok(result) => result.err(),
            Err(_elapsed) => Some(BusError::Timeout),
        };
        if let Some(BusError::Unroutable(_)) = error {
            self.topology_is_stale.notify_one();
        }
        Published { confirmed, error }
    }

    async fn publish_and_confirm(
        &self,
        messages: &[Message],
        confirmed: &mut [bool],
    ) -> Result<(), BusError> {
        let publisher = self.current()?;
        let mut channel =
            publisher.channels.get().await.map_err(|error| BusError::Broker(Box::new(error)))?;
        channel.owes_confirms = true;
        let publishing =
            start_all(messages.iter().map(|message| publish_one(&channel.channel, message))).await;
        let mut error = None;
        for ((mut publishing, message), confirmed) in publishing.into_iter().zip(messages).zip(confirmed) {
            publishing.as_mut().await;
            match publishing.as_mut().take_output().ok_or(BusError::Refused)?? {
                Confirmation::Ack(None) => *confirmed = true,
                // An unroutable message is returned, and confirmed all the same.
                Confirmation::Ack(Some(_returned)) => {
                    error = Some(BusError::Unroutable(message.routing_key.to_string()))
                }
                Confirmation::Nack(_) | Confirmation::NotRequested => error = Some(BusError::Refused),
            }
        }
        channel.owes_confirms = false;
        error.map_or(Ok(()), Err)
    }
}

/// Publishes a message, and waits until the broker has it.
async fn publish_one(channel: &Channel, message: &Message) -> Result<Confirmation, BusError> {
    let (exchange, routing_key) = match &message.queue {
        Some(queue) => ("", queue.as_str()),
        None => (EXCHANGE, message.routing_key.as_ref()),
    };
    // An event that no queue of ours is bound to may well have no taker, when the stream is off.
    let mandatory = message.queue.is_some() || Queue::bound_to(&message.routing_key).next().is_some();
    let properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(ShortString::from(message.event_id.as_str()))
        .with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
    let body = message.body.as_bytes();
    let sending = channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties);
    sending.await.map_err(broker)?.await.map_err(broker)
}

/// Starts all of these before any of them is waited for, in their order.
///
/// lapin's `basic_publish` returns when its frames are written to the socket. Awaited one after the other, each message
/// would be a system call, a wake-up of lapin's thread and one of this task; started together, all of them are in the
/// buffer that lapin writes next.
async fn start_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<Pin<Box<MaybeDone<F>>>> {
    let mut started: Vec<_> = futures.map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context| {
        for future in &mut started {
            // One that is ready at once keeps its output until it is awaited.
            if future.as_mut().poll(context).is_ready() {
                tracing::trace!("published without waiting");
            }
        }
        Poll::Ready(())
    })
    .await;
    started
}

/// Makes channels in confirm mode for the pool.
struct ConfirmChannels {
    connection: Arc<Connection>,
}

impl std::fmt::Debug for ConfirmChannels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfirmChannels").finish_non_exhaustive()
    }
}

/// A channel in confirm mode.
#[derive(Debug)]
struct ConfirmChannel {
    channel: Channel,
    /// Left set by a publish that failed or timed out half-way: the channel is then not used again, since its confirms
    /// would be taken for those of the next publish's messages.
    owes_confirms: bool,
}

impl managed::Manager for ConfirmChannels {
    type Type = ConfirmChannel;
    type Error = lapin::Error;

    async fn create(&self) -> Result<ConfirmChannel, lapin::Error> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(ConfirmChannel { channel, owes_confirms: false })
    }

    async fn recycle(
        &self,
        pooled: &mut ConfirmChannel,
        _: &managed::Metrics,
    ) -> RecycleResult<lapin::Error> {
        if pooled.channel.status().connected() && !pooled.owes_confirms {
            Ok(())
        } else {
            Err(RecycleError::message("the channel is closed, or owes confirms"))
        }
    }
}
