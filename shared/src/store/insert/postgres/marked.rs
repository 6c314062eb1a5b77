//! A batch with marked calls: as every other one by one statement, which also settles the marks.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row as _};

use super::Made;
use super::columns::input;
use crate::call::CallId;
use crate::idempotency::Mark;
use crate::store::StoreError;
use crate::store::insert::batch::ReceivedCall;
use crate::store::insert::marks::{Held, Holder, sha256};

/// Marks come first. A mark that is not there, or has expired, goes to its call of this batch; one that an earlier call
/// holds stays with that call, which is then neither in `fresh` nor in any table. Either way `settled` has the row as it is
/// now, whose `call_id` tells the two cases apart.
///
/// Another batch that brings the same mark at the same time waits at its row until this one has committed, and finds the
/// row then, though it is younger than the statement. Both batches go through their marks in the same order, so
/// neither waits for the other one in turn. A row that stays is written too, so that the commit waits
/// for a synchronous standby to have the earlier call before this one's sender is told of it.
///
/// The ids of calls that are not stored leave gaps in the runs of the outbox, where its reader finds no call.
pub(super) const INSERT_CALLS: &str = concat!(
    input!(),
    ", marks as (
    select unnest($18::bytea[]) as mark, unnest($19::bytea[]) as body_sha256, unnest($20::bigint[]) as call_id,
           unnest($21::bigint[]) as received_at, unnest($22::bigint[]) as expires_at
), settled as (
    insert into idempotency_marks as held (mark, body_sha256, call_id, received_at, expires_at)
    select mark, body_sha256, call_id, received_at, expires_at from marks order by mark
    on conflict (mark) do update set
        body_sha256 =
            case when held.expires_at <= excluded.received_at then excluded.body_sha256 else held.body_sha256 end,
        call_id = case when held.expires_at <= excluded.received_at then excluded.call_id else held.call_id end,
        received_at =
            case when held.expires_at <= excluded.received_at then excluded.received_at else held.received_at end,
        expires_at =
            case when held.expires_at <= excluded.received_at then excluded.expires_at else held.expires_at end
    returning mark, body_sha256, call_id, received_at
), fresh as (
    select * from input
    where id not in (select call_id from marks) or id in (select call_id from settled)
), calls as (
    insert into call_logs (id, client, from_phone, to_phone, handled_by, department, start_time, end_time,
                           recording_url, title, created_at, env)
    select id, client, from_phone, to_phone, handled_by, department, start_time, end_time, recording_url,
           'Call from ' || from_phone || ' to ' || to_phone || ' (handled by ' || handled_by || ')', created_at, env
    from fresh
), pending as (
    insert into recordings (call_id, url_userinfo) select id, url_userinfo from fresh
), queued as (
    insert into outbox (routing_key, first_call_id, last_call_id, available_at, created_at)
    select $13, first, last, $14, $15 from unnest($16::bigint[], $17::bigint[]) as t(first, last)
    where exists (select from fresh where id between first and last)
    returning id
)
select id as outbox_id, null::bytea as mark, null::bytea as body_sha256, null::bigint as call_id,
       null::bigint as received_at
from queued
union all
select null, mark, body_sha256, call_id, received_at from settled
where call_id not in (select call_id from marks)"
);

const HELD_BY_OTHERS: &str = "select mark, body_sha256, call_id, received_at from idempotency_marks
    where mark = any($1) and call_id <> all($2)";

/// Runs [`INSERT_CALLS`], to which all but the marks is bound.
pub(super) async fn insert(
    insert: Query<'_, Postgres, PgArguments>,
    ids: &[CallId],
    calls: &[&ReceivedCall],
    connection: &mut PgConnection,
) -> Result<Made, StoreError> {
    let marked: Vec<(CallId, &Mark)> = marked(ids, calls).collect();
    let column = |value: fn(&Mark) -> i64| marked.iter().map(|(_, mark)| value(mark)).collect::<Vec<i64>>();
    let rows = insert
        .bind(marked.iter().map(|(_, mark)| mark.mark.as_slice()).collect::<Vec<_>>())
        .bind(
            marked
                .iter()
                .map(|(_, mark)| mark.body_sha256.as_ref().map(<[u8; 32]>::as_slice))
                .collect::<Vec<_>>(),
        )
        .bind(marked.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
        .bind(column(|mark| mark.received_at.timestamp_micros()))
        .bind(column(|mark| mark.expires_at.timestamp_micros()))
        .fetch_all(connection)
        .await?;
    let mut made = Made { held: Held::default(), outbox_ids: Vec::new() };
    for row in rows {
        match row.try_get("outbox_id")? {
            Some(outbox_id) => made.outbox_ids.push(outbox_id),
            None => note(&mut made.held, &row)?,
        }
    }
    Ok(made)
}

/// The marks that calls outside this batch hold, after an attempt that was committed. A mark that is gone again counts as
/// this batch's.
pub(super) async fn held_by_others(
    ids: &[CallId],
    calls: &[&ReceivedCall],
    connection: &mut PgConnection,
) -> Result<Held, StoreError> {
    let (own_ids, marks): (Vec<i64>, Vec<&[u8]>) =
        marked(ids, calls).map(|(id, mark)| (id.0, mark.mark.as_slice())).unzip();
    let rows = sqlx::query(HELD_BY_OTHERS).bind(marks).bind(own_ids).fetch_all(connection).await?;
    let mut held = Held::default();
    for row in rows {
        note(&mut held, &row)?;
    }
    Ok(held)
}

fn marked<'a>(ids: &'a [CallId], calls: &'a [&'a ReceivedCall]) -> impl Iterator<Item = (CallId, &'a Mark)> {
    ids.iter().zip(calls).filter_map(|(id, call)| Some((*id, call.mark.as_deref()?)))
}

fn note(held: &mut Held, row: &PgRow) -> Result<(), StoreError> {
    let body_sha256: Option<&[u8]> = row.try_get("body_sha256")?;
    let holder = Holder {
        call_id: CallId(row.try_get("call_id")?),
        body_sha256: body_sha256.map(sha256).transpose()?,
        received_at_us: row.try_get("received_at")?,
    };
    held.insert(sha256(row.try_get("mark")?)?, holder);
    Ok(())
}
