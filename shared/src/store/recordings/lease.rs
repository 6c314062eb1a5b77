//! A recording is leased to one worker for a while.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::call::CallId;
use crate::recording::Status;
use crate::store::dialect::{from_us, parsed, with_pool, with_writer};
use crate::store::upkeep::clocks::{latest_lease_us, latest_retry_us};
use crate::store::{Store, StoreError};

/// The answer to a worker that wants to begin with a recording.
#[derive(Debug)]
pub enum Begun {
    /// It is the worker's until the lease ends.
    Leased(PendingRecording),
    /// Another worker has it until then. It may die, so look again then.
    Busy(DateTime<Utc>),
    /// It was attempted and is due again then; a message for it is in the outbox.
    NotDue(DateTime<Utc>),
    /// It is stored or failed: nothing is left to do.
    Settled,
    /// There is no such call: it was erased, or the message is not ours.
    Unknown,
}

/// A recording that a worker has to fetch.
#[derive(Clone)]
pub struct PendingRecording {
    /// The call that it belongs to.
    pub call_id: CallId,
    /// The client whose call it belongs to.
    pub client: String,
    /// Where to fetch it, with user name and password if it was sent with them. Not for logs.
    pub url: String,
    /// How often it was attempted before, ever.
    pub attempts: u32,
    /// How many of these count: those since an operator asked for another attempt, if one did.
    pub attempts_counted: u32,
    /// How often it was postponed without an attempt meanwhile, because its host rested.
    pub refusals: u32,
    /// The SHA-256 of the bytes that the last look found, where their header left their size open.
    pub open_sha256: Option<String>,
    /// When the call was stored.
    pub created_at: DateTime<Utc>,
}

/// The columns that a lease returns: attempts, those of them that count, refusals, user name and password, and the digest
/// of open bytes.
type LeasedRow = (i32, i32, i32, Option<String>, Option<String>);

impl std::fmt::Debug for PendingRecording {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingRecording")
            .field("call_id", &self.call_id)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// Counts an attempt, once for each lease.
const COUNT_ATTEMPT: &str = "update recordings set attempts = attempts + case when attempt_counted then 0 else 1 end, \
    attempt_counted = true where call_id = $1 and status = 'pending'";

impl Store {
    /// Leases a pending recording until `until`.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn begin_recording(
        &self,
        call_id: CallId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Begun, StoreError> {
        let now_us = now.timestamp_micros();
        let leased: Option<LeasedRow> = with_writer!(self, pool => {
            sqlx::query_as(
                "update recordings set claimed_until = $3, attempt_counted = false
                 where call_id = $1 and status = 'pending' and (claimed_until <= $2 or claimed_until > $4)
                   and (coalesce(next_attempt_at, 0) <= $2 or next_attempt_at > $5)
                 returning attempts, attempts - attempts_forgiven, refusals, url_userinfo, open_sha256",
            )
            .bind(call_id.0)
            .bind(now_us)
            .bind(until.timestamp_micros())
            .bind(latest_lease_us(now))
            .bind(latest_retry_us(now))
            .fetch_optional(pool)
            .await?
        });
        let Some((attempts, attempts_counted, refusals, userinfo, open_sha256)) = leased else {
            return self.why_not_leased(call_id, now).await;
        };
        let sent: Option<(String, String, NaiveDateTime)> = with_pool!(self.read, pool => {
            sqlx::query_as("select client, recording_url, created_at from call_logs where id = $1")
                .bind(call_id.0)
                .fetch_optional(pool)
                .await?
        });
        let Some((client, recording_url, created_at)) = sent else {
            return Ok(Begun::Unknown);
        };
        Ok(Begun::Leased(PendingRecording {
            call_id,
            url: with_userinfo(&recording_url, userinfo.as_deref()),
            attempts: u32::try_from(attempts).unwrap_or(0),
            attempts_counted: u32::try_from(attempts_counted).unwrap_or(0),
            refusals: u32::try_from(refusals).unwrap_or(0),
            client,
            open_sha256,
            created_at: created_at.and_utc(),
        }))
    }

    async fn why_not_leased(&self, call_id: CallId, now: DateTime<Utc>) -> Result<Begun, StoreError> {
        // From the writing pool: a row that was just committed must be seen.
        let row: Option<(String, i64, Option<i64>)> = with_writer!(self, pool => {
            sqlx::query_as("select status, claimed_until, next_attempt_at from recordings where call_id = $1")
                .bind(call_id.0)
                .fetch_optional(pool)
                .await?
        });
        let Some((status, claimed_until_us, next_attempt_at_us)) = row else {
            return Ok(Begun::Unknown);
        };
        if parsed::<Status>(&status)? != Status::Pending {
            return Ok(Begun::Settled);
        }
        match (from_us(claimed_until_us), next_attempt_at_us.and_then(from_us)) {
            (_, Some(at)) if at > now => Ok(Begun::NotDue(at)),
            (Some(until), _) if until > now => Ok(Begun::Busy(until)),
            // It became free between the two statements.
            _ => Ok(Begun::Busy(now)),
        }
    }

    /// Counts the attempt that a worker is making, before it has ended: what kills its worker is given up as well. The step
    /// that settles it, or postpones it as failed, doesn't count it again. `false`: it is settled already.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn count_recording_attempt(&self, call_id: CallId) -> Result<bool, StoreError> {
        // A worker's death is what this must survive, not the server's.
        let counted = with_writer!(self.unsynced, self, pool => {
            postgres: sqlx::query(COUNT_ATTEMPT).bind(call_id.0).execute(pool).await?.rows_affected(),
            sqlite: sqlx::query(COUNT_ATTEMPT).bind(call_id.0).execute(pool).await?.rows_affected(),
        });
        Ok(counted == 1)
    }

    /// Has the step that ends this lease count no attempt, since none is made: they are used up.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn waive_recording_attempt(&self, call_id: CallId) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            sqlx::query("update recordings set attempt_counted = true where call_id = $1 and status = 'pending'")
                .bind(call_id.0)
                .execute(pool)
                .await?;
        });
        Ok(())
    }

    /// Prolongs the lease of a recording that is still pending.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn renew_recording_lease(
        &self,
        call_id: CallId,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        with_writer!(self, pool => {
            sqlx::query("update recordings set claimed_until = $2 where call_id = $1 and status = 'pending'")
                .bind(call_id.0)
                .bind(until.timestamp_micros())
                .execute(pool)
                .await?;
        });
        Ok(())
    }
}

/// The URL as it was sent: `userinfo@` goes back behind `://`.
fn with_userinfo(url: &str, userinfo: Option<&str>) -> String {
    match (url.split_once("://"), userinfo) {
        (Some((scheme, rest)), Some(userinfo)) => format!("{scheme}://{userinfo}@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{userinfo, without_userinfo};

    #[test]
    fn user_name_and_password_go_back_to_where_they_were() {
        for sent in ["http://u:p@h/x", "HTTPS://user@h:8/x?y@z", "http://h/x@y", "http://:p@h"] {
            assert_eq!(with_userinfo(&without_userinfo(sent), userinfo(sent)), sent);
        }
    }
}
