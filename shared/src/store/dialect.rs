//! How one text of SQL, and one method, serves both databases.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use super::StoreError;
use crate::names::UnknownName;

/// Runs the body for the backend that there is, with its concrete pool, and on PostgreSQL within the pool's deadline (see
/// [`super::postgres::ReplaceablePool`]). A function can't: the two pools have no common type, and sqlx's `Any` lacks timestamps.
macro_rules! by_database {
    ($pool:expr, $p:ident => { postgres: $postgres:expr, sqlite: $sqlite:expr $(,)? }) => {
        match &$pool {
            $crate::store::Pool::Postgres(pool) => {
                let generation = pool.current();
                let $p = &generation.pool;
                pool.watch(&generation, async { Ok::<_, $crate::store::StoreError>($postgres) }).await?
            }
            $crate::store::Pool::Sqlite($p) => $sqlite,
        }
    };
}

/// Runs `$body` with the concrete pool of either backend. The statement must be text that both understand: `$1` binds,
/// `returning`, `on conflict`, and times as parameters rather than `now()`.
macro_rules! with_pool {
    ($pool:expr, $p:ident => $body:expr) => {
        $crate::store::dialect::by_database!($pool, $p => { postgres: $body, sqlite: $body })
    };
}

/// Runs `$body`, which is one writing statement, on PostgreSQL's pool, or on SQLite's connection when it is this caller's
/// turn (see [`super::sqlite::Turns`]). The body must not ask for another turn: it
/// would wait for itself.
macro_rules! with_writer {
    ($store:expr, $p:ident => $body:expr) => {
        $crate::store::dialect::with_writer!($store.write, $store, $p => { postgres: $body, sqlite: $body })
    };
    ($pool:expr, $store:expr, $p:ident => { postgres: $postgres:expr, sqlite: $sqlite:expr $(,)? }) => {
        $crate::store::dialect::by_database!($pool, $p => {
            postgres: $postgres,
            sqlite: $store.turns.take($p, async |$p| Ok($sqlite)).await?,
        })
    };
}

/// Runs `$body` in one transaction of the writing pool. The body says how it ends, by [`Ending`]; an error rolls back. As
/// with [`with_writer`], it must not ask for a turn, and it has no `return`, which would leave a block that the reader
/// can't see. A commit wakes the relay, so whatever writes the outbox does it in here.
macro_rules! with_transaction {
    ($store:expr, $tx:ident => $body:expr) => {{
        let ending = $crate::store::dialect::by_database!($store.write, pool => {
            postgres: {
                let mut $tx = pool.begin().await?;
                let ending = $body;
                match &ending {
                    $crate::store::dialect::Ending::Commit(_) => $tx.commit().await?,
                    $crate::store::dialect::Ending::Leave(_) => $tx.rollback().await?,
                }
                ending
            },
            sqlite: $store.turns.take_transaction(pool, async |$tx| Ok($body)).await?,
        });
        match ending {
            $crate::store::dialect::Ending::Commit(out) => {
                $store.outbox_written.notify_one();
                out
            }
            $crate::store::dialect::Ending::Leave(out) => out,
        }
    }};
}

/// Declares the columns of a result, and reads a row of either database by their names. sqlx's derive does the same, but
/// builds sqlx, tokio and rustls a second time, for the compiler.
macro_rules! columns {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $type,)+
        }
        $crate::store::dialect::columns!(@read sqlx::postgres::PgRow, $name { $($field,)+ });
        $crate::store::dialect::columns!(@read sqlx::sqlite::SqliteRow, $name { $($field,)+ });
    };
    (@read $row:ty, $name:ident { $($field:ident,)+ }) => {
        impl<'r> sqlx::FromRow<'r, $row> for $name {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self { $($field: row.try_get(stringify!($field))?,)+ })
            }
        }
    };
}

pub(super) use {by_database, columns, with_pool, with_transaction, with_writer};

/// How the body of a transaction ends.
pub(super) enum Ending<T> {
    /// The rows that it has written stay.
    Commit(T),
    /// The rows that it has written are rolled back.
    Leave(T),
}

/// SQLite binds no arrays; it takes a list as a JSON array.
pub(super) fn json_array(ids: &[i64]) -> String {
    let digits: Vec<String> = ids.iter().map(i64::to_string).collect();
    format!("[{}]", digits.join(","))
}

/// `now` as whole seconds without a zone, as the columns that people read hold it.
pub(super) fn seconds(now: DateTime<Utc>) -> NaiveDateTime {
    DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now).naive_utc()
}

/// As [`seconds`], between 1970 and 9999: SQLite compares times as text, which fails beyond four digits of the year.
pub(super) fn within_years(at: DateTime<Utc>) -> NaiveDateTime {
    let last =
        NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default().and_hms_opt(23, 59, 59).unwrap_or_default();
    seconds(at).clamp(NaiveDateTime::default(), last)
}

/// A time that code compares: microseconds since 1970 UTC.
pub(super) fn from_us(us: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(us)
}

/// A published name, as a column holds it.
///
/// # Errors
/// [`StoreError::Mismatch`] when no variant has it.
pub(super) fn parsed<T: FromStr<Err = UnknownName>>(name: &str) -> Result<T, StoreError> {
    name.parse().map_err(|error: UnknownName| sqlx::Error::Decode(Box::new(error)).into())
}
