//! The database: PostgreSQL or SQLite behind one type. The only room that names sqlx.
//!
//! A method is one transaction, in the file named after its table:
//!
//! - `calls`, `recordings`, `analyses`, `outbox`, `deliveries`, `api_keys`, `idempotency`: a file a table
//! - `insert`: how calls come in, a batch at a time
//! - `upkeep`: chores across tables, a file each
//! - `dialect`: how one statement serves both backends; `postgres` and `sqlite`: their connection pools and options
//! - `migrations`: the schema

mod analyses;
mod api_keys;
mod calls;
mod deliveries;
mod dialect;
mod error;
mod idempotency;
mod insert;
mod migrations;
mod outbox;
mod postgres;
mod recordings;
mod sqlite;
mod upkeep;
mod url;

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::{Notify, OnceCell};
use uuid::Uuid;

pub use self::analyses::{
    ANALYZERS_MAX, AnalysisCause, Answer, Answered, BegunAnalysis, RecordedAnswer, RequestedAnalysis,
};
pub use self::api_keys::{ApiKeyRow, NewApiKey, Successor};
pub use self::calls::{AnalysisState, CallRecord, RecordingState};
pub use self::deliveries::{DeliveryRow, LEASE as DELIVERY_LEASE};
use self::dialect::with_pool;
pub use self::error::StoreError;
pub use self::idempotency::MARKS_STEP;
pub use self::insert::{Inserted, Outcome, ReceivedCall};
pub use self::outbox::{LEASE as OUTBOX_LEASE, OutboxContent, OutboxRow};
pub use self::recordings::{Begun, PendingRecording, Postponed, WaitingSpan};
pub use self::upkeep::audit::{AuditedCall, WaitingMessage, Window};
pub use self::upkeep::dead_letters::{DeadLetter, Retried};
pub use self::upkeep::idle::Idle;
pub use self::upkeep::lost::SEARCH_STEP;
pub use self::url::DatabaseUrl;
pub use crate::dead_letter::{DeadLetterId, DeadLetterKind, NotADeadLetterId};
use crate::event::Events;

/// A statement waits this long for a free connection; a caller is answered "Database error" within 5 s.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// The database. Cheap to clone. SQLite has one writing connection and a few reading ones; PostgreSQL uses one connection
/// pool for both.
#[derive(Clone, Debug)]
pub struct Store {
    read: Pool,
    write: Pool,
    /// For changes that are done again after a crash; on PostgreSQL a commit here doesn't wait for the disk.
    unsynced: Pool,
    /// For reports, which people read: pages, exports, audits. However slow, they take no connection from the others.
    reports: Pool,
    /// On SQLite, every writer but the intake waits here for its turn.
    turns: Arc<sqlite::Turns>,
    checkpoints: Option<sqlite::Checkpoints>,
    ingest: Arc<insert::Ingest>,
    /// The connection that removes published rows from the outbox.
    settling: Arc<postgres::Kept>,
    /// The connection on which changes of API keys are listened to.
    key_changes: Arc<postgres::Changes>,
    events: Arc<OnceCell<Events>>,
    /// Notified when a transaction of this process has written the outbox.
    outbox_written: Arc<Notify>,
}

#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Postgres(postgres::ReplaceablePool),
    Sqlite(SqlitePool),
}

impl Store {
    /// Opens the database that `url` names: `postgres://…`, or `sqlite://PATH`, which is created when it is missing.
    ///
    /// PostgreSQL is not contacted yet; [`Store::ping`] tells whether it can be.
    ///
    /// # Errors
    /// [`StoreError::Url`] when the URL can't be used; [`StoreError::Unavailable`] when the SQLite file can't be opened.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::open(&url.parse()?).await
    }

    /// Opens a database, as [`Store::connect`] does.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the SQLite file can't be opened.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        match &url.0 {
            url::Address::Postgres(options) => {
                let postgres::Pools { main, unsynced, reports } = postgres::pools(options);
                let [main, unsynced, reports] = [main, unsynced, reports].map(Pool::Postgres);
                Ok(Self::over(main.clone(), main, unsynced, reports))
            }
            url::Address::Sqlite(options) => {
                let sqlite::Pools { read, write, reports, checkpoints } = sqlite::pools(options).await?;
                let [read, write, reports] = [read, write, reports].map(Pool::Sqlite);
                let store = Self::over(read, write.clone(), write, reports);
                Ok(Self { checkpoints: Some(checkpoints), ..store })
            }
        }
    }

    fn over(read: Pool, write: Pool, unsynced: Pool, reports: Pool) -> Self {
        Self {
            read,
            write,
            unsynced,
            reports,
            turns: Arc::default(),
            checkpoints: None,
            ingest: Arc::default(),
            settling: Arc::default(),
            key_changes: Arc::default(),
            events: Arc::default(),
            outbox_written: Arc::default(),
        }
    }

    /// Brings the database to the current schema. Safe when several processes do it at once on PostgreSQL (sqlx takes
    /// an advisory lock); on SQLite the caller must be the only one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is out of reach, [`StoreError::Migration`] when a migration fails or the
    /// database is newer than this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match &self.write {
            Pool::Postgres(pool) => postgres::migrate(&pool.current().pool).await,
            Pool::Sqlite(pool) => sqlite::migrate(pool).await,
        }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is none within the acquire timeout.
    pub async fn ping(&self) -> Result<(), StoreError> {
        with_pool!(self.read, pool => {
            let one: i32 = sqlx::query_scalar("select 1").fetch_one(pool).await?;
            debug_assert_eq!(one, 1);
        });
        Ok(())
    }

    /// Whether this is the embedded database, which belongs to one process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        matches!(self.write, Pool::Sqlite(_))
    }

    /// Returns when this process has written the outbox since this last returned, but for rows that it leased to itself
    /// at once ([`Store::insert_leased_calls`]). Cancel-safe. One task waits at a time.
    pub async fn outbox_written(&self) {
        self.outbox_written.notified().await;
    }

    /// Closes all connections, after the statements that are under way.
    pub async fn close(&self) {
        self.ingest.close().await;
        self.settling.close().await;
        self.key_changes.close();
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.close().await;
        }
        for pool in [&self.read, &self.write, &self.unsynced, &self.reports] {
            match pool {
                Pool::Postgres(pool) => pool.close().await,
                Pool::Sqlite(pool) => pool.close().await,
            }
        }
    }

    /// The text for PostgreSQL, where several processes claim rows at the same time and skip those that another one has
    /// locked, or for SQLite, where one writer at a time has nothing to skip.
    fn locking(&self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        if self.is_embedded() { sqlite } else { postgres }
    }

    /// The maker of this database's events.
    async fn events(&self) -> Result<Events, StoreError> {
        let read = || async {
            let namespace: Uuid = with_pool!(self.read, pool => {
                sqlx::query_scalar("select event_namespace from installation").fetch_one(pool).await?
            });
            Ok(Events::new(namespace))
        };
        self.events.get_or_try_init(read).await.copied()
    }
}
