//! A transaction that is sent to SQLite as text, from its `begin` to its `commit`.

use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use crate::store::StoreError;

/// A connection on which a transaction may be open that sqlx does not see: it is not used again before the transaction is
/// known to have ended.
pub(super) struct Transaction(Option<PoolConnection<Sqlite>>);

impl Transaction {
    pub(super) fn on(connection: PoolConnection<Sqlite>) -> Self {
        Self(Some(connection))
    }

    /// Runs a text that leaves the transaction open; when it fails, the transaction is rolled back.
    pub(super) async fn run(
        &mut self,
        text: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let connection = self.0.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let result = text.fetch_all(&mut **connection).await;
        if result.is_err() {
            // After some errors, a full disk for one, SQLite has rolled back by itself.
            let has_ended = match sqlx::query("rollback").execute(&mut **connection).await {
                Ok(_) => true,
                Err(error) => {
                    error.as_database_error().is_some_and(|error| error.message().contains(NONE_OPEN))
                }
            };
            if has_ended {
                self.0 = None;
            }
        }
        Ok(result?)
    }

    /// Runs a text that ends the transaction.
    pub(super) async fn end_with(
        mut self,
        text: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let rows = self.run(text).await?;
        self.0 = None;
        Ok(rows)
    }
}

/// SQLite's answer to a rollback where there is nothing to roll back; it has no code of its own for that.
const NONE_OPEN: &str = "no transaction is active";

impl Drop for Transaction {
    /// Closing the connection ends a transaction that was abandoned or could not be rolled back.
    fn drop(&mut self) {
        if let Some(mut connection) = self.0.take() {
            connection.close_on_drop();
        }
    }
}
