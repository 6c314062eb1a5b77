//! SQLite alone: its connection pools, their options, and its migrations.

mod checkpoints;
mod giving_way;
mod turns;

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection, SqlitePool};

pub(super) use self::checkpoints::Checkpoints;
pub(super) use self::turns::Turns;
use super::{ACQUIRE_TIMEOUT, StoreError, migrations};

/// How long a writer waits for another process, such as `callvine keys create` beside `callvine up`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers besides the one writer, for `GET /calls/ID`, the relay and workers.
const READING_CONNECTIONS: u32 = 4;

/// Readers for reports. However many pages and exports are open, the others keep theirs.
const REPORT_CONNECTIONS: u32 = 2;

/// From this many pages of the write-ahead log on, 64 MiB, a commit itself copies the pages that [`Checkpoints`] has left.
/// This bounds the log: only when all of it is copied does the next transaction begin at its start again, and in a burst
/// without end the checkpoints alone never quite get there.
const CHECKPOINT_PAGES: &str = "16384";

/// The connection pools of one database.
pub(super) struct Pools {
    /// For reading, besides reports.
    pub(super) read: SqlitePool,
    /// The one connection that writes.
    pub(super) write: SqlitePool,
    /// For reports, which people read.
    pub(super) reports: SqlitePool,
    pub(super) checkpoints: Checkpoints,
}

/// Opens the database; its file is created when it is missing.
pub(super) async fn pools(url: &SqliteConnectOptions) -> Result<Pools, StoreError> {
    let options = url
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
        // It is tested when it is given back.
        .test_before_acquire(false)
        .after_connect(move |connection, _| Box::pin(watching.clone().watch(connection)))
        .after_release(|connection, _| Box::pin(is_reusable(connection)))
        .connect_with(options.clone())
        .await?;
    let reading = options.create_if_missing(false).read_only(true);
    let readers = |connections| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(reading.clone())
    };
    Ok(Pools { read: readers(READING_CONNECTIONS), write, reports: readers(REPORT_CONNECTIONS), checkpoints })
}

/// Whether a connection that is given back has no transaction left open; else it is replaced.
///
/// When the disk is full, SQLite itself rolls a transaction back. The rollback that follows then fails, and sqlx takes
/// the transaction for open ever after: no other could begin on the one connection that writes.
async fn is_reusable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if !connection.is_in_transaction() {
        // The rule, and worth it: a ping goes to SQLite's thread and back, and the next writer waits for it.
        return Ok(true);
    }
    // A statement that was sent to the connection before, a rollback for one, is done when the ping is.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    migrations::run(&migrations::SQLITE, &mut *connection).await
}
