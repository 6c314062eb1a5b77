//! Every queue consumer of Callvine; it listens on nothing.
//!
//! - [`settings`]: flags, variables, defaults
//! - `consume`: from a queue to a handler
//! - [`recording`]: a recording's life
//! - `lost`: finds recordings of which no message is left
//! - [`metrics`]: what is counted

mod consume;
mod lost;
pub mod metrics;
pub mod recording;
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use callvine_shared::bus::{Bus, Queue};
use callvine_shared::objects::Objects;
use callvine_shared::store::Store;
use tokio_util::sync::CancellationToken;

use crate::lost::Search;
use crate::recording::Recordings;
use crate::recording::fetch::{CredentialsError, FetchSettings, Fetcher};
pub use crate::settings::Settings;

/// Messages in hand for each recording that is fetched at the same time: the others wait for a place at their host, or
/// for their turn, so that one slow host does not fill the worker.
const IN_HAND_PER_FETCH: usize = 4;

/// The recording worker.
#[derive(Debug)]
pub struct Worker {
    recordings: Arc<Recordings>,
    store: Store,
    concurrency: usize,
    requeue_after: Duration,
}

impl Worker {
    /// A worker with these settings, on this database and place for recordings.
    ///
    /// # Errors
    /// [`WorkerError`] when a setting can't be used.
    pub fn new(settings: &Settings, store: Store, objects: Objects) -> Result<Self, WorkerError> {
        let fetcher = Fetcher::new(FetchSettings::load(settings)?)?;
        let recordings = Recordings::new(store.clone(), objects, fetcher, settings);
        Ok(Self {
            recordings: Arc::new(recordings),
            store,
            concurrency: settings.worker_concurrency,
            requeue_after: settings.requeue_after,
        })
    }

    /// Fetches recordings until the shutdown; returns when those in hand are settled.
    pub async fn run(self, bus: Bus, shutdown: CancellationToken) {
        let in_hand = self.concurrency * IN_HAND_PER_FETCH;
        let prefetch = u16::try_from(in_hand).unwrap_or(u16::MAX);
        let consumer = bus.consume(Queue::Recordings, prefetch, shutdown.clone());
        let search = Search {
            recordings: self.recordings.clone(),
            store: self.store,
            bus,
            requeue_after: self.requeue_after,
        };
        let consuming = consume::run(consumer, self.recordings, in_hand, shutdown.clone());
        tokio::join!(consuming, search.run(shutdown));
    }
}

/// Why a worker can't be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The file of credentials can't be used.
    #[error("--fetch-credentials (CALLVINE_FETCH_CREDENTIALS): {0}")]
    Credentials(#[from] CredentialsError),
    /// There is no HTTP client to be had, for want of TLS.
    #[error("cannot make an HTTP client (are the system's CA certificates installed?)")]
    Client(#[from] reqwest::Error),
}
