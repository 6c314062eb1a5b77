//! The way from the intake to the relay of the same process, without reading the database: calls that were just committed.
//!
//! A batch that is handed over has its outbox row leased to this process. One that is not, because there is no room or no
//! relay that publishes, has its row due at once, and is read from the database when its turn comes. Either way the row
//! stays until everything was published: what is in memory here can be lost without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::call::Call;
use crate::store::{Inserted, Outcome, ReceivedCall, Store, StoreError};
use crate::throttle::Throttle;

/// Calls that may be on their way from the intake to the broker, in memory: at about half a KiB each, 2 MiB. Few enough
/// that a broker which confirms 3,000 a second gets through them within a fraction of a lease.
const ROOM: usize = 4096;

/// Calls of one committed batch, and their outbox rows.
#[derive(Debug)]
pub(super) struct FreshBatch {
    /// To be removed when all events of the calls are published.
    pub(super) outbox_ids: Vec<i64>,
    /// In the order in which they were stored.
    pub(super) calls: Vec<Call>,
    pub(super) committed_at: Instant,
    /// The room that they take, until they are published or given up: that of their batch, in which some calls may not
    /// have been new.
    pub(super) room: OwnedSemaphorePermit,
}

impl FreshBatch {
    /// Adds a batch that was committed after this one.
    pub(super) fn append(&mut self, next: Self) {
        self.outbox_ids.extend(next.outbox_ids);
        self.calls.extend(next.calls);
        self.room.merge(next.room);
    }
}

/// The way from the intake to the relay. Made once a process, and handed to both.
#[derive(Debug)]
pub struct Handoff {
    open: AtomicBool,
    room: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<FreshBatch>,
    receiver: Mutex<mpsc::UnboundedReceiver<FreshBatch>>,
    throttle: Throttle,
}

impl Default for Handoff {
    fn default() -> Self {
        // Unbounded as a channel, bounded by the room: every batch has a permit for its calls.
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            open: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(ROOM)),
            sender,
            receiver: Mutex::new(receiver),
            throttle: Throttle::default(),
        }
    }
}

impl Handoff {
    /// Stores the calls, and hands the new ones to the relay of this process if it has room for the batch. When this returns
    /// `Ok`, they are on disk. Outcomes come in the order of the calls.
    ///
    /// Not cancel-safe: when the future is dropped, the calls may be stored or not.
    ///
    /// # Errors
    /// As [`Store::insert_calls`].
    pub async fn insert_calls(
        &self,
        store: &Store,
        received: &[ReceivedCall],
    ) -> Result<Vec<Outcome>, StoreError> {
        let _batch = self.throttle.begin();
        let Some(room) = self.reserve(received.len()) else { return store.insert_calls(received).await };
        let Inserted { outcomes, outbox_ids } = store.insert_leased_calls(received).await?;
        let committed_at = Instant::now();
        let calls: Vec<Call> = outcomes
            .iter()
            .zip(received)
            .filter_map(|(outcome, received)| new_call(*outcome, received))
            .collect();
        if calls.is_empty() {
            return Ok(outcomes);
        }
        let batch = FreshBatch { outbox_ids, calls, committed_at, room };
        if self.sender.send(batch).is_err() {
            tracing::debug!("the relay is gone; the batch is published when its lease ends");
        }
        Ok(outcomes)
    }

    /// Whether batches are taken: while a relay runs in this process and can publish.
    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// The next batch that was handed over. Cancel-safe.
    pub(super) async fn next(&self) -> Option<FreshBatch> {
        self.receiver.lock().await.recv().await
    }

    /// Whether calls are pouring in.
    pub(super) fn is_busy(&self) -> bool {
        self.throttle.is_busy()
    }

    /// Room for so many calls, if there is a relay to take them.
    fn reserve(&self, calls: usize) -> Option<OwnedSemaphorePermit> {
        let calls = u32::try_from(calls).ok()?;
        if !self.open.load(Ordering::Relaxed) {
            return None;
        }
        self.room.clone().try_acquire_many_owned(calls).ok()
    }
}

/// The call that has to be published; `None`: an earlier post was, or will be.
fn new_call(outcome: Outcome, received: &ReceivedCall) -> Option<Call> {
    let Outcome::New(id) = outcome else { return None };
    Some(Call { id, call: received.call.clone(), created_at: received.created_at, env: received.env })
}
