//! The relay: publishes the rows of the outbox, and removes them when they are confirmed. Every process that writes the
//! outbox runs one; several may work on the same outbox.
//!
//! Calls that this process has just committed come from memory, by the [`Handoff`]. The database is read for the rest: the
//! rows of a process that ended, of batches that found no room, and of messages that wait for their time. Several batches
//! are published at the same time, so that the next is sent while the confirms of one are awaited.

mod handoff;
mod publish;
mod settle;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::handoff::FreshBatch;
pub use self::handoff::Handoff;
use self::publish::{Content, Outcome, Run, Work};
use self::settle::Settled;
use crate::bus::{Bus, BusError, PUBLISHING_CHANNELS};
use crate::error_chain::Chain;
use crate::pause::pause;
use crate::store::{OutboxContent, OutboxRow, Store, StoreError};
use crate::throttle::LOOK_INTERVAL;

/// Batches that are published at the same time.
const WINDOW: usize = PUBLISHING_CHANNELS;

/// Rows claimed at a time. Few enough to be published within their lease even if each stands for a whole batch: 16,384
/// events, which takes a broker that confirms 3,000 a second five and a half seconds.
const CLAIM: u16 = 32;

/// The outbox is read this often although this process wrote nothing: for the rows of other processes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Messages that were postponed under a clock since set back are looked for this often.
const RECALL_INTERVAL: Duration = Duration::from_secs(10);

/// The wait after the database or the broker failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// The events of this many calls are published together while more of them come in: many messages then share the work
/// that a broker does for a publish and not for a message. The last batch that fits may exceed it.
const GATHER: usize = 512;

/// Publishes until `shutdown`, and then the rest, as far as the broker takes it.
///
/// While calls pour in, it gives way: events wait up to `give_way`, which must be well within [`crate::store::OUTBOX_LEASE`],
/// for others that are published together with them, or for a lull.
pub async fn run(
    store: Store,
    bus: Bus,
    handoff: Arc<Handoff>,
    give_way: Duration,
    shutdown: CancellationToken,
) {
    let (settled, settling) = mpsc::unbounded_channel();
    let window = Arc::new(Semaphore::new(WINDOW));
    let relay = Relay { store: store.clone(), bus, handoff, give_way, window, settled };
    let settle = tokio::spawn(settle::run(store.clone(), settling));
    tokio::join!(
        relay.publish_fresh(&shutdown),
        relay.publish_leftovers(&shutdown),
        relay.recall_postponed(&shutdown),
    );
    relay.handoff.set_open(false);
    // All permits are back when every publish under way is settled.
    let idle = relay.window.clone().acquire_many_owned(u32::try_from(WINDOW).unwrap_or(u32::MAX)).await;
    drop((idle, relay));
    if let Err(error) = settle.await {
        tracing::error!(%error, "the relay ended badly");
    }
}

struct Relay {
    store: Store,
    bus: Bus,
    handoff: Arc<Handoff>,
    give_way: Duration,
    window: Arc<Semaphore>,
    /// Bounded by the rows of the outbox that are leased to this process: by the handoff's room and by [`CLAIM`].
    settled: mpsc::UnboundedSender<Settled>,
}

impl Relay {
    /// Publishes the calls that this process commits, until the shutdown, and then those that are left.
    async fn publish_fresh(&self, shutdown: &CancellationToken) {
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.handoff.next() => batch,
                () = shutdown.cancelled() => None,
            };
            let Some(batch) = batch else { return };
            let FreshBatch { outbox_ids, calls, room, .. } = self.gather(batch).await;
            self.start(Work::Batch { outbox_ids, content: Content::Calls(calls) }, Some(room)).await;
        }
    }

    /// Adds the batches that are committed next, while they follow each other and the first is not too old.
    async fn gather(&self, mut batch: FreshBatch) -> FreshBatch {
        let deadline = batch.committed_at + self.give_way;
        while batch.calls.len() < GATHER {
            if let Some(Some(next)) = self.handoff.next().now_or_never() {
                batch.append(next);
                continue;
            }
            if Instant::now() >= deadline || !self.handoff.is_busy() {
                break;
            }
            sleep(LOOK_INTERVAL).await;
        }
        batch
    }

    /// Publishes the rows of the database, until the shutdown, and then until nothing is due.
    async fn publish_leftovers(&self, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = self.bus.ready() => {}
                () = shutdown.cancelled() => {}
            }
            match self.publish_due().await {
                Ok(0) if shutdown.is_cancelled() => return,
                Ok(0) => self.wait_for_work(shutdown).await,
                Ok(_) => self.wait_for_lull(shutdown).await,
                Err(error) => {
                    self.handoff.set_open(false);
                    tracing::warn!(error = %Chain(&error), "events wait in the outbox");
                    if shutdown.is_cancelled() {
                        return;
                    }
                    pause(FAILURE_PAUSE, shutdown).await;
                }
            }
        }
    }

    /// Looks for messages that were postponed under a clock since set back, until the shutdown.
    async fn recall_postponed(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.store.recall_postponed(Utc::now()).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!("{count} messages were postponed under another clock; they are due now")
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "cannot look for postponed messages"),
            }
            pause(RECALL_INTERVAL, shutdown).await;
        }
    }

    /// Claims rows that are due and starts to publish them; returns their number.
    async fn publish_due(&self) -> Result<usize, RelayError> {
        self.bus.ping().await?;
        self.handoff.set_open(true);
        let rows = self.store.claim_due(Utc::now(), CLAIM).await?;
        let count = rows.len();
        let mut singles = Vec::new();
        let mut runs: Vec<Run> = Vec::new();
        for OutboxRow { id, content } in rows {
            match content {
                OutboxContent::Message(message) => singles.push((id, message)),
                OutboxContent::CallsCreated(first, last) => match runs.last_mut() {
                    Some(run) if run.goes_on_with(first) => run.append(id, last),
                    _ => runs.push(Run { outbox_ids: vec![id], first, last }),
                },
            }
        }
        for Run { outbox_ids, first, last } in runs {
            self.start(Work::Batch { outbox_ids, content: Content::Run(first, last) }, None).await;
        }
        if !singles.is_empty() {
            self.start(Work::Singles(singles), None).await;
        }
        Ok(count)
    }

    /// Starts to publish as soon as the window has a permit.
    async fn start(&self, work: Work, room: Option<OwnedSemaphorePermit>) {
        let Ok(permit) = self.window.clone().acquire_owned().await else { return };
        let (store, bus, settled) = (self.store.clone(), self.bus.clone(), self.settled.clone());
        let handoff = self.handoff.clone();
        tokio::spawn(async move {
            let Outcome { confirmed, rest, error } = work.publish(&store, &bus).await;
            if let Some(error) = error {
                // The hand-off stays shut until the outbox has been read again.
                handoff.set_open(false);
                tracing::warn!(error = %Chain(&error), "events wait in the outbox");
            }
            for (outbox_ids, confirmed) in [(confirmed, true), (rest, false)] {
                if !outbox_ids.is_empty() && settled.send(Settled { outbox_ids, confirmed }).is_err() {
                    tracing::error!("rows of the outbox can't be settled; they are published again");
                }
            }
            drop((room, permit));
        });
    }

    /// Returns when no calls pour in, or when events may not wait any longer.
    async fn wait_for_lull(&self, shutdown: &CancellationToken) {
        let deadline = Instant::now() + self.give_way;
        while self.handoff.is_busy() && !shutdown.is_cancelled() && Instant::now() < deadline {
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Returns when this process has written the outbox, a row becomes due, or it is time to read it anyway.
    async fn wait_for_work(&self, shutdown: &CancellationToken) {
        let wait = match self.store.next_due().await {
            Ok(due) => due.map_or(POLL_INTERVAL, |due| until(due).min(POLL_INTERVAL)),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "cannot look into the outbox");
                FAILURE_PAUSE
            }
        };
        tokio::select! {
            () = self.store.outbox_written() => {}
            _ = pause(wait, shutdown) => {}
        }
    }
}

fn until(due: DateTime<Utc>) -> Duration {
    (due - Utc::now()).to_std().unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
}
