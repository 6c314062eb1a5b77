//! Reads a subject's database from outside: its calls, its recordings and the events that wait in its outbox.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tokio::time::Instant;

use crate::results::{Confirms, Outbox};

/// Counts calls above an id, and so only the new ones of a table that was full before.
const COUNT_CALLS: &str = "select count(*) from call_logs where id > $1";

/// Counts the events of calls. A row is one event, or those of a range of calls. A worker's retries are left out: they
/// may be due much later.
const COUNT_OUTBOX: &str = "
select cast(coalesce(sum(coalesce(last_call_id - first_call_id, 0) + 1), 0) as bigint)
from outbox where id > $1 and routing_key = 'call.created' and queue is null";

/// Counts one such event or none, which is cheaper.
const ANY_IN_OUTBOX: &str = "select count(*) from
    (select 1 from outbox where id > $1 and routing_key = 'call.created' and queue is null limit 1) as waiting";

/// Reads the outbox's size, and its statistics, which are some moments old.
const OUTBOX: &str = "
select pg_relation_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup, n_tup_ins + n_tup_upd,
       (select cast(sum(n_tup_ins + n_tup_upd) as bigint) from pg_stat_user_tables), autovacuum_count
from pg_stat_user_tables where relname = 'outbox'";

/// Counts the recordings that were stored.
const COUNT_STORED: &str = "select count(*) from recordings where call_id > $1 and status = 'stored'";

/// Counts the recordings that were given up.
const COUNT_FAILED: &str = "select count(*) from recordings where call_id > $1 and status = 'failed'";

/// Time between two looks at a draining outbox: a hundredth of a run of two seconds, and too long for the looks to cost
/// anything.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// Limit for an outbox to become empty; what is left then is reported.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);

/// A row of [`OUTBOX`].
type Figures = (i64, i64, i64, i64, i64, i64, i64);

/// A database that calls were sent to.
#[derive(Debug)]
pub(crate) enum Ledger {
    /// PostgreSQL; the run's calls have ids above this one.
    Postgres { connection: PgConnection, above_id: i64 },
    /// The file of an embedded program, which may not have made it yet.
    Sqlite { file: PathBuf },
}

impl Ledger {
    /// Opens a PostgreSQL database; the calls that it has now are not counted later.
    pub(crate) async fn postgres(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await.context("cannot connect to PostgreSQL")?;
        let above_id: Option<i64> =
            sqlx::query_scalar("select max(id) from call_logs").fetch_one(&mut connection).await?;
        Ok(Self::Postgres { connection, above_id: above_id.unwrap_or(0) })
    }

    /// Counts the stored calls.
    pub(crate) async fn calls(&mut self) -> anyhow::Result<u64> {
        let above_id = match self {
            Self::Postgres { above_id, .. } => *above_id,
            Self::Sqlite { .. } => 0,
        };
        self.count(COUNT_CALLS, above_id).await
    }

    /// Counts the recordings that were stored, and those that were given up.
    pub(crate) async fn recordings(&mut self) -> anyhow::Result<(u64, u64)> {
        Ok((self.count(COUNT_STORED, 0).await?, self.count(COUNT_FAILED, 0).await?))
    }

    /// Reads the outbox's size and how much has gone through it.
    pub(crate) async fn outbox(&mut self) -> anyhow::Result<Outbox> {
        let waiting = self.count(COUNT_OUTBOX, 0).await?;
        let Self::Postgres { connection, .. } = self else {
            bail!("only PostgreSQL has statistics of a table");
        };
        let figures: Figures = sqlx::query_as(OUTBOX).fetch_one(connection).await?;
        let (table_bytes, index_bytes, live_rows, dead_rows, rows_written, rows_written_in_all, vacuums) =
            figures;
        Ok(Outbox {
            table_bytes: table_bytes.try_into()?,
            index_bytes: index_bytes.try_into()?,
            live_rows: live_rows.try_into()?,
            dead_rows: dead_rows.try_into()?,
            waiting,
            rows_written: rows_written.try_into()?,
            rows_written_in_all: rows_written_in_all.try_into()?,
            vacuums: vacuums.try_into()?,
        })
    }

    async fn count(&mut self, statement: &'static str, above_id: i64) -> anyhow::Result<u64> {
        let count: i64 = match self {
            Self::Postgres { connection, .. } => {
                sqlx::query_scalar(statement).bind(above_id).fetch_one(connection).await?
            }
            Self::Sqlite { file } => {
                sqlx::query_scalar(statement).bind(above_id).fetch_one(&mut open(file).await?).await?
            }
        };
        Ok(u64::try_from(count)?)
    }

    /// Waits until the outbox is empty; returns how many events were in it, and how long that took.
    pub(crate) async fn drain(&mut self) -> anyhow::Result<Confirms> {
        let began_at = Instant::now();
        let mut looks = tokio::time::interval(DRAIN_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let backlog = self.count(COUNT_OUTBOX, 0).await?;
        let mut is_empty = backlog == 0;
        while !is_empty && began_at.elapsed() < DRAIN_DEADLINE {
            looks.tick().await;
            is_empty = self.count(ANY_IN_OUTBOX, 0).await? == 0;
        }
        let drain_seconds = if backlog == 0 { 0.0 } else { began_at.elapsed().as_secs_f64() };
        let left = if is_empty { 0 } else { self.count(COUNT_OUTBOX, 0).await? };
        Ok(Confirms { backlog, drain_seconds, left })
    }
}

async fn open(file: &PathBuf) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    SqliteConnection::connect_with(&options).await.with_context(|| format!("cannot open {}", file.display()))
}
