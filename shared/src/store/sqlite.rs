//! What only SQLite needs: its pools, migrations, and the statements that PostgreSQL would write otherwise.

mod checkpoints;
mod insert;
mod turns;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqlitePool};

pub(super) use checkpoints::Checkpoints;
pub(super) use insert::insert_calls;
pub(super) use turns::{Statements, Turns};

use super::outbox::{LEASE, Row};
use super::{ACQUIRE_TIMEOUT, StoreError};

/// How long a writer waits for another process, such as `callvine keys create` beside `callvine up`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers besides the one writer; enough for the console and `GET /calls/ID`.
const READING_CONNECTIONS: u32 = 4;

/// Pages of the write-ahead log from which on a commit itself copies what [`Checkpoints`] has left, 64 MiB. It is what
/// bounds the log: only when all of it is copied does the next transaction begin at its start again, and in a burst
/// without end the checkpoints alone never quite get there.
const CHECKPOINT_PAGES: &str = "16384";

/// The reading and the writing pool, in this order, and what makes checkpoints.
pub(super) async fn pools(
    options: &SqliteConnectOptions,
) -> Result<(SqlitePool, SqlitePool, Checkpoints), StoreError> {
    let options = options
        .clone()
        .create_if_missing(true)
        // Readers don't wait for the writer, and a commit is one append to the log.
        .journal_mode(SqliteJournalMode::Wal)
        // The log is on disk before a commit returns. With WAL, `normal` may lose the last commits on power loss, and
        // what was answered 201 must not be lost.
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .busy_timeout(BUSY_TIMEOUT);
    let checkpoints = Checkpoints::start(options.clone());
    let watching = checkpoints.clone();
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Looked at when it is given back.
        .test_before_acquire(false)
        .after_connect(move |connection, _| Box::pin(watching.clone().watch(connection)))
        .after_release(|connection, _| Box::pin(is_reusable(connection)))
        .connect_with(options.clone())
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(READING_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.create_if_missing(false).read_only(true));
    Ok((read, write, checkpoints))
}

/// Whether no transaction is left open on a connection that is given back; else it is replaced.
///
/// When the disk is full, SQLite itself rolls a transaction back. The rollback that follows then fails, and sqlx takes
/// the transaction for open ever after: no other could begin on the one connection that writes.
async fn is_reusable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if !connection.is_in_transaction() {
        // The rule, and worth it: a ping goes to SQLite's thread and back, and the next writer waits for it.
        return Ok(true);
    }
    // What was sent to the connection before, a rollback for one, is done when the ping is.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    super::run_migrations(sqlx::migrate!("../migrations/sqlite"), &mut *connection).await
}

/// One writer at a time, so there is nothing to skip.
pub(super) async fn claim_due(
    connection: &mut SqliteConnection,
    now: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as(
        "update outbox set available_at = $2
         where id in (select id from outbox where available_at <= $1 order by available_at, id limit $3)
         returning id, routing_key, queue, event_id, body, first_call_id, last_call_id",
    )
    .bind(now.timestamp_micros())
    .bind((now + LEASE).timestamp_micros())
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    Ok(rows)
}
