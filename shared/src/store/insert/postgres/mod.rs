//! A batch of calls into PostgreSQL: one transaction by one statement, tried again when its connection breaks.

mod columns;
mod ids;
mod marked;

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};
use tokio::time::{Instant, sleep, timeout_at};

use self::columns::{Columns, input};
use self::ids::IdBlocks;
use super::batch::{Inserted, ReceivedCall, Stamps, runs};
use super::marks::{Held, firsts};
use crate::call::CallId;
use crate::error_chain::Chain;
use crate::event::CALL_CREATED;
use crate::store::StoreError;
use crate::store::postgres::Kept;

/// Between two attempts with a batch whose connection breaks: a server that ends, or starts again, disconnects a client
/// that asks too early.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// All attempts together, 40 at most: a caller is answered within 5 s, and gets no other answer after that.
const ATTEMPTS_DEADLINE: Duration = Duration::from_secs(4);

/// One statement, hence one transaction and one round trip. Rows carry their ids with them: nothing depends on the
/// order in which they come back, since none do.
const INSERT_CALLS: &str = concat!(
    input!(),
    ", calls as (
    insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                           recording_url, title, created_at, env)
    select id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
           'Call from ' || from_phone || ' to ' || to_phone || ' (handled by ' || handled_by || ')', created_at, env
    from input
), pending as (
    insert into recordings (call_id, url_userinfo) select id, url_userinfo from input
)
insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
select $13, first, last, $14, $15 from unnest($16::bigint[], $17::bigint[]) as t(first, last)
returning id"
);

/// The ids of the calls that are there already, as they were to be inserted. Locking them is a write, whose commit waits for a
/// synchronous standby: only then is that of the calls there too.
const INSERTED_BEFORE: &str = concat!(
    input!(),
    "
select c.id from call_logs c join input i on i.id = c.id
where (c.client, c.env, c.from_phone, c.to_phone, c.handled_by, c.start_time, c.end_time, c.recording_url, c.created_at)
    = (i.client, i.env, i.from_phone, i.to_phone, i.handled_by, i.start_time, i.end_time, i.recording_url, i.created_at)
  and c.department is not distinct from i.department
for no key update of c"
);

/// Stores batches: holds the reserved ids, and the connection that batches go through.
#[derive(Debug, Default)]
pub(in crate::store) struct Ingest {
    ids: IdBlocks,
    kept: Kept,
}

impl Ingest {
    /// Closes the connection.
    pub(in crate::store) async fn close(&self) {
        self.kept.close().await;
    }

    /// Stores a batch; tries again on another connection if one breaks, under the same ids: calls that were committed
    /// although the answer was lost are found by them, and are not stored twice.
    pub(super) async fn insert_calls(
        &self,
        pool: &PgPool,
        received: &[ReceivedCall],
        stamps: Stamps,
    ) -> Result<Inserted, StoreError> {
        let deadline = Instant::now() + ATTEMPTS_DEADLINE;
        let mut batch = Batch::of(received, stamps);
        let mut failed =
            match self.kept.run(pool, async |connection| batch.insert(connection, &self.ids).await).await {
                Err(error) if is_disconnection(&error) => error,
                result => return batch.finish(received, result?),
            };
        while Instant::now() + ATTEMPT_PAUSE < deadline {
            tracing::debug!(error = %Chain(&failed), "a batch of calls is tried on another connection");
            let again =
                self.kept.run(pool, async |connection| batch.insert_again(connection, &self.ids).await);
            match timeout_at(deadline, again).await {
                Ok(Err(error)) if is_disconnection(&error) => failed = error,
                Ok(result) => return batch.finish(received, result?),
                Err(_elapsed) => break,
            }
            sleep(ATTEMPT_PAUSE).await;
        }
        Err(failed)
    }
}

/// Calls on their way into the database.
struct Batch<'a> {
    /// Without those whose mark an earlier call of the batch has.
    calls: Vec<&'a ReceivedCall>,
    is_marked: bool,
    stamps: Stamps,
    /// One for each of the calls, the same for every attempt; `None`: no attempt has taken ids yet.
    ids: Option<Vec<CallId>>,
}

/// The rows that an attempt has made.
struct Made {
    /// The marks that earlier calls hold: the ids of those calls of the batch are never used.
    held: Held,
    outbox_ids: Vec<i64>,
}

impl<'a> Batch<'a> {
    fn of(received: &'a [ReceivedCall], stamps: Stamps) -> Self {
        let is_marked = received.iter().any(|call| call.mark.is_some());
        let calls = if is_marked { firsts(received) } else { received.iter().collect() };
        Self { calls, is_marked, stamps, ids: None }
    }

    fn finish(self, received: &[ReceivedCall], made: Made) -> Result<Inserted, StoreError> {
        let Made { held, outbox_ids } = made;
        let ids = self.ids.unwrap_or_default();
        let stored: Vec<CallId> =
            ids.into_iter().zip(self.calls).filter(|(_, call)| !held.has(call)).map(|(id, _)| id).collect();
        Ok(Inserted { outcomes: held.outcomes(received, stored)?, outbox_ids })
    }

    async fn insert(&mut self, connection: &mut PgConnection, blocks: &IdBlocks) -> Result<Made, StoreError> {
        let ids = match &self.ids {
            Some(ids) => ids,
            None => self.ids.insert(blocks.take(connection, self.calls.len()).await?),
        };
        let (first, last): (Vec<i64>, Vec<i64>) = runs(ids).into_iter().unzip();
        let statement = if self.is_marked { marked::INSERT_CALLS } else { INSERT_CALLS };
        let insert = Columns::of(ids, &self.calls)
            .bound_to(statement)
            .bind(CALL_CREATED)
            .bind(self.stamps.available_at_us)
            .bind(self.stamps.now_us)
            .bind(first)
            .bind(last);
        if self.is_marked {
            return marked::insert(insert, ids, &self.calls, connection).await;
        }
        let outbox_ids = insert.try_map(|row: PgRow| row.try_get(0)).fetch_all(connection).await?;
        Ok(Made { held: Held::default(), outbox_ids })
    }

    /// The same after an attempt that may have been committed. If that one is still under way, this one waits for its end:
    /// the two have the same ids.
    async fn insert_again(
        &mut self,
        connection: &mut PgConnection,
        blocks: &IdBlocks,
    ) -> Result<Made, StoreError> {
        match self.insert(connection, blocks).await {
            Err(StoreError::Rejected(error)) if is_duplicate(&error) => {
                self.made_before(connection).await?.ok_or(StoreError::Unavailable(error))
            }
            result => result,
        }
    }

    /// The rows that an earlier attempt has made; `None`: the ids belong to other calls, as after a fail-over to a server
    /// that knew less than the first one.
    async fn made_before(&self, connection: &mut PgConnection) -> Result<Option<Made>, StoreError> {
        let Some(ids) = &self.ids else { return Ok(None) };
        let held = if self.is_marked {
            marked::held_by_others(ids, &self.calls, connection).await?
        } else {
            Held::default()
        };
        let (stored_ids, stored): (Vec<CallId>, Vec<&ReceivedCall>) =
            ids.iter().zip(&self.calls).filter(|(_, call)| !held.has(call)).unzip();
        let same =
            Columns::of(&stored_ids, &stored).bound_to(INSERTED_BEFORE).fetch_all(&mut *connection).await?;
        if same.len() < stored.len() {
            return Ok(None);
        }
        let (first, _last): (Vec<i64>, Vec<i64>) = runs(ids).into_iter().unzip();
        let outbox_ids = sqlx::query_scalar("select id from outbox where first_call_id = any($1)")
            .bind(first)
            .fetch_all(connection)
            .await?;
        Ok(Some(Made { held, outbox_ids }))
    }
}

/// Whether the connection broke, and not the statement on it: closed by either side, or by a server that is told to end
/// (`57P01`), has crashed (`57P02`), or starts (`57P03`).
fn is_disconnection(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(sqlx::Error::Io(_)) => true,
        StoreError::Unavailable(sqlx::Error::Database(error)) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03")),
        _ => false,
    }
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
