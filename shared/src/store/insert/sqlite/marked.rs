//! A batch with marked calls: the marks are read first, and written with the calls.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::{Row as _, SqlitePool};

use super::{BEGIN, LAST, SIZES, Texts, Transaction, insert_of, inserts, made};
use crate::call::CallId;
use crate::idempotency::{Mark, Sha256Bytes};
use crate::store::StoreError;
use crate::store::insert::batch::{Inserted, ReceivedCall, Stamps};
use crate::store::insert::marks::{Held, Holder, firsts, sha256};

/// Begins a transaction, in which no other connection writes, and reads the marks that are there.
static HOLDERS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{BEGIN}; select mark, body_sha256, call_id, received_at, expires_at from idempotency_marks
         where mark in (select unhex(value) from json_each(?))"
    )
});

/// The rest of the transaction, with one insert.
static TEXTS: Texts = LazyLock::new(|| SIZES.map(|rows| (rows, rest_of_transaction(&[rows]))));

/// An expired mark is replaced. The calls have their ids by then, so a mark has its call's as an offset from the last.
fn rest_of_transaction(sizes: &[usize]) -> String {
    format!(
        "{}; insert or replace into idempotency_marks (mark, body_sha256, call_id, received_at, expires_at)
         select unhex(value ->> 0), unhex(value ->> 1), {LAST} - (value ->> 2), value ->> 3, value ->> 4
         from json_each(?); commit",
        inserts(sizes)
    )
}

pub(super) async fn insert_calls(
    pool: &SqlitePool,
    received: &[ReceivedCall],
    stamps: Stamps,
) -> Result<Inserted, StoreError> {
    let calls = firsts(received);
    let mut transaction = Transaction::on(pool.acquire().await?);
    let held = held(&mut transaction, &calls).await?;
    let fresh: Vec<&ReceivedCall> = calls.into_iter().filter(|call| !held.has(call)).collect();
    if fresh.is_empty() {
        transaction.end_with(sqlx::query("rollback")).await?;
        return Ok(Inserted { outcomes: held.outcomes(received, [])?, outbox_ids: Vec::new() });
    }
    let insert = insert_of(&fresh, stamps, &TEXTS, rest_of_transaction).bind(marks_of(&fresh)?);
    let (ids, outbox_ids) = made(&transaction.end_with(insert).await?)?;
    Ok(Inserted { outcomes: held.outcomes(received, ids)?, outbox_ids })
}

/// The marks of these calls that earlier calls hold.
async fn held(transaction: &mut Transaction, calls: &[&ReceivedCall]) -> Result<Held, StoreError> {
    let asked: HashMap<Sha256Bytes, i64> = calls
        .iter()
        .filter_map(|call| call.mark.as_deref())
        .map(|mark| (mark.mark, mark.received_at.timestamp_micros()))
        .collect();
    let digits: Vec<String> = asked.keys().map(hex::encode).collect();
    let rows = transaction.run(sqlx::query(HOLDERS.as_str()).bind(json(&digits)?)).await?;
    let mut held = Held::default();
    for row in rows {
        let mark = sha256(row.try_get("mark")?)?;
        let expires_at_us: i64 = row.try_get("expires_at")?;
        if asked.get(&mark).is_some_and(|received_at_us| expires_at_us <= *received_at_us) {
            continue;
        }
        let body_sha256: Option<&[u8]> = row.try_get("body_sha256")?;
        let holder = Holder {
            call_id: CallId(row.try_get("call_id")?),
            body_sha256: body_sha256.map(sha256).transpose()?,
            received_at_us: row.try_get("received_at")?,
        };
        held.insert(mark, holder);
    }
    Ok(held)
}

/// The rows of the marks: mark, hash of the body, offset of the call from the last, and the two times.
fn marks_of(calls: &[&ReceivedCall]) -> Result<String, StoreError> {
    let rows: Vec<_> = (0..calls.len())
        .rev()
        .zip(calls)
        .filter_map(|(offset, call)| {
            let Mark { mark, body_sha256, received_at, expires_at } = call.mark.as_deref()?;
            let (mark, body_sha256) = (hex::encode(mark), body_sha256.map(hex::encode));
            Some((mark, body_sha256, offset, received_at.timestamp_micros(), expires_at.timestamp_micros()))
        })
        .collect();
    json(&rows)
}

/// SQLite binds no arrays; it takes a list as a JSON array, and bytes as hexadecimal digits.
fn json(list: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| sqlx::Error::Encode(Box::new(error)).into())
}
