//! The outbox: messages to be published. Rows come in with the change that they tell of, in its transaction, and leave when
//! the bus has confirmed them.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::calls::CallRow;
use super::dialect::{columns, from_us, json_array, with_pool, with_writer};
use super::{Store, StoreError};
use crate::call::{Call, CallId};
use crate::queue::{Message, QueueName};

/// A claimed row is left alone for this long. Longer than a publish may take, so that a slow one isn't published twice;
/// short, because the rows of a relay that was killed wait for it to end.
pub const LEASE: Duration = Duration::from_secs(8);

const SELECT_CALLS: &str = "select id, from_phone, to_phone, handled_by, department, start_time, end_time,
    recording_url, created_at, env from call_logs where id between $1 and $2 order by id";

/// Claims rows that are due. A macro, because `concat!` takes literals alone.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "update outbox set available_at = $2
             where id in (select id from outbox where available_at <= $1 order by available_at, id limit $3",
            $lock,
            ") returning id, routing_key, queue, event_id, body, first_call_id, last_call_id"
        )
    };
}

/// Puts an event into the outbox: for every queue that is bound to it, or for one queue alone. A function can't: the two
/// databases' transactions have no common type.
macro_rules! insert_event {
    ($tx:ident, $event:expr, $queue:expr, $available_at:expr, $now:expr) => {{
        let event = &$event;
        let queue: Option<$crate::queue::Queue> = $queue;
        sqlx::query(
            "insert into outbox (event_id, routing_key, queue, body, available_at, created_at)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(event.id.to_string())
        .bind(event.routing_key)
        .bind(queue.map($crate::queue::Queue::name))
        .bind(&event.body)
        .bind($available_at.timestamp_micros())
        .bind($now.timestamp_micros())
        .execute(&mut *$tx)
        .await?;
    }};
}

pub(super) use insert_event;

/// A claimed row.
#[derive(Clone, Debug)]
pub struct OutboxRow {
    /// The row's id, not an event's.
    pub id: i64,
    /// The messages that it stands for.
    pub content: OutboxContent,
}

/// The content of an outbox row.
#[derive(Clone, Debug)]
pub enum OutboxContent {
    /// One message with its body.
    Message(Message),
    /// `call.created` of every call from the first to the last of these ids.
    CallsCreated(CallId, CallId),
}

columns! {
    struct Row {
        id: i64,
        routing_key: String,
        queue: Option<String>,
        event_id: Option<String>,
        body: Option<String>,
        first_call_id: Option<i64>,
        last_call_id: Option<i64>,
    }
}

impl Row {
    /// `None`: neither one message nor a range of calls, which the table's checks forbid. A newer version wrote it, and
    /// publishes it.
    fn into_outbox_row(self) -> Option<OutboxRow> {
        let content = match (self.event_id, self.body, self.first_call_id, self.last_call_id) {
            (Some(event_id), Some(body), None, None) => {
                let queue = self.queue.map(QueueName::from);
                OutboxContent::Message(Message {
                    event_id,
                    routing_key: self.routing_key.into(),
                    queue,
                    body,
                })
            }
            (None, None, Some(first), Some(last)) => OutboxContent::CallsCreated(CallId(first), CallId(last)),
            _ => {
                tracing::warn!("row {} of the outbox is of a kind that only a newer version knows", self.id);
                return None;
            }
        };
        Some(OutboxRow { id: self.id, content })
    }
}

impl Store {
    /// Claims up to `limit` rows that are due, those that have waited longest first, for [`LEASE`].
    ///
    /// Claims are leases and never a "last id seen": ids become visible out of order, and a cursor would step over a row
    /// that commits late.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn claim_due(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<OutboxRow>, StoreError> {
        let text = self.locking(claim!(" for update skip locked"), claim!(""));
        let rows: Vec<Row> = with_writer!(self, pool => {
            sqlx::query_as(text)
                .bind(now.timestamp_micros())
                .bind((now + LEASE).timestamp_micros())
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await?
        });
        Ok(rows.into_iter().filter_map(Row::into_outbox_row).collect())
    }

    /// `call.created` of every call from the first to the last of these ids. Calls that were erased meanwhile have none.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn messages_of_calls(&self, first: CallId, last: CallId) -> Result<Vec<Message>, StoreError> {
        let calls: Vec<CallRow> = with_pool!(self.read, pool => {
            sqlx::query_as(SELECT_CALLS).bind(first.0).bind(last.0).fetch_all(pool).await?
        });
        let calls: Vec<Call> = calls.into_iter().map(CallRow::into_call).collect::<Result<_, _>>()?;
        self.messages_created(&calls).await
    }

    /// The `call.created` of each call.
    pub(crate) async fn messages_created(&self, calls: &[Call]) -> Result<Vec<Message>, StoreError> {
        let events = self.events().await?;
        Ok(calls.iter().map(|call| events.call_created(call).into()).collect())
    }

    /// Removes rows whose publishing was confirmed.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written; the rows are then published again when their lease ends.
    pub async fn remove_published(&self, ids: &[i64]) -> Result<(), StoreError> {
        with_writer!(self.unsynced, self, pool => {
            postgres: {
                let delete = sqlx::query("delete from outbox where id = any($1)").bind(ids);
                self.settling.run(pool, async |connection| Ok(delete.execute(connection).await?)).await?;
            },
            sqlite: {
                sqlx::query("delete from outbox where id in (select value from json_each($1))")
                    .bind(json_array(ids))
                    .execute(pool)
                    .await?;
            },
        });
        Ok(())
    }

    /// Makes claimed rows due again at `at`.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written; the rows then become due when their lease ends.
    pub async fn release_unpublished(&self, ids: &[i64], at: DateTime<Utc>) -> Result<(), StoreError> {
        let at_us = at.timestamp_micros();
        with_writer!(self.write, self, pool => {
            postgres: {
                sqlx::query("update outbox set available_at = $2 where id = any($1)")
                    .bind(ids)
                    .bind(at_us)
                    .execute(pool)
                    .await?;
            },
            sqlite: {
                sqlx::query(
                    "update outbox set available_at = $2 where id in (select value from json_each($1))",
                )
                .bind(json_array(ids))
                .bind(at_us)
                .execute(pool)
                .await?;
            },
        });
        self.outbox_written.notify_one();
        Ok(())
    }

    /// When the next row becomes due; `None` when the outbox is empty.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at_us: Option<i64> = with_pool!(self.read, pool => {
            sqlx::query_scalar("select min(available_at) from outbox").fetch_one(pool).await?
        });
        Ok(at_us.and_then(from_us))
    }

    /// Rows in the outbox, and when the oldest of them was written.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn outbox_backlog(&self) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
        let (rows, oldest_us): (i64, Option<i64>) = with_pool!(self.read, pool => {
            sqlx::query_as("select count(*), min(created_at) from outbox").fetch_one(pool).await?
        });
        Ok((rows, oldest_us.and_then(from_us)))
    }
}
