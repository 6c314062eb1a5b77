//! API keys: made, listed, replaced, revoked. Only hashes are known here.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::dialect::Ending::{Commit, Leave};
use super::dialect::{columns, parsed, seconds, with_pool, with_transaction, within_years};
use super::{Pool, Store, StoreError};
use crate::api_key::{Digest, Environment, Role};
use crate::error_chain::Chain;

/// The channel on which PostgreSQL tells of changed keys.
const CHANNEL: &str = "callvine_api_keys";

/// Tells other processes, with the commit, that keys have changed. SQLite can't, and does nothing. A macro, since the two
/// databases' transactions have no common type.
macro_rules! notify {
    ($store:ident, $tx:ident) => {
        sqlx::query($store.locking("select pg_notify($1, '')", "select $1 where false"))
            .bind(CHANNEL)
            .execute(&mut *$tx)
            .await?
    };
}

/// A key to be stored.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// The client whose key it is.
    pub client: String,
    /// Tells a test system's key from a live one.
    pub environment: Environment,
    /// The key's first characters; people tell keys apart by them.
    pub prefix: String,
    /// The key's digest.
    pub digest: Digest,
    /// Its rights.
    pub role: Role,
    /// Refused from then on; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// Calls a second that one gateway process takes; `None`: any number.
    pub rate_per_second: Option<f64>,
    /// A post with the fields of an earlier one within this time, in whole seconds, is the same call; `None`: never.
    pub dedupe: Option<Duration>,
}

/// A key to be stored in the place of another one, which gives it everything else.
#[derive(Clone, Debug)]
pub struct Successor {
    /// The key's first characters.
    pub prefix: String,
    /// The key's digest.
    pub digest: Digest,
    /// Refused from then on; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A stored key.
#[derive(Clone, Debug)]
pub struct ApiKeyRow {
    /// Names it in commands.
    pub id: i64,
    /// The client whose key it is.
    pub client: String,
    /// Tells a test system's key from a live one.
    pub environment: Environment,
    /// The key's first characters.
    pub prefix: String,
    /// The key's digest.
    pub digest: Digest,
    /// Its rights.
    pub role: Role,
    /// Refused from then on; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// Calls a second that one gateway process takes; `None`: any number.
    pub rate_per_second: Option<f64>,
    /// A post with the fields of an earlier one within this time, in whole seconds, is the same call; `None`: never.
    pub dedupe: Option<Duration>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to within a few seconds.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked; it is refused since then.
    pub revoked_at: Option<DateTime<Utc>>,
}

columns! {
    struct Row {
        id: i64,
        client: String,
        environment: String,
        prefix: String,
        digest: Vec<u8>,
        role: String,
        expires_at: Option<NaiveDateTime>,
        rate_per_second: Option<f64>,
        dedupe_seconds: Option<i64>,
        created_at: NaiveDateTime,
        last_used_at: Option<NaiveDateTime>,
        revoked_at: Option<NaiveDateTime>,
    }
}

impl Row {
    fn into_key(self) -> Result<ApiKeyRow, StoreError> {
        let digest = Digest::from_bytes(&self.digest)
            .ok_or_else(|| sqlx::Error::Decode("the digest of a key is no SHA-256".into()))?;
        Ok(ApiKeyRow {
            id: self.id,
            environment: parsed(&self.environment)?,
            role: parsed(&self.role)?,
            client: self.client,
            prefix: self.prefix,
            digest,
            expires_at: self.expires_at.map(|at| at.and_utc()),
            rate_per_second: self.rate_per_second,
            dedupe: self
                .dedupe_seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            created_at: self.created_at.and_utc(),
            last_used_at: self.last_used_at.map(|at| at.and_utc()),
            revoked_at: self.revoked_at.map(|at| at.and_utc()),
        })
    }
}

/// One row that only a newer program understands must not keep all other keys from being read.
fn readable(row: Row) -> Option<ApiKeyRow> {
    let id = row.id;
    row.into_key().inspect_err(|error| tracing::error!("API key {id} is ignored: {}", Chain(error))).ok()
}

impl Store {
    /// Stores a key; returns its id.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when the same key is stored already.
    pub async fn create_api_key(&self, key: &NewApiKey, now: DateTime<Utc>) -> Result<i64, StoreError> {
        let id = with_transaction!(self, tx => {
            let id = sqlx::query_scalar(
                "insert into api_keys (client, environment, prefix, digest, role, expires_at, rate_per_second, dedupe_seconds,
                                       created_at)
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id",
            )
            .bind(&key.client)
            .bind(key.environment.name())
            .bind(&key.prefix)
            .bind(key.digest.as_bytes().as_slice())
            .bind(key.role.name())
            .bind(key.expires_at.map(within_years))
            .bind(key.rate_per_second)
            .bind(key.dedupe.map(|dedupe| i64::try_from(dedupe.as_secs()).unwrap_or(i64::MAX)))
            .bind(seconds(now))
            .fetch_one(&mut *tx)
            .await?;
            notify!(self, tx);
            Commit(id)
        });
        Ok(id)
    }

    /// Stores a key in the place of the one with this id, with its client and environment, its rights and its limits. The
    /// old one expires at `old_expires_at`, if it does not before. Returns the new one's id; `None`: there is no key with
    /// this id that counts at `now`, and nothing was done.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when the same key is stored already.
    pub async fn replace_api_key(
        &self,
        old_id: i64,
        new: &Successor,
        old_expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<i64>, StoreError> {
        let id = with_transaction!(self, tx => {
            let id: Option<i64> = sqlx::query_scalar(
                "insert into api_keys (client, environment, prefix, digest, role, expires_at, rate_per_second, dedupe_seconds,
                                       created_at)
                 select client, environment, $2, $3, role, $4, rate_per_second, dedupe_seconds, $5 from api_keys
                 where id = $1 and revoked_at is null and (expires_at is null or expires_at > $5)
                 returning id",
            )
            .bind(old_id)
            .bind(&new.prefix)
            .bind(new.digest.as_bytes().as_slice())
            .bind(new.expires_at.map(within_years))
            .bind(seconds(now))
            .fetch_optional(&mut *tx)
            .await?;
            if id.is_none() {
                Leave(None)
            } else {
                sqlx::query(
                    "update api_keys set expires_at = $2 where id = $1 and (expires_at is null or expires_at > $2)",
                )
                .bind(old_id)
                .bind(within_years(old_expires_at))
                .execute(&mut *tx)
                .await?;
                notify!(self, tx);
                Commit(id)
            }
        });
        Ok(id)
    }

    /// All readable keys, revoked ones too, in the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be asked.
    pub async fn api_keys(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        let rows: Vec<Row> = with_pool!(self.read, pool => {
            sqlx::query_as(
                "select id, client, environment, prefix, digest, role, expires_at, rate_per_second, dedupe_seconds,
                        created_at, last_used_at, revoked_at
                 from api_keys order by id",
            )
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().filter_map(readable).collect())
    }

    /// Revokes a key. `false`: there is none with this id, or it was revoked before.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn revoke_api_key(&self, id: i64, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let revoked = with_transaction!(self, tx => {
            let revoked = sqlx::query("update api_keys set revoked_at = $2 where id = $1 and revoked_at is null")
                .bind(id)
                .bind(seconds(now))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            notify!(self, tx);
            Commit(revoked)
        });
        Ok(revoked > 0)
    }

    /// Returns when keys may have changed: when a process has made, replaced or revoked one, and when this one has just
    /// begun to listen, at first or after its connection was lost. A change that is written past the store is not heard of,
    /// and on SQLite none is: the caller polls as well. Cancel-safe. One task waits at a time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database can't be listened to; the next call connects anew.
    pub async fn api_keys_changed(&self) -> Result<(), StoreError> {
        match &self.read {
            Pool::Postgres(pool) => self.key_changes.next(&pool.current().pool, CHANNEL).await,
            Pool::Sqlite(_) => std::future::pending().await,
        }
    }

    /// Writes down when keys were last used.
    ///
    /// # Errors
    /// [`StoreError`] when the database can't be written.
    pub async fn record_key_use(&self, uses: &[(i64, DateTime<Utc>)]) -> Result<(), StoreError> {
        with_transaction!(self, tx => {
            for (id, at) in uses {
                sqlx::query("update api_keys set last_used_at = $2 where id = $1")
                    .bind(id)
                    .bind(seconds(*at))
                    .execute(&mut *tx)
                    .await?;
            }
            Commit(())
        });
        Ok(())
    }
}
