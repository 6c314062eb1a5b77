//! What only PostgreSQL needs: its pool, migrations, and the statements that SQLite doesn't understand.

use std::collections::VecDeque;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Mutex;

use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};

use super::outbox::{LEASE, OutboxRow};
use super::{ACQUIRE_TIMEOUT, ReceivedCall, StoreError};
use crate::call::{Call, CallId, userinfo, without_userinfo};
use crate::event::{CALL_CREATED, Events};

/// PostgreSQL ends a statement after this long, so that a stuck one doesn't hold its connection for ever. Migrations
/// are exempt.
const STATEMENT_TIMEOUT: &str = "4s";

/// By how much `nextval('call_ids')` grows: the `increment by` of its migration.
const ID_BLOCK: i64 = 1000;

/// One statement, hence one transaction and one round trip. Rows carry their ids with them: nothing depends on the
/// order in which they come back, since none do.
const INSERT_CALLS: &str = "
with input as (
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamp[],
                         $8::timestamp[], $9::text[], $10::text[], $11::text[], $12::timestamp[], $13::text[], $14::text[])
        as t(id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
             url_userinfo, title, created_at, event_id, body)
), calls as (
    insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                           recording_url, title, created_at)
    select id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url, title,
           created_at
    from input
), pending as (
    insert into recordings (call_id, url_userinfo) select id, url_userinfo from input
)
insert into outbox (event_id, routing_key, body, available_at, created_at)
select event_id, $15, body, $16, $16 from input";

const CLAIM_DUE: &str = "
update outbox set available_at = $2
where id in (select id from outbox where available_at <= $1 order by available_at, id limit $3 for update skip locked)
returning id, event_id, routing_key, queue, body";

/// A pool that connects when it is first asked to.
pub(super) fn pool(url: &str, max_connections: u32) -> Result<PgPool, StoreError> {
    // Not the error's own text: it may quote the URL, password and all.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_error| StoreError::Url("it is not a valid postgres:// URL".to_owned()))?
        .application_name("callvine")
        .options([("statement_timeout", STATEMENT_TIMEOUT)]);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options))
}

/// Migrates over a connection of its own, without the statement timeout.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let options = pool.connect_options().as_ref().clone().options([("statement_timeout", "0")]);
    let mut connection = options.connect().await?;
    super::run_migrations(sqlx::migrate!("../migrations/postgres"), &mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Ids that were reserved from the sequence and not used yet.
#[derive(Debug, Default)]
pub(super) struct IdBlocks(Mutex<VecDeque<Range<i64>>>);

impl IdBlocks {
    /// `count` ids that nobody else has.
    async fn take(&self, pool: &PgPool, count: usize) -> Result<Vec<CallId>, StoreError> {
        let mut ids = Vec::with_capacity(count);
        loop {
            self.take_reserved(count, &mut ids);
            if ids.len() == count {
                return Ok(ids);
            }
            let first: i64 = sqlx::query_scalar("select nextval('call_ids')").fetch_one(pool).await?;
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

pub(super) async fn insert_calls(
    pool: &PgPool,
    ids: &IdBlocks,
    events: Events,
    received: &[ReceivedCall],
    now: DateTime<Utc>,
) -> Result<Vec<CallId>, StoreError> {
    let ids = ids.take(pool, received.len()).await?;
    let mut rows = Columns::with_capacity(received.len());
    for (id, received) in ids.iter().zip(received) {
        rows.push(*id, received, events);
    }
    sqlx::query(INSERT_CALLS)
        .bind(&rows.id)
        .bind(&rows.client)
        .bind(&rows.from_phone)
        .bind(&rows.to_phone)
        .bind(&rows.handled_by)
        .bind(&rows.department)
        .bind(&rows.start_time)
        .bind(&rows.end_time)
        .bind(&rows.recording_url)
        .bind(&rows.url_userinfo)
        .bind(&rows.title)
        .bind(&rows.created_at)
        .bind(&rows.event_id)
        .bind(&rows.body)
        .bind(CALL_CREATED)
        .bind(now.timestamp_micros())
        .execute(pool)
        .await?;
    Ok(ids)
}

/// The rows of one batch, a vector a column, as `unnest` wants them.
#[derive(Default)]
struct Columns<'a> {
    id: Vec<i64>,
    client: Vec<&'a str>,
    from_phone: Vec<&'a str>,
    to_phone: Vec<&'a str>,
    handled_by: Vec<&'a str>,
    department: Vec<Option<&'a str>>,
    start_time: Vec<NaiveDateTime>,
    end_time: Vec<NaiveDateTime>,
    recording_url: Vec<String>,
    url_userinfo: Vec<Option<&'a str>>,
    title: Vec<String>,
    created_at: Vec<NaiveDateTime>,
    event_id: Vec<String>,
    body: Vec<String>,
}

impl<'a> Columns<'a> {
    fn with_capacity(rows: usize) -> Self {
        Self { id: Vec::with_capacity(rows), body: Vec::with_capacity(rows), ..Self::default() }
    }

    fn push(&mut self, id: CallId, received: &'a ReceivedCall, events: Events) {
        let call = &received.call;
        let event = events.call_created(&Call { id, call: call.clone(), created_at: received.created_at });
        self.id.push(id.0);
        self.client.push(&received.client);
        self.from_phone.push(&call.from_phone);
        self.to_phone.push(&call.to_phone);
        self.handled_by.push(&call.handled_by);
        self.department.push(call.department.as_deref());
        self.start_time.push(call.start_time);
        self.end_time.push(call.end_time);
        self.recording_url.push(without_userinfo(&call.recording_url).into_owned());
        self.url_userinfo.push(userinfo(&call.recording_url));
        self.title.push(call.title());
        self.created_at.push(super::seconds(received.created_at));
        self.event_id.push(event.id.to_string());
        self.body.push(event.body);
    }
}

pub(super) async fn claim_due(
    pool: &PgPool,
    now: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = sqlx::query_as(CLAIM_DUE)
        .bind(now.timestamp_micros())
        .bind((now + LEASE).timestamp_micros())
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await?;
    Ok(rows)
}
