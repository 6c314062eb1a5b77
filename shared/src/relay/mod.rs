//! The relay: publishes what is in the outbox, and removes what was confirmed. Every process that writes to the outbox
//! runs one; several may work on the same outbox.
//!
//! What this process has just committed comes from memory; the database is read for the rest: what was left by a
//! process that ended, what had no room, and what was to wait for its time. Some batches are published at the same
//! time, so that confirms of one are waited for while the next is sent.

mod handoff;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::handoff::FreshBatch;
pub use self::handoff::Handoff;
use crate::bus::{Bus, BusError, PUBLISHING_CHANNELS, Published};
use crate::call::{Call, CallId};
use crate::error_chain::Chain;
use crate::metrics::EVENTS_PUBLISHED;
use crate::pause::pause;
use crate::queue::Message;
use crate::store::{OutboxContent, OutboxRow, Store, StoreError};
use crate::throttle::LOOK_INTERVAL;

/// Batches that are published at the same time.
const WINDOW: usize = PUBLISHING_CHANNELS;

/// Rows claimed at a time. Few enough to be published within their lease even if each stands for a whole batch: 16,384
/// events, which takes a broker that confirms 3,000 a second five and a half seconds.
const CLAIM: u16 = 32;

/// Rows removed or released by one statement at most.
const SETTLE: usize = 1024;

/// How often the outbox is looked at although this process wrote nothing: for what other processes left.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked for what a clock that was set back has put off.
const RECALL_INTERVAL: Duration = Duration::from_secs(10);

/// The wait after the database or the broker failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// What was not confirmed is tried again after this.
const UNCONFIRMED_PAUSE: TimeDelta = TimeDelta::milliseconds(500);

/// Calls whose events are gathered to be published together, while more of them come in: what a broker does for a
/// publish, not for a message, is then shared by many. The last batch that fits may exceed it.
const GATHER: usize = 512;

/// Publishes until `shutdown`, and then what is left, as far as the broker takes it.
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
    let settle = tokio::spawn(settle(store.clone(), settling));
    tokio::join!(
        relay.publish_fresh(&shutdown),
        relay.publish_leftovers(&shutdown),
        relay.recall_postponed(&shutdown),
    );
    relay.handoff.set_open(false);
    // All permits are back when all that was under way is settled.
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

/// What became of rows of the outbox.
struct Settled {
    outbox_ids: Vec<i64>,
    confirmed: bool,
}

impl Relay {
    /// Publishes what this process commits, until the shutdown and until the last of it.
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

    /// Adds what is committed next, as long as one batch follows the other and none is too old.
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

    /// Publishes what the database has, until the shutdown and until nothing is due.
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

    /// Looks for what was put off under a clock that has been set back, until the shutdown.
    async fn recall_postponed(&self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.store.recall_postponed(Utc::now()).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!("{count} messages were put off under another clock; they are due now")
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "cannot look for postponed messages"),
            }
            pause(RECALL_INTERVAL, shutdown).await;
        }
    }

    /// Claims what is due and starts to publish it; returns how many rows that were.
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

    /// Starts to publish, as soon as there is a place in the window.
    async fn start(&self, work: Work, room: Option<OwnedSemaphorePermit>) {
        let Ok(place) = self.window.clone().acquire_owned().await else { return };
        let (store, bus, settled) = (self.store.clone(), self.bus.clone(), self.settled.clone());
        let handoff = self.handoff.clone();
        tokio::spawn(async move {
            let (confirmed, rest, error) = publish(&store, &bus, work).await;
            if let Some(error) = error {
                // Nothing is handed over any more until the outbox has been looked at again.
                handoff.set_open(false);
                tracing::warn!(error = %Chain(&error), "events wait in the outbox");
            }
            for (outbox_ids, confirmed) in [(confirmed, true), (rest, false)] {
                if !outbox_ids.is_empty() && settled.send(Settled { outbox_ids, confirmed }).is_err() {
                    tracing::error!("nobody settles rows of the outbox; they are published again");
                }
            }
            drop((room, place));
        });
    }

    /// Until no calls pour in, or for as long as events may wait.
    async fn wait_for_lull(&self, shutdown: &CancellationToken) {
        let deadline = Instant::now() + self.give_way;
        while self.handoff.is_busy() && !shutdown.is_cancelled() && Instant::now() < deadline {
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Until something is written that was not handed over, something becomes due, or it is time to look anyway.
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

/// Rows of the outbox, and what they stand for.
enum Work {
    /// All of it is confirmed, or the rows stay.
    Batch { outbox_ids: Vec<i64>, content: Content },
    /// A message a row; each row leaves when its own message is confirmed.
    Singles(Vec<(i64, Message)>),
}

enum Content {
    /// `call.created` of these calls.
    Calls(Vec<Call>),
    /// `call.created` of the calls from the first to the last of these ids.
    Run(CallId, CallId),
}

/// Rows of the outbox whose calls follow each other.
struct Run {
    outbox_ids: Vec<i64>,
    first: CallId,
    last: CallId,
}

impl Run {
    /// Whether calls that begin with this one are published together with these.
    fn goes_on_with(&self, first: CallId) -> bool {
        let calls = usize::try_from(self.last.0 - self.first.0).unwrap_or(usize::MAX);
        first.0 == self.last.0 + 1 && calls < GATHER
    }

    fn append(&mut self, outbox_id: i64, last: CallId) {
        self.outbox_ids.push(outbox_id);
        self.last = last;
    }
}

/// Publishes; returns the rows whose messages are confirmed, the other rows, and why there are any.
async fn publish(store: &Store, bus: &Bus, work: Work) -> (Vec<i64>, Vec<i64>, Option<RelayError>) {
    let (outbox_ids, content) = match work {
        Work::Batch { outbox_ids, content } => (outbox_ids, content),
        Work::Singles(singles) => return publish_singles(bus, singles).await,
    };
    let messages = match content {
        Content::Calls(calls) => store.messages_created(&calls).await,
        Content::Run(first, last) => store.messages_of_calls(first, last).await,
    };
    let messages = match messages {
        Ok(messages) => messages,
        Err(error) => return (Vec::new(), outbox_ids, Some(error.into())),
    };
    let published = bus.publish(&messages).await;
    count(&published);
    match published.error {
        Some(error) => (Vec::new(), outbox_ids, Some(error.into())),
        None => (outbox_ids, Vec::new(), None),
    }
}

async fn publish_singles(
    bus: &Bus,
    singles: Vec<(i64, Message)>,
) -> (Vec<i64>, Vec<i64>, Option<RelayError>) {
    let (outbox_ids, messages): (Vec<i64>, Vec<Message>) = singles.into_iter().unzip();
    let published = bus.publish(&messages).await;
    count(&published);
    let (mut confirmed, mut rest) = (Vec::new(), Vec::new());
    for (id, is_confirmed) in outbox_ids.into_iter().zip(published.confirmed) {
        if is_confirmed { &mut confirmed } else { &mut rest }.push(id);
    }
    (confirmed, rest, published.error.map(RelayError::from))
}

fn count(published: &Published) {
    let confirmed = published.confirmed.iter().filter(|confirmed| **confirmed).count();
    metrics::counter!(EVENTS_PUBLISHED).increment(confirmed as u64);
}

/// Removes what was confirmed from the outbox and makes the rest due again, until every sender is gone. While the
/// database is away nothing is settled, and the rows are published again when their leases end.
async fn settle(store: Store, mut settling: mpsc::UnboundedReceiver<Settled>) {
    let mut batch = Vec::with_capacity(SETTLE);
    while settling.recv_many(&mut batch, SETTLE).await > 0 {
        let (mut confirmed, mut rest) = (Vec::new(), Vec::new());
        for settled in batch.drain(..) {
            if settled.confirmed { &mut confirmed } else { &mut rest }.extend(settled.outbox_ids);
        }
        if !confirmed.is_empty()
            && let Err(error) = store.remove_published(&confirmed).await
        {
            tracing::warn!(error = %Chain(&error), "published events stay in the outbox and are published again");
        }
        if !rest.is_empty()
            && let Err(error) = store.release_unpublished(&rest, Utc::now() + UNCONFIRMED_PAUSE).await
        {
            tracing::warn!(error = %Chain(&error), "unpublished events wait for their leases to end");
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
