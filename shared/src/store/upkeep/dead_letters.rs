//! Recordings and analyses that were given up, and another attempt for them.

use chrono::{DateTime, NaiveDateTime, Utc};
use uuid::Uuid;

use crate::call::CallId;
use crate::dead_letter::{DeadLetterId, DeadLetterKind};
use crate::queue::Queue;
use crate::store::analyses::analysis_requested;
use crate::store::dialect::Ending::{Commit, Leave};
use crate::store::dialect::{columns, seconds, with_pool, with_transaction};
use crate::store::outbox::insert_event;
use crate::store::recordings::queue_recording;
use crate::store::{Store, StoreError};

/// Rows of one page: some hundred kilobytes, and few round trips.
const PAGE: i64 = 1000;

/// Removes a dead letter of in-process delivery, and one that is still on its way to wherever dead letters are. A
/// function can't: the two databases' transactions have no common type.
macro_rules! remove_letter {
    ($tx:ident, $queue:expr, $event_id:expr) => {{
        for statement in [
            "delete from deliveries where queue = $1 and event_id = $2",
            "delete from outbox where queue = $1 and event_id = $2",
        ] {
            sqlx::query(statement).bind($queue.name()).bind($event_id.to_string()).execute(&mut *$tx).await?;
        }
    }};
}

/// Reads dead letters from one of the two tables that have them. A macro, because `concat!` takes literals alone.
macro_rules! select_letters {
    ($table:literal, $condition:literal) => {
        concat!(
            "select x.call_id, x.reason, x.attempts, x.last_error, x.failed_at, c.recording_url from ",
            $table,
            " x join call_logs c on c.id = x.call_id where ",
            $condition,
            " order by x.call_id limit $2"
        )
    };
}

/// Something that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Names it.
    pub id: DeadLetterId,
    /// Why; one of the published reasons if it is a recording.
    pub reason: Option<String>,
    /// How often it was attempted, ever.
    pub attempts: i32,
    /// The error of the last attempt, for people.
    pub last_error: Option<String>,
    /// When it was given up.
    pub failed_at: Option<DateTime<Utc>>,
    /// Where the recording was to be had, without user name and password.
    pub recording_url: String,
}

/// The answer to a request for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is queued.
    Queued,
    /// It was not given up: it waits, or it is done.
    NotFailed,
    /// There is no such recording or analysis.
    Unknown,
}

columns! {
    struct Row {
        call_id: i64,
        reason: Option<String>,
        attempts: i32,
        last_error: Option<String>,
        failed_at: Option<NaiveDateTime>,
        recording_url: String,
    }
}

impl Row {
    fn into_dead_letter(self, kind: DeadLetterKind) -> DeadLetter {
        DeadLetter {
            id: DeadLetterId { kind, call_id: CallId(self.call_id) },
            reason: self.reason,
            attempts: self.attempts,
            last_error: self.last_error,
            failed_at: self.failed_at.map(|at| at.and_utc()),
            recording_url: self.recording_url,
        }
    }
}

impl Store {
    /// Dead letters of this kind whose call's id is above `after`, by id; none: that was all.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn dead_letters(
        &self,
        kind: DeadLetterKind,
        after: CallId,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let text = match kind {
            DeadLetterKind::Recording => {
                select_letters!("recordings", "x.status = 'failed' and x.call_id > $1")
            }
            DeadLetterKind::Analysis => select_letters!(
                "analyses",
                "x.analyzer = 'quality' and x.status = 'failed' and x.call_id > $1"
            ),
        };
        let rows: Vec<Row> = with_pool!(self.reports, pool => {
            sqlx::query_as(text).bind(after.0).bind(PAGE).fetch_all(pool).await?
        });
        Ok(rows.into_iter().map(|row| row.into_dead_letter(kind)).collect())
    }

    /// One dead letter; `None`: there is none of this id.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        let text = match id.kind {
            DeadLetterKind::Recording => {
                select_letters!("recordings", "x.status = 'failed' and x.call_id = $1")
            }
            DeadLetterKind::Analysis => select_letters!(
                "analyses",
                "x.analyzer = 'quality' and x.status = 'failed' and x.call_id = $1"
            ),
        };
        self.letter(id, text).await
    }

    /// As [`Store::dead_letter`], of something that is pending or requested; `None`: it isn't.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn unsettled(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        let text = match id.kind {
            DeadLetterKind::Recording => {
                select_letters!("recordings", "x.status = 'pending' and x.call_id = $1")
            }
            DeadLetterKind::Analysis => {
                select_letters!(
                    "analyses",
                    "x.analyzer = 'quality' and x.status = 'requested' and x.call_id = $1"
                )
            }
        };
        self.letter(id, text).await
    }

    async fn letter(&self, id: DeadLetterId, text: &'static str) -> Result<Option<DeadLetter>, StoreError> {
        let row: Option<Row> = with_pool!(self.read, pool => {
            sqlx::query_as(text).bind(id.call_id.0).bind(1_i64).fetch_optional(pool).await?
        });
        Ok(row.map(|row| row.into_dead_letter(id.kind)))
    }

    /// Has something that was given up attempted again, from the step that failed and with all its attempts before it; the
    /// same transaction queues it and removes its dead letter of in-process delivery.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn retry_dead_letter(
        &self,
        id: DeadLetterId,
        now: DateTime<Utc>,
    ) -> Result<Retried, StoreError> {
        match id.kind {
            DeadLetterKind::Recording => self.retry_failed_recording(id.call_id, now).await,
            DeadLetterKind::Analysis => self.retry_failed_analysis(id.call_id, now).await,
        }
    }

    async fn retry_failed_recording(
        &self,
        call_id: CallId,
        now: DateTime<Utc>,
    ) -> Result<Retried, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let attempts: Option<i32> = sqlx::query_scalar(
                "update recordings set status = 'pending', claimed_until = 0, next_attempt_at = null,
                     attempts_forgiven = attempts, refusals = 0, failed_at = null
                 where call_id = $1 and status = 'failed'
                 returning attempts",
            )
            .bind(call_id.0)
            .fetch_optional(&mut *tx)
            .await?;
            match attempts {
                Some(attempts) if queue_recording!(tx, events, call_id, now, now) => {
                    let letter = events.recording_failed_id(call_id, u32::try_from(attempts).unwrap_or(0));
                    remove_letter!(tx, Queue::RecordingsDead, letter);
                    Commit(Retried::Queued)
                }
                Some(_) => Leave(Retried::Unknown),
                None => {
                    let exists: Option<i64> = sqlx::query_scalar("select call_id from recordings where call_id = $1")
                        .bind(call_id.0)
                        .fetch_optional(&mut *tx)
                        .await?;
                    Leave(exists.map_or(Retried::Unknown, |_| Retried::NotFailed))
                }
            }
        }))
    }

    async fn retry_failed_analysis(
        &self,
        call_id: CallId,
        now: DateTime<Utc>,
    ) -> Result<Retried, StoreError> {
        let events = self.events().await?;
        Ok(with_transaction!(self, tx => {
            let updated = sqlx::query(
                "update analyses set status = 'requested', requested_at = $2, failed_at = null, claimed_until = 0,
                     next_attempt_at = null, attempts_forgiven = attempts
                 where call_id = $1 and analyzer = 'quality' and status = 'failed'
                   and exists (select 1 from recordings r where r.call_id = $1 and r.status = 'stored')",
            )
            .bind(call_id.0)
            .bind(seconds(now))
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if updated == 0 {
                let exists: Option<i64> = sqlx::query_scalar("select call_id from analyses where call_id = $1 and analyzer = 'quality'")
                    .bind(call_id.0)
                    .fetch_optional(&mut *tx)
                    .await?;
                Leave(exists.map_or(Retried::Unknown, |_| Retried::NotFailed))
            } else {
                match analysis_requested!(tx, events, call_id, now) {
                    Some(event) => {
                        remove_letter!(tx, Queue::AnalysisDead, event.id);
                        insert_event!(tx, event, Some(Queue::Analysis), now, now);
                        Commit(Retried::Queued)
                    }
                    None => Leave(Retried::Unknown),
                }
            }
        }))
    }

    /// The id of the `recording.failed` that gave this recording up; `None`: it isn't given up.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn failed_event_id(&self, call_id: CallId) -> Result<Option<Uuid>, StoreError> {
        let events = self.events().await?;
        let attempts: Option<i32> = with_pool!(self.read, pool => {
            sqlx::query_scalar("select attempts from recordings where call_id = $1 and status = 'failed'")
                .bind(call_id.0)
                .fetch_optional(pool)
                .await?
        });
        let attempts = attempts.map(|attempts| u32::try_from(attempts).unwrap_or(0));
        Ok(attempts.map(|attempts| events.recording_failed_id(call_id, attempts)))
    }
}
