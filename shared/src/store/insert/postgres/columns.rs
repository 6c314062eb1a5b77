//! The rows of a batch as parameters of a statement: a column an array.

use std::borrow::Cow;

use chrono::NaiveDateTime;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::call::{CallId, userinfo, without_userinfo};
use crate::store::dialect::seconds;
use crate::store::insert::batch::ReceivedCall;

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

pub(super) use input;

/// The rows of one batch, a vector a column, as `unnest` wants them.
pub(super) struct Columns<'a> {
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
    pub(super) fn of(ids: &[CallId], calls: &[&'a ReceivedCall]) -> Self {
        let mut rows = Self::with_capacity(calls.len());
        for (id, call) in ids.iter().zip(calls) {
            rows.push(*id, call);
        }
        rows
    }

    /// A statement with the columns as its first parameters.
    pub(super) fn bound_to(self, statement: &'static str) -> Query<'a, Postgres, PgArguments> {
        sqlx::query(statement)
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
