//! PostgreSQL alone: its connection pools, their options, and its migrations.

mod changes;
mod kept;
mod pool;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

pub(super) use self::changes::Changes;
pub(super) use self::kept::Kept;
pub(super) use self::pool::ReplaceablePool;
use self::pool::WhenExhausted;
use super::{ACQUIRE_TIMEOUT, StoreError, migrations};

/// PostgreSQL ends a statement after this long, so that a stuck one doesn't hold its connection for ever. Migrations are
/// exempt.
const STATEMENT_TIMEOUT: &str = "4s";

/// An operation without an answer for this long has met silence: longer than [`STATEMENT_TIMEOUT`].
const DEADLINE: Duration = Duration::from_secs(5);

/// The same for reports: a page of an export or a search may take longer than a webhook's insert.
const REPORT_STATEMENT_TIMEOUT: &str = "20s";

/// See [`DEADLINE`] and [`REPORT_STATEMENT_TIMEOUT`].
const REPORT_DEADLINE: Duration = Duration::from_secs(25);

/// How PostgreSQL gets rid of a session whose process has vanished without a word. Above all of its transaction: the
/// rows that it locked would stay locked for the two hours after which the system looks for the other end.
const FORGOTTEN: [(&str, &str); 4] = [
    // No transaction of ours waits for this process for more than milliseconds.
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// Connections that one process opens at most, besides that of [`Changes`]. Ingest needs one at a time; the rest is for
/// reading.
const MAX_CONNECTIONS: u32 = 10;

/// Connections for unsynced statements: one writes, and one is spare while that one is replaced.
const MAX_UNSYNCED_CONNECTIONS: u32 = 2;

/// Connections for reports. However many pages and exports are open, ingest, relay and workers keep theirs.
const MAX_REPORT_CONNECTIONS: u32 = 3;

/// The connection pools of one database; each connects when it is first asked to.
pub(super) struct Pools {
    /// For ingest, relay, workers and keys.
    pub(super) main: ReplaceablePool,
    /// For statements whose loss in a crash does no harm, since they are then done again: a commit doesn't wait for the disk.
    pub(super) unsynced: ReplaceablePool,
    /// For reports, which people read; it can't write.
    pub(super) reports: ReplaceablePool,
}

/// Prepares the pools.
pub(super) fn pools(url: &PgConnectOptions) -> Pools {
    let options = url.clone().application_name("callvine").options(FORGOTTEN);
    // Planned once a connection: each of these statements is the same work whatever its parameters are, and planning the
    // insert of a batch anew takes as long as running it.
    let main = options
        .clone()
        .options([("plan_cache_mode", "force_generic_plan"), ("statement_timeout", STATEMENT_TIMEOUT)]);
    let unsynced = main.clone().options([("synchronous_commit", "off")]);
    // Planned for its parameters: a filter of a page may fit one row or most of a table.
    let reports = options.options([
        ("plan_cache_mode", "force_custom_plan"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", REPORT_STATEMENT_TIMEOUT),
    ]);
    let pool = |options, connections, deadline, when_exhausted| {
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        ReplaceablePool::new(pool.connect_lazy_with(options), deadline, when_exhausted)
    };
    Pools {
        main: pool(main, MAX_CONNECTIONS, DEADLINE, WhenExhausted::Replace),
        unsynced: pool(unsynced, MAX_UNSYNCED_CONNECTIONS, DEADLINE, WhenExhausted::Replace),
        reports: pool(reports, MAX_REPORT_CONNECTIONS, REPORT_DEADLINE, WhenExhausted::Keep),
    }
}

/// Migrates over a connection of its own, without the statement timeout.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let options = pool.connect_options().as_ref().clone().options([("statement_timeout", "0")]);
    // A server that accepts the connection and says nothing is no database; a migration itself may take its time.
    let connecting = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect());
    let mut connection = connecting.await.map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
    migrations::run(&migrations::POSTGRES, &mut connection).await?;
    connection.close().await?;
    Ok(())
}
