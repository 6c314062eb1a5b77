//! The database of a process: which one, opened, and waited for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use callvine_shared::error_chain::Chain;
use callvine_shared::retry::backoff;
use callvine_shared::store::{Store, StoreError};

use crate::args::Database;
use crate::failure::Failure;

/// The first wait for a database that is away, doubled up to [`WAIT_DOUBLINGS`] times: at most 6.4 s.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// See [`FIRST_WAIT`].
const WAIT_DOUBLINGS: u32 = 6;

/// The file of the embedded database in the data directory.
const FILE: &str = "callvine.db";

/// The database that the settings name. An empty variable counts as absent.
pub(crate) fn url_of(database: &Database) -> String {
    match database.database_url.as_deref() {
        Some(url) if !url.is_empty() => url.to_owned(),
        _ => format!("sqlite://{}", database.data_dir.join(FILE).display()),
    }
}

/// The file of an embedded database.
pub(super) fn file_of(database_url: &str) -> Option<PathBuf> {
    let path = database_url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    Some(Path::new(path).to_owned())
}

/// Opens a database; the directory of an embedded one is created.
pub(crate) async fn open(database_url: &str) -> Result<Store, Failure> {
    if let Some(directory) = file_of(database_url).as_deref().and_then(Path::parent) {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {} (CALLVINE_DATA_DIR)", directory.display()))?;
    }
    match Store::connect(database_url).await {
        Ok(store) => Ok(store),
        Err(error @ StoreError::Url(_)) => Err(super::setting_failure(error)),
        Err(error) => Err(anyhow::Error::new(error).into()),
    }
}

/// Opens a database that is there already; an embedded one is not created.
pub(crate) async fn open_existing(database_url: &str) -> Result<Store, Failure> {
    match file_of(database_url) {
        Some(file) if !file.exists() => {
            Err(anyhow!("there is no database {} (check CALLVINE_DATA_DIR or DATABASE_URL)", file.display())
                .into())
        }
        _ => open(database_url).await,
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
                attempt = (attempt + 1).min(WAIT_DOUBLINGS);
                let wait = backoff(FIRST_WAIT, attempt);
                tracing::warn!(error = %Chain(&error), "waiting for the database; trying again in {wait:?}");
                tokio::time::sleep(wait).await;
            }
            Err(error) => return Err(anyhow::Error::new(error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_embedded_database_is_found_in_its_url() {
        for (url, file) in [
            ("sqlite:///var/lib/callvine.db", "/var/lib/callvine.db"),
            ("sqlite://./callvine-data/callvine.db", "./callvine-data/callvine.db"),
            ("sqlite:relative.db?mode=rw", "relative.db"),
        ] {
            assert_eq!(file_of(url).as_deref(), Some(Path::new(file)), "{url}");
        }
        assert_eq!(file_of("postgres://host/db"), None);
    }
}
