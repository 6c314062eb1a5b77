//! A batch of calls into SQLite, by one statement text.

use std::sync::LazyLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use crate::call::{CallId, time_text, userinfo, without_userinfo};
use crate::event::CALL_CREATED;
use crate::store::calls::{Inserted, Stamps};
use crate::store::{ReceivedCall, StoreError, seconds};

/// Rows of the texts that batches are stored by: the smallest that a batch fits in, padded with nulls. So only so many
/// are ever prepared, and one is executed, which costs two switches to and from the thread that SQLite runs on.
const SIZES: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, LARGEST];

/// A larger batch is cut. Twelve parameters a row stay far below SQLite's 32,766.
const LARGEST: usize = 512;

pub(in crate::store) async fn insert_calls(
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
    let ids: Vec<CallId> = (last + 1..).map(CallId).take(received.len()).collect();
    let mut outbox_ids = Vec::with_capacity(1);
    for (ids, calls) in ids.chunks(LARGEST).zip(received.chunks(LARGEST)) {
        outbox_ids.push(insert(&mut tx, (ids, calls), stamps).await?);
    }
    tx.commit().await?;
    Ok(Inserted { ids, outbox_ids })
}

/// Stores at most [`LARGEST`] calls with their ids; returns the row of the outbox.
async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    (ids, calls): (&[CallId], &[ReceivedCall]),
    stamps: Stamps,
) -> Result<i64, StoreError> {
    let [.., largest] = &*TEXTS;
    let (rows, text) = TEXTS.iter().find(|(rows, _)| *rows >= calls.len()).unwrap_or(largest);
    let padding = rows - calls.len();
    let mut insert = sqlx::query(text.as_str());
    for (id, ReceivedCall { client, call, created_at }) in ids.iter().zip(calls) {
        insert = insert
            .bind(id.0)
            .bind(client.as_ref())
            .bind(&call.from_phone)
            .bind(&call.to_phone)
            .bind(&call.handled_by)
            .bind(&call.department)
            .bind(time_text(call.start_time))
            .bind(time_text(call.end_time))
            .bind(without_userinfo(&call.recording_url))
            .bind(time_text(seconds(*created_at)));
    }
    insert = bind_nulls(insert, padding * 10);
    for (id, received) in ids.iter().zip(calls) {
        insert = insert.bind(id.0).bind(userinfo(&received.call.recording_url));
    }
    insert = bind_nulls(insert, padding * 2);
    let [first, last] = [ids.first(), ids.last()].map(|id| id.map(|id| id.0));
    insert = insert.bind(CALL_CREATED).bind(first).bind(last);
    // All rows: what is left unread of a statement is not carried through.
    let made = insert.bind(stamps.available_at_us).bind(stamps.now_us).fetch_all(&mut **tx).await?;
    let outbox_row = made.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(outbox_row.try_get(0)?)
}

type Insert<'q> = Query<'q, Sqlite, SqliteArguments>;

fn bind_nulls(mut insert: Insert<'_>, count: usize) -> Insert<'_> {
    for _ in 0..count {
        insert = insert.bind(None::<i64>);
    }
    insert
}

/// The inserts for each of the [`SIZES`].
static TEXTS: LazyLock<[(usize, String); SIZES.len()]> =
    LazyLock::new(|| SIZES.map(|rows| (rows, text(rows))));

/// Parameters have no names: SQLite would look each up in a list of all.
fn text(rows: usize) -> String {
    let values = |row: &str| vec![row; rows].join(", ");
    format!(
        "insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                                recording_url, created_at, title)
         select *, 'Call from ' || column3 || ' to ' || column4 || ' (handled by ' || column5 || ')'
         from (values {}) where column1 is not null;
         insert into recordings (call_id, url_userinfo)
         select * from (values {}) where column1 is not null;
         insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
         values (?, ?, ?, ?, ?) returning id",
        values("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        values("(?, ?)"),
    )
}
