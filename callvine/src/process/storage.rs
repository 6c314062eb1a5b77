//! The database of a process: opened, and waited for.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use callvine_shared::error_chain::Chain;
use callvine_shared::retry::backoff;
use callvine_shared::store::{DatabaseUrl, Store, StoreError};

use crate::failure::Failure;

/// The longest wait after the first attempt at a database that is away; it doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The attempt from which on the wait stops growing: 200 ms doubled five times is 6.4 s, so that a database that is back
/// is found within seconds.
const LAST_GROWING_ATTEMPT: u32 = 6;

/// Opens a database; the directory of an embedded one is created.
pub(crate) async fn open(url: &DatabaseUrl) -> Result<Store, Failure> {
    if let Some(directory) = url.file().as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {} (CALLVINE_DATA_DIR)", directory.display()))?;
    }
    Store::open(url).await.map_err(|error| anyhow::Error::new(error).into())
}

/// Opens a database that is there already; an embedded one is not created.
pub(crate) async fn open_existing(url: &DatabaseUrl) -> Result<Store, Failure> {
    match url.file() {
        Some(file) if !file.exists() => {
            Err(anyhow!("there is no database {} (check CALLVINE_DATA_DIR or DATABASE_URL)", file.display())
                .into())
        }
        _ => open(url).await,
    }
}

/// Waits for the database with backoff, saying so, and brings it to the current schema if asked to.
pub(super) async fn wait_for(store: &Store, migrate: bool) -> Result<(), Failure> {
    let mut attempt = 0;
    loop {
        let ready = if migrate { store.migrate().await } else { store.ping().await };
        match ready {
            Ok(()) => return Ok(()),
            Err(error @ StoreError::Unavailable(_)) => {
                attempt = (attempt + 1).min(LAST_GROWING_ATTEMPT);
                let wait = backoff(FIRST_WAIT, attempt);
                tracing::warn!(error = %Chain(&error), "waiting for the database; trying again in {wait:?}");
                tokio::time::sleep(wait).await;
            }
            Err(error) => return Err(anyhow::Error::new(error).into()),
        }
    }
}
