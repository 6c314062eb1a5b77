//! The relay: takes what is due from the outbox, publishes it, and removes what was confirmed. Every process that
//! writes to the outbox runs one; several may work on the same outbox.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::bus::{Bus, BusError, Message, Queue};
use crate::error_chain::Chain;
use crate::metrics::EVENTS_PUBLISHED;
use crate::store::{OutboxRow, Store, StoreError};

/// Rows claimed and published at a time: enough to fill the pipeline, few enough to be confirmed within a lease.
const BATCH: u16 = 512;

/// How often the outbox is looked at although this process wrote nothing: for what other processes left.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The wait after the database or the broker failed.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);

/// A message that no queue takes, or that the broker refuses, is tried again after this.
const REFUSED_PAUSE: TimeDelta = TimeDelta::milliseconds(500);

/// Publishes what is due until `shutdown`, and then as much of the rest as the broker takes.
pub async fn run(store: Store, bus: Bus, shutdown: CancellationToken) {
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = bus.ready() => {}
        }
        match publish_due(&store, &bus).await {
            Ok(published) if published > 0 => {}
            Ok(_) => wait_for_work(&store, &shutdown).await,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "events wait in the outbox");
                pause(FAILURE_PAUSE, &shutdown).await;
            }
        }
    }
    flush(&store, &bus).await;
}

/// Publishes until nothing is due or something is in the way.
async fn flush(store: &Store, bus: &Bus) {
    loop {
        match publish_due(store, bus).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                return tracing::warn!(error = %Chain(&error), "events stay in the outbox until the next start");
            }
        }
    }
}

/// Claims, publishes and removes one batch; returns how many messages were published.
async fn publish_due(store: &Store, bus: &Bus) -> Result<usize, RelayError> {
    bus.ping().await?;
    let rows = store.claim_due(Utc::now(), BATCH).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (ids, messages): (Vec<i64>, Vec<Message>) = rows.into_iter().map(message).unzip();
    let published = bus.publish(&messages).await;
    let (confirmed, rest): (Vec<_>, Vec<_>) =
        ids.into_iter().zip(published.confirmed).partition(|(_, confirmed)| *confirmed);
    let ids_of = |rows: Vec<(i64, bool)>| rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let count = confirmed.len();
    if count > 0 {
        store.remove_published(&ids_of(confirmed)).await?;
        metrics::counter!(EVENTS_PUBLISHED).increment(count as u64);
    }
    if !rest.is_empty() {
        store.release_unpublished(&ids_of(rest), Utc::now() + REFUSED_PAUSE).await?;
    }
    published.error.map_or(Ok(count), |error| Err(error.into()))
}

fn message(row: OutboxRow) -> (i64, Message) {
    let queue = row.queue.as_deref().and_then(Queue::from_name);
    (row.id, Message { event_id: row.event_id, routing_key: row.routing_key, queue, body: row.body })
}

/// Until something is written, something becomes due, or it is time to look anyway.
async fn wait_for_work(store: &Store, shutdown: &CancellationToken) {
    let wait = match store.next_due().await {
        Ok(due) => due.map_or(POLL_INTERVAL, |due| until(due).min(POLL_INTERVAL)),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "cannot look into the outbox");
            FAILURE_PAUSE
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = store.outbox_written() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

fn until(due: DateTime<Utc>) -> Duration {
    (due - Utc::now()).to_std().unwrap_or_default()
}

async fn pause(duration: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bus(#[from] BusError),
}
