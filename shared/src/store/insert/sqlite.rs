//! A batch of calls into SQLite: one transaction by one statement text.
//!
//! SQLite runs on a thread of its own, and every statement sent there is two switches to it and back, between which
//! nothing is stored. So a batch's transaction is sent as a whole, from its `begin` to its `commit`.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqlitePool};

use super::batch::{Inserted, ReceivedCall, Stamps};
use crate::call::{CallId, time_text, userinfo, without_userinfo};
use crate::event::CALL_CREATED;
use crate::store::StoreError;
use crate::store::dialect::seconds;

/// The numbers of rows for which a text is prepared; a batch takes the smallest that it fits in, padded with nulls.
const SIZES: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, LARGEST];

/// Rows of one insert at most; a larger batch has several. Eleven parameters a row stay far below SQLite's 32,766.
const LARGEST: usize = 512;

pub(super) async fn insert_calls(
    pool: &SqlitePool,
    received: &[ReceivedCall],
    stamps: Stamps,
) -> Result<Inserted, StoreError> {
    let mut insert = match TEXTS.iter().find(|(rows, _)| *rows >= received.len()) {
        Some((_, text)) => sqlx::query(text.as_str()),
        None => {
            let sizes: Vec<usize> = received.chunks(LARGEST).map(|calls| size_of(calls.len())).collect();
            sqlx::query(AssertSqlSafe(transaction(&sizes))).persistent(false)
        }
    };
    for calls in received.chunks(LARGEST) {
        insert = bind(insert, calls, stamps);
    }
    let mut transaction = Transaction::on(pool.acquire().await?);
    let made = transaction.run(insert).await?;
    let mut inserted = Inserted { ids: Vec::with_capacity(received.len()), outbox_ids: Vec::new() };
    for row in made {
        inserted.outbox_ids.push(row.try_get(0)?);
        let ids: RangeInclusive<i64> = row.try_get(1)?..=row.try_get(2)?;
        inserted.ids.extend(ids.map(CallId));
    }
    Ok(inserted)
}

/// A connection on which a transaction may be open that sqlx does not see: it is not used again before the transaction is
/// known to have ended.
struct Transaction(Option<PoolConnection<Sqlite>>);

impl Transaction {
    fn on(connection: PoolConnection<Sqlite>) -> Self {
        Self(Some(connection))
    }

    /// Runs a whole transaction; when it fails, it is rolled back.
    async fn run(&mut self, text: Query<'_, Sqlite, SqliteArguments>) -> Result<Vec<SqliteRow>, StoreError> {
        let connection = self.0.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let result = text.fetch_all(&mut **connection).await;
        // After some errors, a full disk for one, SQLite has rolled back by itself.
        let has_ended = match &result {
            Ok(_) => true,
            Err(_) => match sqlx::query("rollback").execute(&mut **connection).await {
                Ok(_) => true,
                Err(error) => {
                    error.as_database_error().is_some_and(|error| error.message().contains(NONE_OPEN))
                }
            },
        };
        if has_ended {
            self.0 = None;
        }
        Ok(result?)
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

type Insert<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Binds at most [`LARGEST`] calls to the parameters of one insert.
fn bind<'q>(mut insert: Insert<'q>, calls: &'q [ReceivedCall], stamps: Stamps) -> Insert<'q> {
    let padding = size_of(calls.len()) - calls.len();
    for (number, ReceivedCall { client, env, call, created_at }) in (1_i64..).zip(calls) {
        insert = insert
            .bind(number)
            .bind(client.as_ref())
            .bind(&call.from_phone)
            .bind(&call.to_phone)
            .bind(&call.handled_by)
            .bind(&call.department)
            .bind(time_text(call.start_time))
            .bind(time_text(call.end_time))
            .bind(without_userinfo(&call.recording_url))
            .bind(time_text(seconds(*created_at)))
            .bind(env.name());
    }
    insert = bind_nulls(insert, padding * 11);
    // Numbers as offsets from the end: the calls have their ids by then.
    for (left, received) in (0..calls.len()).rev().zip(calls) {
        insert = insert.bind(i64::try_from(left).ok()).bind(userinfo(&received.call.recording_url));
    }
    insert = bind_nulls(insert, padding * 2);
    let others = i64::try_from(calls.len()).unwrap_or(i64::MAX) - 1;
    insert.bind(CALL_CREATED).bind(others).bind(stamps.available_at_us).bind(stamps.now_us)
}

fn bind_nulls(mut insert: Insert<'_>, count: usize) -> Insert<'_> {
    for _ in 0..count {
        insert = insert.bind(None::<i64>);
    }
    insert
}

/// Rows of the insert for so many calls, [`LARGEST`] at most.
fn size_of(calls: usize) -> usize {
    SIZES.into_iter().find(|rows| *rows >= calls).unwrap_or(LARGEST)
}

/// The transactions with one insert of each of the [`SIZES`].
static TEXTS: LazyLock<[(usize, String); SIZES.len()]> =
    LazyLock::new(|| SIZES.map(|rows| (rows, transaction(&[rows]))));

fn transaction(sizes: &[usize]) -> String {
    let inserts: Vec<String> = sizes.iter().map(|rows| insert(*rows)).collect();
    // Immediate: it waits for another process's turn now, and has no reason to fail later.
    format!("begin immediate; {}; commit", inserts.join("; "))
}

/// Stores so many calls; returns the row of the outbox, and the first and the last id.
///
/// `sqlite_sequence` remembers the largest id that a call ever had, erased ones too; no other connection writes during
/// the transaction, so those that follow are free. Parameters have no names: SQLite would look each up in a list of all.
fn insert(rows: usize) -> String {
    const LAST: &str = "(select seq from sqlite_sequence where name = 'call_logs')";
    let values = |row: &str| vec![row; rows].join(", ");
    format!(
        "insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                                recording_url, created_at, env, title)
         select coalesce({LAST}, 0) + column1, column2, column3, column4, column5, column6, column7, column8, column9,
                column10, column11, 'Call from ' || column3 || ' to ' || column4 || ' (handled by ' || column5 || ')'
         from (values {}) where column1 is not null;
         insert into recordings (call_id, url_userinfo)
         select {LAST} - column1, column2 from (values {}) where column1 is not null;
         insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
         values (?, {LAST} - ?, {LAST}, ?, ?) returning id, first_call_id, last_call_id",
        values("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        values("(?, ?)"),
    )
}
