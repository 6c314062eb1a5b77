//! A batch of calls into PostgreSQL: one transaction by one statement, tried again when its connection breaks.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use chrono::NaiveDateTime;
use parking_lot::Mutex;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::time::{Instant, sleep, timeout_at};

use super::batch::{Inserted, ReceivedCall, Stamps, runs};
use crate::call::{CallId, userinfo, without_userinfo};
use crate::error_chain::Chain;
use crate::event::CALL_CREATED;
use crate::store::StoreError;
use crate::store::dialect::seconds;
use crate::store::postgres::Kept;

/// By how much `nextval('call_ids')` grows: the `increment by` of its migration.
const ID_BLOCK: i64 = 1000;

/// Between two attempts with a batch whose connection breaks: a server that ends, or starts again, disconnects a client
/// that asks too early.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// All attempts together, 40 at most: a caller is answered within 5 s, and gets no other answer after that.
const ATTEMPTS_DEADLINE: Duration = Duration::from_secs(4);

/// Calls, a column an array; all are of one length, and are unnested in step. That is done in the select list and not in
/// `from`, where PostgreSQL would store each array once more before it reads the first row: a tenth of a batch's time. A
/// macro, because `concat!` takes literals alone.
macro_rules! input {
    () => {
        "with input as (
    select unnest($1::bigint[]) as id, unnest($2::text[]) as client, unnest($3::text[]) as from_phone,
           unnest($4::text[]) as to_phone, unnest($5::text[]) as handled_by, unnest($6::text[]) as department,
           unnest($7::timestamp[]) as start_time, unnest($8::timestamp[]) as end_time,
           unnest($9::text[]) as recording_url, unnest($10::text[]) as url_userinfo,
           unnest($11::timestamp[]) as created_at, unnest($12::text[]) as env
)"
    };
}

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

/// Ids that were reserved from the sequence and not used yet.
#[derive(Debug, Default)]
struct IdBlocks(Mutex<VecDeque<Range<i64>>>);

impl IdBlocks {
    /// `count` ids that no other batch has.
    async fn take(&self, connection: &mut PgConnection, count: usize) -> Result<Vec<CallId>, StoreError> {
        let mut ids = Vec::with_capacity(count);
        loop {
            self.take_reserved(count, &mut ids);
            if ids.len() == count {
                return Ok(ids);
            }
            let first: i64 =
                sqlx::query_scalar("select nextval('call_ids')").fetch_one(&mut *connection).await?;
            self.0.lock().push_back(first..first + ID_BLOCK);
        }
    }

    fn take_reserved(&self, count: usize, ids: &mut Vec<CallId>) {
        let mut blocks = self.0.lock();
        while ids.len() < count {
            let Some(block) = blocks.front_mut() else { return };
            match block.next() {
                Some(id) => ids.push(CallId(id)),
                None => drop(blocks.pop_front()),
            }
        }
    }
}

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
        let mut batch = Batch { received, stamps, ids: None };
        let mut failed =
            match self.kept.run(pool, async |connection| batch.insert(connection, &self.ids).await).await {
                Err(error) if is_disconnection(&error) => error,
                result => return result,
            };
        while Instant::now() + ATTEMPT_PAUSE < deadline {
            tracing::debug!(error = %Chain(&failed), "a batch of calls is tried on another connection");
            let again =
                self.kept.run(pool, async |connection| batch.insert_again(connection, &self.ids).await);
            match timeout_at(deadline, again).await {
                Ok(Err(error)) if is_disconnection(&error) => failed = error,
                Ok(result) => return result,
                Err(_elapsed) => break,
            }
            sleep(ATTEMPT_PAUSE).await;
        }
        Err(failed)
    }
}

/// Calls on their way into the database.
struct Batch<'a> {
    received: &'a [ReceivedCall],
    stamps: Stamps,
    /// The same for every attempt; `None`: no attempt has taken ids yet.
    ids: Option<Vec<CallId>>,
}

impl Batch<'_> {
    async fn insert(
        &mut self,
        connection: &mut PgConnection,
        blocks: &IdBlocks,
    ) -> Result<Inserted, StoreError> {
        let ids = match &self.ids {
            Some(ids) => ids,
            None => self.ids.insert(blocks.take(connection, self.received.len()).await?),
        };
        let (first, last): (Vec<i64>, Vec<i64>) = runs(ids).into_iter().unzip();
        let outbox_ids = Columns::of(ids, self.received)
            .bound_to(INSERT_CALLS)
            .bind(CALL_CREATED)
            .bind(self.stamps.available_at_us)
            .bind(self.stamps.now_us)
            .bind(first)
            .bind(last)
            .fetch_all(connection)
            .await?;
        Ok(Inserted { ids: ids.clone(), outbox_ids })
    }

    /// The same after an attempt that may have been committed. If that one is still under way, this one waits for its end:
    /// the two have the same ids.
    async fn insert_again(
        &mut self,
        connection: &mut PgConnection,
        blocks: &IdBlocks,
    ) -> Result<Inserted, StoreError> {
        match self.insert(connection, blocks).await {
            Err(StoreError::Rejected(error)) if is_duplicate(&error) => {
                self.inserted_before(connection).await?.ok_or(StoreError::Unavailable(error))
            }
            result => result,
        }
    }

    /// The rows that an earlier attempt has made; `None`: the ids belong to other calls, as after a fail-over to a server
    /// that knew less than the first one.
    async fn inserted_before(&self, connection: &mut PgConnection) -> Result<Option<Inserted>, StoreError> {
        let Some(ids) = &self.ids else { return Ok(None) };
        let same =
            Columns::of(ids, self.received).bound_to(INSERTED_BEFORE).fetch_all(&mut *connection).await?;
        if same.len() < ids.len() {
            return Ok(None);
        }
        let (first, _last): (Vec<i64>, Vec<i64>) = runs(ids).into_iter().unzip();
        let outbox_ids = sqlx::query_scalar("select id from outbox where first_call_id = any($1)")
            .bind(first)
            .fetch_all(connection)
            .await?;
        Ok(Some(Inserted { ids: ids.clone(), outbox_ids }))
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

/// The rows of one batch, a vector a column, as `unnest` wants them.
struct Columns<'a> {
    id: Vec<i64>,
    client: Vec<&'a str>,
    from_phone: Vec<&'a str>,
    to_phone: Vec<&'a str>,
    handled_by: Vec<&'a str>,
    department: Vec<Option<&'a str>>,
    start_time: Vec<NaiveDateTime>,
    end_time: Vec<NaiveDateTime>,
    recording_url: Vec<Cow<'a, str>>,
    url_userinfo: Vec<Option<&'a str>>,
    created_at: Vec<NaiveDateTime>,
    env: Vec<&'static str>,
}

impl<'a> Columns<'a> {
    fn of(ids: &[CallId], received: &'a [ReceivedCall]) -> Self {
        let mut rows = Self::with_capacity(received.len());
        for (id, received) in ids.iter().zip(received) {
            rows.push(*id, received);
        }
        rows
    }

    /// A statement that returns ids, with the columns as its first parameters.
    fn bound_to(self, statement: &'static str) -> QueryScalar<'a, Postgres, i64, PgArguments> {
        sqlx::query_scalar(statement)
            .bind(self.id)
            .bind(self.client)
            .bind(self.from_phone)
            .bind(self.to_phone)
            .bind(self.handled_by)
            .bind(self.department)
            .bind(self.start_time)
            .bind(self.end_time)
            .bind(self.recording_url)
            .bind(self.url_userinfo)
            .bind(self.created_at)
            .bind(self.env)
    }

    fn with_capacity(rows: usize) -> Self {
        Self {
            id: Vec::with_capacity(rows),
            client: Vec::with_capacity(rows),
            from_phone: Vec::with_capacity(rows),
            to_phone: Vec::with_capacity(rows),
            handled_by: Vec::with_capacity(rows),
            department: Vec::with_capacity(rows),
            start_time: Vec::with_capacity(rows),
            end_time: Vec::with_capacity(rows),
            recording_url: Vec::with_capacity(rows),
            url_userinfo: Vec::with_capacity(rows),
            created_at: Vec::with_capacity(rows),
            env: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, id: CallId, received: &'a ReceivedCall) {
        let call = &received.call;
        self.id.push(id.0);
        self.client.push(&received.client);
        self.from_phone.push(&call.from_phone);
        self.to_phone.push(&call.to_phone);
        self.handled_by.push(&call.handled_by);
        self.department.push(call.department.as_deref());
        self.start_time.push(call.start_time);
        self.end_time.push(call.end_time);
        self.recording_url.push(without_userinfo(&call.recording_url));
        self.url_userinfo.push(userinfo(&call.recording_url));
        self.created_at.push(seconds(received.created_at));
        self.env.push(received.env.name());
    }
}
