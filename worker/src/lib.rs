//! Every queue consumer of Callvine; it listens on nothing.
//!
//! - [`settings`]: flags, variables, defaults
//! - `consume`: from a queue to a handler
//! - `ahead`: past the queue, for clients that another one's flood keeps waiting
//! - `in_hand`: what is in hand, by client
//! - `lease`: keeps a recording this worker's own while the work lasts
//! - `patience`: waits for a database that is away
//! - [`recording`]: a recording's life
//! - [`analysis`]: its analysis
//! - `lost`: finds recordings whose message was lost
//! - [`metrics`]: the metrics of the worker

mod ahead;
pub mod analysis;
mod consume;
mod in_hand;
mod lease;
mod lost;
pub mod metrics;
mod patience;
pub mod recording;
pub mod settings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use callvine_shared::bus::Bus;
use callvine_shared::cell::Cells;
use callvine_shared::objects::Objects;
use callvine_shared::queue::Queue;
use callvine_shared::store::Store;
use tokio_util::sync::CancellationToken;

use crate::ahead::Ahead;
use crate::in_hand::InHand;
use crate::lost::Search;
use crate::recording::fetch::{CredentialsError, FetchSettings, Fetcher, FetcherError};
use crate::recording::{Means, Recordings};
pub use crate::settings::Settings;

/// Messages in hand for each recording that is fetched at the same time. The others wait for a permit of their host or of
/// the worker, so that one slow host does not fill the worker.
const IN_HAND_PER_FETCH: usize = 4;

/// How often leftovers of dead processes are removed. A staged file counts as one from the same age on.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// The recording worker.
#[derive(Debug)]
pub struct Worker {
    recordings: Arc<Recordings>,
    in_hand: InHand,
    store: Store,
    objects: Objects,
    concurrency: usize,
    requeue_after: Duration,
}

impl Worker {
    /// A worker with these settings, on this database and location of recordings. Its cells are `program prove`.
    ///
    /// # Errors
    /// [`WorkerError`] when a setting can't be used.
    pub fn new(
        settings: &Settings,
        store: Store,
        objects: Objects,
        program: PathBuf,
    ) -> Result<Self, WorkerError> {
        let fetcher = Fetcher::new(FetchSettings::load(settings)?)?;
        let in_hand = InHand::new(settings.worker_concurrency * IN_HAND_PER_FETCH);
        let cells = Cells::new(program, settings.proof_timeout);
        let means = Means { fetcher, cells, in_hand: in_hand.clone() };
        let recordings = Recordings::new(store.clone(), objects.clone(), means, settings);
        Ok(Self {
            in_hand,
            recordings: Arc::new(recordings),
            store,
            objects,
            concurrency: settings.worker_concurrency,
            requeue_after: settings.requeue_after,
        })
    }

    /// Fetches recordings until the shutdown; returns when those in hand are settled.
    pub async fn run(self, bus: Bus, shutdown: CancellationToken) {
        let prefetch = u16::try_from(self.concurrency * IN_HAND_PER_FETCH).unwrap_or(u16::MAX);
        let consumer = bus.consume(Queue::Recordings, prefetch, shutdown.clone());
        let ahead = Ahead {
            recordings: self.recordings.clone(),
            store: self.store.clone(),
            in_hand: self.in_hand.clone(),
            most: self.concurrency,
        };
        let search = Search {
            recordings: self.recordings.clone(),
            store: self.store,
            bus,
            requeue_after: self.requeue_after,
        };
        let (recordings, ending) = (self.recordings, shutdown.clone());
        let handler = move |call_id| recordings.clone().process(call_id, ending.clone());
        let consuming = consume::run(consumer, handler, self.in_hand.messages, shutdown.clone());
        let working = async { tokio::join!(consuming, ahead.run(shutdown.clone()), search.run(shutdown)) };
        tokio::select! {
            _ = working => {}
            () = keep_swept(&self.objects) => {}
        }
    }
}

/// Removes leftovers at the start and then every hour. Never returns.
async fn keep_swept(objects: &Objects) {
    let mut hour = tokio::time::interval(SWEEP_EVERY);
    hour.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        hour.tick().await;
        match objects.sweep().await {
            Ok(0) => {}
            Ok(swept) => {
                tracing::info!(swept, "removed {swept} files or uploads that dead processes had left")
            }
            Err(error) => tracing::warn!(
                error = %callvine_shared::error_chain::Chain(&error),
                "cannot remove what dead processes left with the recordings; trying again in an hour"
            ),
        }
    }
}

/// Why a worker can't be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The file of credentials can't be used.
    #[error("--fetch-credentials (CALLVINE_FETCH_CREDENTIALS)")]
    Credentials(#[from] CredentialsError),
    /// Nothing can be fetched.
    #[error(transparent)]
    Fetcher(#[from] FetcherError),
}
