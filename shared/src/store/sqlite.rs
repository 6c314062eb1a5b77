//! What only SQLite needs: its pools, migrations, and the statements that PostgreSQL would write otherwise.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::calls::{Inserted, Stamps, runs};
use super::outbox::{LEASE, Row};
use super::{ACQUIRE_TIMEOUT, ReceivedCall, StoreError};
use crate::call::{CallId, userinfo, without_userinfo};
use crate::event::CALL_CREATED;

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
        // Looked at when it is given back.
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_reusable(connection)))
        .connect_with(options.clone())
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(READING_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.create_if_missing(false).read_only(true));
    Ok((read, write))
}

/// Whether no transaction is left open on a connection that is given back; else it is replaced.
///
/// When the disk is full, SQLite itself rolls a transaction back. The rollback that follows then fails, and sqlx takes
/// the transaction for open ever after: no other could begin on the one connection that writes.
async fn is_reusable(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // What was sent to the connection before, a rollback for one, is done when the ping is.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let mut connection = pool.acquire().await?;
    super::run_migrations(sqlx::migrate!("../migrations/sqlite"), &mut *connection).await
}

pub(super) async fn insert_calls(
    pool: &SqlitePool,
    received: &[ReceivedCall],
    stamps: Stamps,
) -> Result<Inserted, StoreError> {
    let mut tx = pool.begin_with("begin immediate").await?;
    // Inside the transaction nobody else writes, so the ids that follow are free. The table remembers the largest id
    // ever used, erased ones too.
    let last: i64 =
        sqlx::query_scalar("select coalesce((select seq from sqlite_sequence where name = 'call_logs'), 0)")
            .fetch_one(&mut *tx)
            .await?;
    let rows: Vec<(CallId, &ReceivedCall)> = (last + 1..).map(CallId).zip(received).collect();
    let mut rest = rows.as_slice();
    for statements in STATEMENTS.iter() {
        while let Some((chunk, others)) = rest.split_at_checked(statements.rows) {
            statements.insert(&mut tx, chunk).await?;
            rest = others;
        }
    }
    let ids: Vec<CallId> = rows.iter().map(|(id, _)| *id).collect();
    let mut outbox_ids = Vec::with_capacity(1);
    for (first, last) in runs(&ids) {
        let id = sqlx::query_scalar(
            "insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
             values ($1, $2, $3, $4, $5) returning id",
        )
        .bind(CALL_CREATED)
        .bind(first)
        .bind(last)
        .bind(stamps.available_at_us)
        .bind(stamps.now_us)
        .fetch_one(&mut *tx)
        .await?;
        outbox_ids.push(id);
    }
    tx.commit().await?;
    Ok(Inserted { ids, outbox_ids })
}

static STATEMENTS: LazyLock<[Statements; CHUNKS.len()]> = LazyLock::new(|| CHUNKS.map(Statements::new));

/// The two inserts for a number of rows.
struct Statements {
    rows: usize,
    calls: String,
    recordings: String,
}

impl Statements {
    fn new(rows: usize) -> Self {
        let insert = |into: &str, parameters: usize, values: &dyn Fn(usize) -> String| {
            let rows: Vec<String> = (0..rows).map(|row| values(row * parameters + 1)).collect();
            format!("insert into {into} values {}", rows.join(", "))
        };
        Self {
            rows,
            calls: insert(
                "call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                            recording_url, created_at, title)",
                10,
                &|first| {
                    let [id, client, from, to, by, department, start, end, url, at] =
                        std::array::from_fn(|column| format!("${}", first + column));
                    let title =
                        format!("'Call from ' || {from} || ' to ' || {to} || ' (handled by ' || {by} || ')'");
                    format!(
                        "({id}, {client}, {from}, {to}, {by}, {department}, {start}, {end}, {url}, {at}, {title})"
                    )
                },
            ),
            recordings: insert("recordings (call_id, url_userinfo)", 2, &|first| {
                format!("(${first}, ${})", first + 1)
            }),
        }
    }

    async fn insert(
        &'static self,
        tx: &mut Transaction<'_, Sqlite>,
        rows: &[(CallId, &ReceivedCall)],
    ) -> Result<(), StoreError> {
        let mut calls = sqlx::query(self.calls.as_str());
        let mut recordings = sqlx::query(self.recordings.as_str());
        for (id, ReceivedCall { client, call, created_at }) in rows {
            calls = calls
                .bind(id.0)
                .bind(client.as_ref())
                .bind(&call.from_phone)
                .bind(&call.to_phone)
                .bind(&call.handled_by)
                .bind(&call.department)
                .bind(call.start_time)
                .bind(call.end_time)
                .bind(without_userinfo(&call.recording_url))
                .bind(super::seconds(*created_at));
            recordings = recordings.bind(id.0).bind(userinfo(&call.recording_url));
        }
        calls.execute(&mut **tx).await?;
        recordings.execute(&mut **tx).await?;
        Ok(())
    }
}

/// One writer at a time, so there is nothing to skip.
pub(super) async fn claim_due(
    pool: &SqlitePool,
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
    .fetch_all(pool)
    .await?;
    Ok(rows)
}
