//! The schema: the files of `migrations/`, one folder a backend, run in their order.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// A file of a migration: its version, its description, and its text.
type File = (i64, &'static str, &'static str);

// `build.rs` lists the files: `POSTGRES` and `SQLITE`, each an array of them in order. sqlx's `migrate!` would do it too,
// but builds sqlx a second time, for the compiler.
include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// A migration that begins with this line runs outside a transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

/// Runs the migrations that are missing. Migrations that only a newer version knows are let be: in a rolling upgrade old and
/// new processes overlap, and migrations are written so that the old one still works.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is out of reach, [`StoreError::Migration`] when a migration fails.
pub(super) async fn run<C>(files: &[File], connection: &mut C) -> Result<(), StoreError>
where
    C: sqlx::migrate::Migrate,
    for<'c> &'c mut C: sqlx::Acquire<'c, Connection: std::ops::Deref<Target = C>>,
{
    let migrations = files.iter().map(|&(version, description, text)| {
        let (description, without_transaction) =
            (Cow::Borrowed(description), text.starts_with(NO_TRANSACTION));
        Migration::new(version, description, MigrationType::Simple, text.into_sql_str(), without_transaction)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(source) => StoreError::from(source),
        other => StoreError::Migration(other),
    })
}
