//! An audit's reading. In pages, so that memory is bounded by the work under way and not by the history.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::clocks::{latest_arrival, latest_lease_us, latest_retry_us};
use super::idle::{Idle, IdleSpan, idle};
use crate::call::CallId;
use crate::event::call_id_of;
use crate::queue::QueueName;
use crate::store::dialect::{by_database, columns, from_us, json_array, parsed, with_pool, within_years};
use crate::store::{Store, StoreError};
use crate::{analysis, recording};

/// Rows of one page: some megabytes at most, and few round trips.
const PAGE: i64 = 1000;

/// Calls by when they were stored. Whole seconds: `from` is included, `to` is not.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first second.
    pub from: DateTime<Utc>,
    /// The second after the last one.
    pub to: DateTime<Utc>,
}

impl Window {
    /// Whether a call stored at this time belongs to it.
    #[must_use]
    pub fn includes(&self, at: DateTime<Utc>) -> bool {
        self.from.timestamp() <= at.timestamp() && at.timestamp() < self.to.timestamp()
    }
}

/// A message on its way: a row of the outbox, or of a queue of in-process delivery.
#[derive(Clone, Debug)]
pub struct WaitingMessage {
    /// The row's id.
    pub id: i64,
    /// Ids of the calls that it is about; `None` when its body isn't one of our events.
    pub calls: Option<RangeInclusive<i64>>,
    /// The event that it tells of; `None` in a queue, where it doesn't matter any more.
    pub routing_key: Option<String>,
    /// The queue it is in, or the only one it goes to.
    pub queue: Option<QueueName>,
    /// It may be taken from then on.
    pub available_at: DateTime<Utc>,
}

/// A call's recording and analysis as an audit looks at them.
#[derive(Clone, Debug)]
pub struct AuditedCall {
    /// The call.
    pub id: CallId,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// `None` when there is no row, which there always should be.
    pub recording: Option<recording::Status>,
    /// Where a stored recording is, as a URL.
    pub location: Option<String>,
    /// Bytes of a stored recording.
    pub size_bytes: Option<i64>,
    /// SHA-256 of a stored recording, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// When a failed recording was given up.
    pub failed_at: Option<DateTime<Utc>>,
    /// `None` when there is no row.
    pub analysis: Option<analysis::Status>,
}

columns! {
    struct MessageRow {
        id: i64,
        routing_key: Option<String>,
        queue: Option<String>,
        body: Option<String>,
        first_call_id: Option<i64>,
        last_call_id: Option<i64>,
        available_at: i64,
    }
}

impl MessageRow {
    fn into_message(self) -> WaitingMessage {
        let one = || Some(call_id_of(self.body.as_deref()?.as_bytes()).ok()?.0);
        let calls = match (self.first_call_id, self.last_call_id) {
            (Some(first), Some(last)) => Some(first..=last),
            _ => one().map(|id| id..=id),
        };
        WaitingMessage {
            id: self.id,
            calls,
            routing_key: self.routing_key,
            queue: self.queue.map(QueueName::from),
            available_at: from_us(self.available_at).unwrap_or_default(),
        }
    }
}

columns! {
    struct AuditRow {
        id: i64,
        created_at: NaiveDateTime,
        recording: Option<String>,
        location: Option<String>,
        size_bytes: Option<i64>,
        sha256: Option<String>,
        failed_at: Option<NaiveDateTime>,
        analysis: Option<String>,
    }
}

impl AuditRow {
    fn into_call(self) -> Result<AuditedCall, StoreError> {
        Ok(AuditedCall {
            id: CallId(self.id),
            created_at: self.created_at.and_utc(),
            recording: self.recording.as_deref().map(parsed).transpose()?,
            location: self.location,
            size_bytes: self.size_bytes,
            sha256: self.sha256,
            failed_at: self.failed_at.map(|at| at.and_utc()),
            analysis: self.analysis.as_deref().map(parsed).transpose()?,
        })
    }
}

impl Store {
    /// Rows of the outbox with an id above `after`, by id; none: that was all.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn audit_outbox(&self, after: i64) -> Result<Vec<WaitingMessage>, StoreError> {
        const TEXT: &str = "select id, routing_key, queue, body, first_call_id, last_call_id, available_at
             from outbox where id > $1 order by id limit $2";
        self.waiting(TEXT, after).await
    }

    /// Rows of the queues of in-process delivery with an id above `after`, by id; none: that was all.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn audit_deliveries(&self, after: i64) -> Result<Vec<WaitingMessage>, StoreError> {
        const TEXT: &str =
            "select id, cast(null as text) as routing_key, queue, body, cast(null as bigint) as first_call_id,
                    cast(null as bigint) as last_call_id, available_at
             from deliveries where id > $1 order by id limit $2";
        self.waiting(TEXT, after).await
    }

    async fn waiting(&self, text: &'static str, after: i64) -> Result<Vec<WaitingMessage>, StoreError> {
        let rows: Vec<MessageRow> = with_pool!(self.reports, pool => {
            sqlx::query_as(text).bind(after).bind(PAGE).fetch_all(pool).await?
        });
        Ok(rows.into_iter().map(MessageRow::into_message).collect())
    }

    /// Calls of the window with an id above `after`, by id; none: that was all.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn audit_calls(&self, window: Window, after: CallId) -> Result<Vec<AuditedCall>, StoreError> {
        let rows: Vec<AuditRow> = with_pool!(self.reports, pool => {
            sqlx::query_as(
                "select c.id, c.created_at, r.status as recording, r.location, r.size_bytes, r.sha256,
                        r.failed_at, a.status as analysis
                 from call_logs c
                 left join recordings r on r.call_id = c.id
                 left join analyses a on a.call_id = c.id and a.analyzer = 'quality'
                 where c.id > $1 and c.created_at >= $2 and c.created_at < $3
                 order by c.id limit $4",
            )
            .bind(after.0)
            .bind(within_years(window.from))
            .bind(within_years(window.to))
            .bind(PAGE)
            .fetch_all(pool)
            .await?
        });
        rows.into_iter().map(AuditRow::into_call).collect()
    }

    /// Pending recordings, of whatever window, that no worker has had and that were not postponed since `since`, unless that
    /// was under another clock; by id, above `after`; none: that was all.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn idle_recordings(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
        after: CallId,
    ) -> Result<Vec<Idle>, StoreError> {
        let span = IdleSpan { after, last: CallId(i64::MAX), limit: PAGE };
        self.idle_recordings_in(&self.reports, span, since, now).await
    }

    /// Shipped analyses, of whatever window, that were requested before `since`, or under another clock, are not answered, and
    /// that nobody has had and that were not postponed since then;
    /// by id, above `after`; none: that was all.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn idle_analyses(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
        after: CallId,
    ) -> Result<Vec<Idle>, StoreError> {
        let rows: Vec<(i64, NaiveDateTime)> = with_pool!(self.reports, pool => {
            sqlx::query_as(
                "select c.id, c.created_at from analyses a join call_logs c on c.id = a.call_id
                 where a.analyzer = 'quality' and a.status = 'requested'
                   and (a.requested_at < $1 or a.requested_at > $2) and a.call_id > $3
                   and (a.claimed_until <= $4 or a.claimed_until > $5)
                   and (coalesce(a.next_attempt_at, 0) <= $4 or a.next_attempt_at > $6)
                 order by a.call_id limit $7",
            )
            .bind(within_years(since))
            .bind(latest_arrival(now))
            .bind(after.0)
            .bind(since.timestamp_micros())
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .bind(PAGE)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().map(idle).collect())
    }

    /// When each of these calls was stored; those that don't exist are left out.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn created_at(&self, ids: &[CallId]) -> Result<Vec<Idle>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<(i64, NaiveDateTime)> = by_database!(self.reports, pool => {
            postgres: {
                sqlx::query_as("select id, created_at from call_logs where id = any($1)")
                    .bind(&ids)
                    .fetch_all(pool)
                    .await?
            },
            sqlite: {
                sqlx::query_as(
                    "select id, created_at from call_logs where id in (select value from json_each($1))",
                )
                .bind(json_array(&ids))
                .fetch_all(pool)
                .await?
            },
        });
        Ok(rows.into_iter().map(idle).collect())
    }

    /// The location of each of these calls' recordings, and whether it is still pending; calls without a recording are left
    /// out.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn recording_locations(
        &self,
        ids: &[CallId],
    ) -> Result<Vec<(CallId, Option<String>, bool)>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<(i64, Option<String>, String)> = by_database!(self.reports, pool => {
            postgres: {
                sqlx::query_as("select call_id, location, status from recordings where call_id = any($1)")
                    .bind(&ids)
                    .fetch_all(pool)
                    .await?
            },
            sqlite: {
                sqlx::query_as(
                    "select call_id, location, status from recordings
                     where call_id in (select value from json_each($1))",
                )
                .bind(json_array(&ids))
                .fetch_all(pool)
                .await?
            },
        });
        Ok(rows
            .into_iter()
            .map(|(id, location, status)| (CallId(id), location, status == recording::Status::Pending.name()))
            .collect())
    }
}
