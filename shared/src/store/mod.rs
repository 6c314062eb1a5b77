//! The database: PostgreSQL or SQLite behind one type. The only place that names sqlx.
//!
//! A method is one transaction. Operations that both databases understand are written once, in the files named after
//! their table; what only one understands is in `postgres.rs` and `sqlite.rs`.

mod api_keys;
mod audit;
mod calls;
mod clocks;
mod dead_letters;
mod deliveries;
mod error;
mod ingestion;
mod kept;
mod lines;
mod lost;
mod outbox;
mod postgres;
mod recordings;
mod repair;
mod sqlite;
mod url;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::SqlitePool;
use tokio::sync::OnceCell;
use uuid::Uuid;

pub use api_keys::{ApiKeyRow, NewApiKey};
pub use audit::{AuditedCall, Idle, WaitingMessage, Window};
pub use calls::{AnalysisState, CallRecord, ReceivedCall, RecordingState};
pub use dead_letters::{DeadLetter, DeadLetterId, DeadLetterKind, NotADeadLetterId, Retried};
pub use deliveries::{DeliveryRow, LEASE as DELIVERY_LEASE};
pub use error::StoreError;
pub use lost::SEARCH_STEP;
pub use outbox::{LEASE as OUTBOX_LEASE, OutboxContent, OutboxRow};
pub use recordings::{Begun, PendingRecording, PutOff};
pub use url::DatabaseUrl;

use crate::event::Events;
use crate::handoff::Handoff;
use crate::names::UnknownName;

/// How long a statement waits for a free connection; a caller is answered "Database error" within 5 s.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the body for the database that there is, with its concrete pool, and on PostgreSQL within its deadline (see
/// [`lines`]). A function can't: the two pools have no common type, and sqlx's `Any` lacks timestamps.
macro_rules! by_database {
    ($pool:expr, $p:ident => { postgres: $postgres:expr, sqlite: $sqlite:expr $(,)? }) => {
        match &$pool {
            $crate::store::Pool::Postgres(lines) => {
                let line = lines.current();
                let $p = &line.pool;
                lines.watch(&line, async { Ok::<_, $crate::store::StoreError>($postgres) }).await?
            }
            $crate::store::Pool::Sqlite($p) => $sqlite,
        }
    };
}

/// Runs `$body` with the concrete pool of either database. The statement must be text that both understand: `$1`
/// binds, `returning`, `on conflict`, and times as parameters rather than `now()`.
macro_rules! with_pool {
    ($pool:expr, $p:ident => $body:expr) => {
        $crate::store::by_database!($pool, $p => { postgres: $body, sqlite: $body })
    };
}

/// Runs `$body`, which is one statement, with what it is to be executed on for writing: PostgreSQL's pool, or SQLite's
/// connection when it is this caller's turn (see [`sqlite::Turns`]). No turn may be asked for in the body: it would wait
/// for itself.
macro_rules! with_writer {
    ($store:expr, $p:ident => $body:expr) => {
        $crate::store::with_writer!($store.write, $store, $p => { postgres: $body, sqlite: $body })
    };
    ($pool:expr, $store:expr, $p:ident => { postgres: $postgres:expr, sqlite: $sqlite:expr $(,)? }) => {
        $crate::store::by_database!($pool, $p => {
            postgres: $postgres,
            sqlite: {
                let one = $crate::store::sqlite::Statements::One;
                $store.turns.take($p, &$store.ingestion, one, async |$p| Ok($sqlite)).await?
            },
        })
    };
}

/// Runs `$body` in one transaction of the writing pool and commits it; `return Ok(…)` in the body leaves it before its
/// end, when it has written nothing. As with [`with_writer`], no turn may be asked for in the body.
macro_rules! with_transaction {
    ($store:expr, $tx:ident => $body:expr) => {
        $crate::store::by_database!($store.write, pool => {
            postgres: {
                let mut $tx = pool.begin().await?;
                let out = $body;
                $tx.commit().await?;
                out
            },
            sqlite: {
                let several = $crate::store::sqlite::Statements::Several;
                $store.turns.take(pool, &$store.ingestion, several, async |$tx| Ok($body)).await?
            },
        })
    };
}

pub(crate) use ingestion::LOOK_INTERVAL;
pub(crate) use {by_database, with_pool, with_transaction, with_writer};

/// The database. Cheap to clone. SQLite has one writing connection and a few reading ones; PostgreSQL uses one pool
/// for both.
#[derive(Clone, Debug)]
pub struct Store {
    read: Pool,
    write: Pool,
    /// For what may be lost in a crash because it is then done again; on PostgreSQL a commit here doesn't wait for the
    /// disk.
    repeatable: Pool,
    /// On SQLite, everything that writes but the intake waits here for its turn.
    turns: Arc<sqlite::Turns>,
    checkpoints: Option<sqlite::Checkpoints>,
    ingestion: Arc<ingestion::Ingestion>,
    ingest: Arc<postgres::Ingest>,
    settling: Arc<kept::Kept>,
    events: Arc<OnceCell<Events>>,
    handoff: Arc<Handoff>,
}

#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Postgres(lines::Lines),
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
        let (read, write, repeatable, checkpoints) = match &url.0 {
            url::Address::Postgres(options) => {
                let pool = Pool::Postgres(postgres::pool(options));
                (pool.clone(), pool, Pool::Postgres(postgres::repeatable_pool(options)), None)
            }
            url::Address::Sqlite(options) => {
                let (read, write, checkpoints) = sqlite::pools(options).await?;
                (Pool::Sqlite(read), Pool::Sqlite(write.clone()), Pool::Sqlite(write), Some(checkpoints))
            }
        };
        Ok(Self {
            read,
            write,
            repeatable,
            turns: Arc::default(),
            checkpoints,
            ingestion: Arc::default(),
            ingest: Arc::default(),
            settling: Arc::default(),
            events: Arc::default(),
            handoff: Arc::default(),
        })
    }

    /// Brings the database to the current schema. Safe when several processes do it at once on PostgreSQL (sqlx takes
    /// an advisory lock); on SQLite the caller must be the only one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it is out of reach, [`StoreError::Migration`] when a migration fails or the
    /// database is newer than this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match &self.write {
            Pool::Postgres(lines) => postgres::migrate(&lines.current().pool).await,
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

    /// Gives up every lease on outbox rows, deliveries and recordings. Only for a process that owns the database
    /// alone: what is leased then was left by a process that died, and need not wait for its lease to end.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn release_leases(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let now_us = now.timestamp_micros();
        with_transaction!(self, tx => {
            sqlx::query("update recordings set claimed_until = 0 where claimed_until > $1").bind(now_us).execute(&mut *tx).await?;
            // A leased row is due within a lease; what is due later is a retry that waits for its time.
            for statement in [
                "update outbox set available_at = $1 where available_at > $1 and available_at <= $2 and queue is null",
                "update deliveries set available_at = $1 where available_at > $1 and available_at <= $2",
            ] {
                sqlx::query(statement).bind(now_us).bind(now_us + LONGEST_LEASE_US).execute(&mut *tx).await?;
            }
        });
        Ok(())
    }

    /// What this process's intake is doing.
    pub(crate) fn ingestion(&self) -> &ingestion::Ingestion {
        &self.ingestion
    }

    /// The way for what this process commits to the relay of this process.
    pub(crate) fn handoff(&self) -> &Handoff {
        &self.handoff
    }

    /// Closes all connections, after the statements that are under way.
    pub async fn close(&self) {
        self.ingest.kept.close().await;
        self.settling.close().await;
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.close().await;
        }
        for pool in [&self.read, &self.write, &self.repeatable] {
            match pool {
                Pool::Postgres(lines) => lines.close().await,
                Pool::Sqlite(pool) => pool.close().await,
            }
        }
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

/// Runs what is missing. Migrations that only a newer version knows are let be: in a rolling deploy, old and new
/// overlap, and migrations are written so that the old one still works.
async fn run_migrations<C>(
    mut migrator: sqlx::migrate::Migrator,
    connection: &mut C,
) -> Result<(), StoreError>
where
    C: sqlx::migrate::Migrate,
    for<'c> &'c mut C: sqlx::Acquire<'c, Connection: std::ops::Deref<Target = C>>,
{
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(source) => StoreError::from(source),
        other => StoreError::Migration(other),
    })
}

/// No lease on an outbox row or a delivery is longer than this.
const LONGEST_LEASE_US: i64 = 60 * 1_000_000;

/// `now` as whole seconds without a zone, as the columns that people read hold it.
fn seconds(now: DateTime<Utc>) -> chrono::NaiveDateTime {
    DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now).naive_utc()
}

/// A published name, as a column holds it.
fn parsed<T: std::str::FromStr<Err = UnknownName>>(name: &str) -> Result<T, StoreError> {
    name.parse().map_err(|error: UnknownName| sqlx::Error::Decode(Box::new(error)).into())
}

/// A time that code compares: microseconds since 1970 UTC.
fn from_us(us: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(us)
}
