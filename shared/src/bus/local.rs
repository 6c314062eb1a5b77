//! In-process delivery: a queue is the rows of `deliveries` with its name. A channel in memory would lose, with the
//! process, messages that have left the outbox.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{BusError, Delivery, Published};
use crate::error_chain::Chain;
use crate::queue::{DELIVERY_LIMIT, Message, Queue};
use crate::store::{DELIVERY_LEASE, DeliveryRow, Store};

/// How often a queue is looked at although nothing was said to have arrived: for rows whose claim ran out.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// In-process delivery over a database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Local {
    store: Store,
    arrivals: Arc<[Notify; Queue::ALL.len()]>,
}

impl Local {
    /// Delivery over this database, to the consumers of this object and its clones.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, arrivals: Arc::new(std::array::from_fn(|_| Notify::new())) }
    }

    pub(super) async fn publish(&self, messages: &[Message]) -> Published {
        let mut rows = Vec::with_capacity(messages.len());
        for message in messages {
            for queue in destinations(message) {
                rows.push((queue, message.event_id.as_str(), message.body.as_str()));
            }
        }
        let pushed =
            if rows.is_empty() { Ok(()) } else { self.store.push_deliveries(&rows, Utc::now()).await };
        match pushed {
            Ok(()) => {
                for arrival in self.arrivals.iter() {
                    arrival.notify_one();
                }
                Published { confirmed: vec![true; messages.len()], error: None }
            }
            Err(error) => Published { confirmed: vec![false; messages.len()], error: Some(error.into()) },
        }
    }

    pub(super) async fn ping(&self) -> Result<(), BusError> {
        Ok(self.store.ping().await?)
    }

    pub(super) async fn has_waiting(&self, queue: Queue) -> Result<bool, BusError> {
        Ok(self.store.deliveries_wait(queue.name(), Utc::now()).await?)
    }

    /// Claims messages and hands them to `sender` until the shutdown, and renews the claims of those in hand until
    /// the receiver is gone.
    ///
    /// Both go on side by side, and neither waits while the other is put aside half-way: it might hold this process's
    /// turn at the database, and the other one wait for it.
    pub(super) async fn feed(
        self,
        queue: Queue,
        sender: mpsc::Sender<Delivery>,
        shutdown: CancellationToken,
    ) {
        let in_hand = InHand::default();
        let claiming = async {
            shutdown.run_until_cancelled(self.claim(queue, &sender, &in_hand)).await;
            // A message that was taken may need longer than its claim lasts.
            sender.closed().await;
        };
        tokio::select! {
            () = claiming => {}
            () = self.renew(queue, &in_hand) => {}
        }
    }

    /// Never returns but when the receiver is gone.
    async fn claim(&self, queue: Queue, sender: &mpsc::Sender<Delivery>, in_hand: &InHand) {
        while let Ok(permit) = sender.reserve().await {
            drop(permit);
            // This is the only sender, so the room can only grow until it is filled.
            let room = sender.capacity().max(1);
            match self.store.claim_deliveries(queue.name(), Utc::now(), room).await {
                Ok(rows) if rows.is_empty() => self.wait_for_arrival(queue).await,
                Ok(rows) => {
                    for row in rows {
                        self.hand_over(queue, row, sender, in_hand).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(queue = queue.name(), error = %Chain(&error), "cannot claim deliveries; trying again");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
    }

    async fn hand_over(
        &self,
        queue: Queue,
        row: DeliveryRow,
        sender: &mpsc::Sender<Delivery>,
        in_hand: &InHand,
    ) {
        let receipt = Receipt { store: self.store.clone(), queue, id: row.id, in_hand: in_hand.clone() };
        if row.attempts > i32::from(DELIVERY_LIMIT) {
            tracing::warn!(
                queue = queue.name(),
                "a message was delivered too often and goes to the dead letters"
            );
            if let Err(error) = receipt.bury().await {
                tracing::warn!(queue = queue.name(), %error, "cannot move a message to the dead letters");
            }
            return;
        }
        in_hand.0.lock().insert(row.id);
        let delivery = Delivery::new(row.body.into_bytes(), super::Receipt::Local(receipt));
        if sender.send(delivery).await.is_err() {
            tracing::debug!(
                queue = queue.name(),
                "the consumer is gone; its message waits for its claim to end"
            );
        }
    }

    async fn wait_for_arrival(&self, queue: Queue) {
        let arrival = Queue::ALL.into_iter().zip(self.arrivals.iter()).find(|(each, _)| *each == queue);
        if let Some((_, arrival)) = arrival
            && tokio::time::timeout(POLL_INTERVAL, arrival.notified()).await.is_err()
        {
            tracing::trace!(queue = queue.name(), "looking without having been told");
        }
    }

    /// Renews the claims of the messages in hand, well before they end. Never returns.
    async fn renew(&self, queue: Queue, in_hand: &InHand) {
        let mut renewal = tokio::time::interval(DELIVERY_LEASE / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            renewal.tick().await;
            let ids: Vec<i64> = in_hand.0.lock().iter().copied().collect();
            if !ids.is_empty()
                && let Err(error) = self.store.renew_deliveries(&ids, Utc::now()).await
            {
                let queue = queue.name();
                tracing::warn!(queue, error = %Chain(&error), "cannot renew claims; messages may come twice");
            }
        }
    }
}

/// The names of the queues that a message goes to.
fn destinations(message: &Message) -> Vec<&str> {
    match &message.queue {
        Some(only) => vec![only.as_str()],
        None => Queue::bound_to(&message.routing_key).map(Queue::name).collect(),
    }
}

/// Ids of the deliveries whose claims are to be renewed.
#[derive(Clone, Debug, Default)]
struct InHand(Arc<Mutex<HashSet<i64>>>);

/// The claim on one row; dropped, it is no longer renewed.
#[derive(Debug)]
pub(super) struct Receipt {
    store: Store,
    queue: Queue,
    id: i64,
    in_hand: InHand,
}

impl Receipt {
    pub(super) async fn remove(self) -> Result<(), BusError> {
        Ok(self.store.remove_delivery(self.id).await?)
    }

    pub(super) async fn bury(self) -> Result<(), BusError> {
        match self.queue.dead_letters() {
            Some(dead) => self.store.move_delivery(self.id, dead.name(), Utc::now()).await?,
            None => self.store.remove_delivery(self.id).await?,
        }
        Ok(())
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.in_hand.0.lock().remove(&self.id);
    }
}
