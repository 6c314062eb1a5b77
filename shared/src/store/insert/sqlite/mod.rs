//! A batch of calls into SQLite: one transaction by one statement text, or two when calls are marked.
//!
//! SQLite runs on a thread of its own, and every statement sent there is two switches to it and back, between which
//! nothing is stored. So a batch's transaction is sent as a whole, from its `begin` to its `commit`.

mod marked;
mod transaction;

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqlitePool};

use self::transaction::Transaction;
use super::batch::{Inserted, Outcome, ReceivedCall, Stamps};
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
    if received.iter().any(|call| call.mark.is_some()) {
        return marked::insert_calls(pool, received, stamps).await;
    }
    let calls: Vec<&ReceivedCall> = received.iter().collect();
    let insert = insert_of(&calls, stamps, &TEXTS, transaction);
    let rows = Transaction::on(pool.acquire().await?).end_with(insert).await?;
    let (ids, outbox_ids) = made(&rows)?;
    Ok(Inserted { outcomes: ids.into_iter().map(Outcome::New).collect(), outbox_ids })
}

/// The text that stores these calls, with their parameters: one of the `prepared` ones, or for more calls than those have
/// one that is made now.
fn insert_of<'q>(
    calls: &[&'q ReceivedCall],
    stamps: Stamps,
    prepared: &'static Texts,
    make: fn(&[usize]) -> String,
) -> Insert<'q> {
    let mut insert = match prepared.iter().find(|(rows, _)| *rows >= calls.len()) {
        Some((_, text)) => sqlx::query(text.as_str()),
        None => {
            let sizes: Vec<usize> = calls.chunks(LARGEST).map(|calls| size_of(calls.len())).collect();
            sqlx::query(AssertSqlSafe(make(&sizes))).persistent(false)
        }
    };
    for calls in calls.chunks(LARGEST) {
        insert = bind(insert, calls, stamps);
    }
    insert
}

/// The ids of the calls that an insert has made, and those of the outbox rows.
fn made(rows: &[SqliteRow]) -> Result<(Vec<CallId>, Vec<i64>), StoreError> {
    let (mut ids, mut outbox_ids) = (Vec::new(), Vec::with_capacity(rows.len()));
    for row in rows {
        outbox_ids.push(row.try_get(0)?);
        let run: RangeInclusive<i64> = row.try_get(1)?..=row.try_get(2)?;
        ids.extend(run.map(CallId));
    }
    Ok((ids, outbox_ids))
}

type Insert<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Binds at most [`LARGEST`] calls to the parameters of one insert.
fn bind<'q>(mut insert: Insert<'q>, calls: &[&'q ReceivedCall], stamps: Stamps) -> Insert<'q> {
    let padding = size_of(calls.len()) - calls.len();
    for (number, ReceivedCall { client, env, call, created_at, .. }) in (1_i64..).zip(calls) {
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

/// A text for each of the [`SIZES`].
type Texts = LazyLock<[(usize, String); SIZES.len()]>;

/// The transactions with one insert.
static TEXTS: Texts = LazyLock::new(|| SIZES.map(|rows| (rows, transaction(&[rows]))));

fn transaction(sizes: &[usize]) -> String {
    format!("{BEGIN}; {}; commit", inserts(sizes))
}

/// Immediate: it waits for another process's turn now, and has no reason to fail later.
const BEGIN: &str = "begin immediate";

fn inserts(sizes: &[usize]) -> String {
    sizes.iter().map(|rows| insert(*rows)).collect::<Vec<_>>().join("; ")
}

/// The largest id that a call ever had, erased ones too: no other connection writes during the transaction, so those that
/// follow are free.
const LAST: &str = "(select seq from sqlite_sequence where name = 'call_logs')";

/// Stores so many calls; returns the row of the outbox, and the first and the last id.
///
/// Parameters have no names: SQLite would look each up in a list of all.
fn insert(rows: usize) -> String {
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
