//! What only SQLite needs: its pools, migrations, and the statements that PostgreSQL would write otherwise.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

use super::outbox::{LEASE, OutboxRow};
use super::{ACQUIRE_TIMEOUT, ReceivedCall, StoreError};
use crate::call::{Call, CallId, userinfo, without_userinfo};
use crate::event::{CALL_CREATED, Event, Events};

/// How long a writer waits for another process, such as `callvine keys create` beside `callvine up`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers besides the one writer; enough for the console and `GET /calls/ID`.
const READING_CONNECTIONS: u32 = 4;

/// Rows of one `insert … values`: a batch is cut into the largest of these that fit, so that only three statements a
/// table are ever prepared. The largest stays far below SQLite's 32,766 parameters.
const CHUNKS: [usize; 3] = [64, 8, 1];

/// The reading and the writing pool, in this order.
pub(super) async fn pools(url: &str) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| StoreError::Url(error.to_string()))?
        .create_if_missing(true)
        // Readers don't wait for the writer, and a commit is one append to the log.
        .journal_mode(SqliteJournalMode::Wal)
        // The log is on disk before a commit returns. With WAL, `normal` may lose the last commits on power loss, and
        // what was answered 201 must not be lost.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone())
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(READING_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.create_if_missing(false).read_only(true));
    Ok((read, write))
}

pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    super::run_migrations(sqlx::migrate!("../migrations/sqlite"), &mut *connection).await
}

/// A call on its way into its three tables.
struct Row<'a> {
    call: Call,
    client: &'a str,
    event: Event,
}

pub(super) async fn insert_calls(
    pool: &SqlitePool,
    events: Events,
    received: &[ReceivedCall],
    now: DateTime<Utc>,
) -> Result<Vec<CallId>, StoreError> {
    let mut tx = pool.begin_with("begin immediate").await?;
    // Inside the transaction nobody else writes, so the ids that follow are free. The table remembers the largest id
    // ever used, erased ones too.
    let last: i64 =
        sqlx::query_scalar("select coalesce((select seq from sqlite_sequence where name = 'call_logs'), 0)")
            .fetch_one(&mut *tx)
            .await?;
    let rows: Vec<Row<'_>> = (last + 1..)
        .zip(received)
        .map(|(id, received)| {
            let call = Call { id: CallId(id), call: received.call.clone(), created_at: received.created_at };
            Row { event: events.call_created(&call), client: &received.client, call }
        })
        .collect();
    let mut rest = rows.as_slice();
    for statements in STATEMENTS.iter() {
        while let Some((chunk, others)) = rest.split_at_checked(statements.rows) {
            statements.insert(&mut tx, chunk, now).await?;
            rest = others;
        }
    }
    tx.commit().await?;
    Ok(rows.iter().map(|row| row.call.id).collect())
}

static STATEMENTS: LazyLock<[Statements; CHUNKS.len()]> = LazyLock::new(|| CHUNKS.map(Statements::new));

/// The three inserts for a number of rows.
struct Statements {
    rows: usize,
    calls: String,
    recordings: String,
    outbox: String,
}

impl Statements {
    fn new(rows: usize) -> Self {
        let insert = |table: &str, columns: &[&str]| {
            let row = |row: usize| {
                let parameters: Vec<String> =
                    (1..=columns.len()).map(|column| format!("${}", row * columns.len() + column)).collect();
                format!("({})", parameters.join(", "))
            };
            let values: Vec<String> = (0..rows).map(row).collect();
            format!("insert into {table} ({}) values {}", columns.join(", "), values.join(", "))
        };
        Self {
            rows,
            calls: insert(
                "call_logs",
                &[
                    "id",
                    "client",
                    "from_phone",
                    "to_phone",
                    "handled_by",
                    "department",
                    "start_time",
                    "end_time",
                    "recording_url",
                    "title",
                    "created_at",
                ],
            ),
            recordings: insert("recordings", &["call_id", "url_userinfo"]),
            outbox: insert("outbox", &["event_id", "routing_key", "body", "available_at", "created_at"]),
        }
    }

    async fn insert(
        &'static self,
        tx: &mut Transaction<'_, Sqlite>,
        rows: &[Row<'_>],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut calls = sqlx::query(self.calls.as_str());
        let mut recordings = sqlx::query(self.recordings.as_str());
        let mut outbox = sqlx::query(self.outbox.as_str());
        for Row { call: Call { id, call, created_at }, client, event } in rows {
            calls = calls
                .bind(id.0)
                .bind(*client)
                .bind(&call.from_phone)
                .bind(&call.to_phone)
                .bind(&call.handled_by)
                .bind(&call.department)
                .bind(call.start_time)
                .bind(call.end_time)
                .bind(without_userinfo(&call.recording_url))
                .bind(call.title())
                .bind(super::seconds(*created_at));
            recordings = recordings.bind(id.0).bind(userinfo(&call.recording_url));
            outbox = outbox
                .bind(event.id.to_string())
                .bind(CALL_CREATED)
                .bind(&event.body)
                .bind(now.timestamp_micros())
                .bind(now.timestamp_micros());
        }
        calls.execute(&mut **tx).await?;
        recordings.execute(&mut **tx).await?;
        outbox.execute(&mut **tx).await?;
        Ok(())
    }
}

/// One writer at a time, so there is nothing to skip.
pub(super) async fn claim_due(
    pool: &SqlitePool,
    now: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = sqlx::query_as(
        "update outbox set available_at = $2
         where id in (select id from outbox where available_at <= $1 order by available_at, id limit $3)
         returning id, event_id, routing_key, queue, body",
    )
    .bind(now.timestamp_micros())
    .bind((now + LEASE).timestamp_micros())
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    Ok(rows)
}
