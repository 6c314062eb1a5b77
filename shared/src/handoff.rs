//! From the intake to the relay without the database: calls that this process has just committed.
//!
//! A batch that is handed over has its outbox row leased to this process. One that is not, because there is no room or
//! nobody publishes at the moment, has its row due at once, and is read from the database when its turn comes. Either
//! way the row stays until everything was published: what is in memory here can be lost without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::call::Call;

/// Calls that may be on their way from the intake to the broker, in memory: at about half a KiB each, 2 MiB. Few enough
/// that a broker which confirms 3,000 a second gets through them within a fraction of a lease.
const ROOM: usize = 4096;

/// Calls of one committed batch, and their outbox rows.
#[derive(Debug)]
pub(crate) struct FreshBatch {
    /// To be removed when all events of the calls are published.
    pub(crate) outbox_ids: Vec<i64>,
    /// In the order in which they were stored.
    pub(crate) calls: Vec<Call>,
    pub(crate) committed_at: Instant,
    /// The room that they take, until they are published or given up.
    pub(crate) room: OwnedSemaphorePermit,
}

impl FreshBatch {
    /// Adds a batch that was committed after this one.
    pub(crate) fn append(&mut self, next: Self) {
        self.outbox_ids.extend(next.outbox_ids);
        self.calls.extend(next.calls);
        self.room.merge(next.room);
    }
}

/// The way from the intake to the relay.
#[derive(Debug)]
pub(crate) struct Handoff {
    open: AtomicBool,
    room: Arc<Semaphore>,
    sender: mpsc::UnboundedSender<FreshBatch>,
    receiver: Mutex<mpsc::UnboundedReceiver<FreshBatch>>,
    /// Set when the database has something that nobody was handed.
    leftovers: Notify,
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
            leftovers: Notify::new(),
        }
    }
}

impl Handoff {
    /// Whether batches are taken: while a relay runs in this process and can publish.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// Room for so many calls, if there is a relay to take them.
    pub(crate) fn reserve(&self, calls: usize) -> Option<OwnedSemaphorePermit> {
        let calls = u32::try_from(calls).ok()?;
        if !self.open.load(Ordering::Relaxed) {
            return None;
        }
        self.room.clone().try_acquire_many_owned(calls).ok()
    }

    /// Hands a committed batch over.
    pub(crate) fn send(&self, batch: FreshBatch) {
        if self.sender.send(batch).is_err() {
            tracing::debug!("nobody takes the batch; its lease ends in a while");
        }
    }

    /// The next batch that was handed over. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<FreshBatch> {
        self.receiver.lock().await.recv().await
    }

    /// Says that the database has something to publish that is not handed over.
    pub(crate) fn note_leftovers(&self) {
        self.leftovers.notify_one();
    }

    /// Returns when [`Handoff::note_leftovers`] was called since this last returned. Cancel-safe.
    pub(crate) async fn leftovers(&self) {
        self.leftovers.notified().await;
    }
}
