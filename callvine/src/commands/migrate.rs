//! `callvine migrate`.

use anyhow::Context;

use crate::args::Database;
use crate::failure::Failure;
use crate::process;

/// Brings the database to the current schema; does nothing when it is.
pub(crate) async fn run(database: &Database) -> Result<(), Failure> {
    let store = process::open(&database.url()?).await?;
    store.migrate().await.context("cannot migrate the database")?;
    store.close().await;
    tracing::info!("the database is at the current schema");
    Ok(())
}
