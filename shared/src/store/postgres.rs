//! What only PostgreSQL needs: its pool, migrations, and the statements that SQLite doesn't understand.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Mutex;

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use super::calls::{Inserted, Stamps, runs};
use super::kept::Kept;
use super::lines::Lines;
use super::outbox::{LEASE, Row};
use super::{ACQUIRE_TIMEOUT, ReceivedCall, StoreError};
use crate::call::{CallId, userinfo, without_userinfo};
use crate::event::CALL_CREATED;

/// PostgreSQL ends a statement after this long, so that a stuck one doesn't hold its connection for ever. Migrations
/// are exempt.
const STATEMENT_TIMEOUT: &str = "4s";

/// How PostgreSQL gets rid of a session whose process has vanished without a word. Above all of its transaction: the
/// rows that it locked would stay locked for the two hours after which the system looks for the other end.
const FORGOTTEN: [(&str, &str); 4] = [
    // No transaction of ours waits for this process for more than milliseconds.
    ("idle_in_transaction_session_timeout", "5s"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
];

/// By how much `nextval('call_ids')` grows: the `increment by` of its migration.
const ID_BLOCK: i64 = 1000;

/// One statement, hence one transaction and one round trip. Rows carry their ids with them: nothing depends on the
/// order in which they come back, since none do.
const INSERT_CALLS: &str = "
with input as (
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamp[],
                         $8::timestamp[], $9::text[], $10::text[], $11::timestamp[])
        as t(id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
             url_userinfo, created_at)
), calls as (
    insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                           recording_url, title, created_at)
    select id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
           'Call from ' || from_phone || ' to ' || to_phone || ' (handled by ' || handled_by || ')', created_at
    from input
), pending as (
    insert into recordings (call_id, url_userinfo) select id, url_userinfo from input
)
insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
select $12, first, last, $13, $14 from unnest($15::bigint[], $16::bigint[]) as t(first, last)
returning id";

const CLAIM_DUE: &str = "
update outbox set available_at = $2
where id in (select id from outbox where available_at <= $1 order by available_at, id limit $3 for update skip locked)
returning id, routing_key, queue, event_id, body, first_call_id, last_call_id";

/// Connections that one process opens at most. Ingest needs one at a time; the rest is for reading.
const MAX_CONNECTIONS: u32 = 10;

/// Connections for what may be lost and is then done again: one writes, and one is spare while that one is replaced.
const MAX_REPEATABLE_CONNECTIONS: u32 = 2;

/// A pool that connects when it is first asked to.
pub(super) fn pool(url: &str) -> Result<Lines, StoreError> {
    Ok(pool_of(options(url)?, MAX_CONNECTIONS))
}

/// The same for statements whose loss in a crash does no harm: a commit doesn't wait for the disk.
pub(super) fn repeatable_pool(url: &str) -> Result<Lines, StoreError> {
    Ok(pool_of(options(url)?.options([("synchronous_commit", "off")]), MAX_REPEATABLE_CONNECTIONS))
}

fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    // Not the error's own text: it may quote the URL, password and all.
    Ok(PgConnectOptions::from_str(url)
        .map_err(|_error| StoreError::Url("it is not a valid postgres:// URL".to_owned()))?
        .application_name("callvine")
        .options(FORGOTTEN)
        // Planned once a connection: every statement here is the same work whatever its parameters are, and planning the
        // insert of a batch anew takes as long as running it.
        .options([("plan_cache_mode", "force_generic_plan")])
        .options([("statement_timeout", STATEMENT_TIMEOUT)]))
}

fn pool_of(options: PgConnectOptions, max_connections: u32) -> Lines {
    let pool = PgPoolOptions::new().max_connections(max_connections).acquire_timeout(ACQUIRE_TIMEOUT);
    Lines::new(pool.connect_lazy_with(options))
}

/// Migrates over a connection of its own, without the statement timeout.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let options = pool.connect_options().as_ref().clone().options([("statement_timeout", "0")]);
    // Whoever accepts the connection and says nothing is no database; a migration itself may take its time.
    let connecting = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect());
    let mut connection = connecting.await.map_err(|_elapsed| sqlx::Error::PoolTimedOut)??;
    super::run_migrations(sqlx::migrate!("../migrations/postgres"), &mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Ids that were reserved from the sequence and not used yet.
#[derive(Debug, Default)]
struct IdBlocks(Mutex<VecDeque<Range<i64>>>);

impl IdBlocks {
    /// `count` ids that nobody else has.
    async fn take(&self, connection: &mut PgConnection, count: usize) -> Result<Vec<CallId>, StoreError> {
        let mut ids = Vec::with_capacity(count);
        loop {
            self.take_reserved(count, &mut ids);
            if ids.len() == count {
                return Ok(ids);
            }
            let first: i64 =
                sqlx::query_scalar("select nextval('call_ids')").fetch_one(&mut *connection).await?;
            self.lock().push_back(first..first + ID_BLOCK);
        }
    }

    fn take_reserved(&self, count: usize, ids: &mut Vec<CallId>) {
        let mut blocks = self.lock();
        while ids.len() < count {
            let Some(block) = blocks.front_mut() else { return };
            match block.next() {
                Some(id) => ids.push(CallId(id)),
                None => drop(blocks.pop_front()),
            }
        }
    }

    /// A panic elsewhere leaves the ranges whole, so a poisoned lock is as good as any.
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Range<i64>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What storing calls has for itself.
#[derive(Debug, Default)]
pub(super) struct Ingest {
    ids: IdBlocks,
    pub(super) kept: Kept,
}

impl Ingest {
    pub(super) async fn insert_calls(
        &self,
        pool: &PgPool,
        received: &[ReceivedCall],
        stamps: Stamps,
    ) -> Result<Inserted, StoreError> {
        let insert = async |connection: &mut PgConnection| {
            let ids = self.ids.take(connection, received.len()).await?;
            insert_calls(connection, ids, received, stamps).await
        };
        self.kept.run(pool, insert).await
    }
}

async fn insert_calls(
    connection: &mut PgConnection,
    ids: Vec<CallId>,
    received: &[ReceivedCall],
    stamps: Stamps,
) -> Result<Inserted, StoreError> {
    let mut rows = Columns::with_capacity(received.len());
    for (id, received) in ids.iter().zip(received) {
        rows.push(*id, received);
    }
    let (first, last): (Vec<i64>, Vec<i64>) = runs(&ids).into_iter().unzip();
    let outbox_ids = sqlx::query_scalar(INSERT_CALLS)
        .bind(rows.id)
        .bind(rows.client)
        .bind(rows.from_phone)
        .bind(rows.to_phone)
        .bind(rows.handled_by)
        .bind(rows.department)
        .bind(rows.start_time)
        .bind(rows.end_time)
        .bind(rows.recording_url)
        .bind(rows.url_userinfo)
        .bind(rows.created_at)
        .bind(CALL_CREATED)
        .bind(stamps.available_at_us)
        .bind(stamps.now_us)
        .bind(first)
        .bind(last)
        .fetch_all(connection)
        .await?;
    Ok(Inserted { ids, outbox_ids })
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
}

impl<'a> Columns<'a> {
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
        self.created_at.push(super::seconds(received.created_at));
    }
}

pub(super) async fn claim_due(pool: &PgPool, now: DateTime<Utc>, limit: u16) -> Result<Vec<Row>, StoreError> {
    let rows = sqlx::query_as(CLAIM_DUE)
        .bind(now.timestamp_micros())
        .bind((now + LEASE).timestamp_micros())
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    Ok(rows)
}
