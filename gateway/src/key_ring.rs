//! The API keys in memory: a request's key is judged without the database, and a new or revoked key counts within a few
//! seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use callvine_shared::api_key::{Digest, Environment};
use callvine_shared::error_chain::Chain;
use callvine_shared::store::{ApiKeyRow, Store, StoreError};
use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often the keys are read again. A new or revoked key must count everywhere within 5 s, and the database takes some
/// of that time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The published test keys, and the clients that they belong to.
const DEV_KEYS: [(&str, &str); 2] = [("test_key_123", "test"), ("prod_key_456", "production")];

/// An accepted key.
#[derive(Debug)]
pub struct Key {
    /// `None` for a published test key, which is in no database.
    id: Option<i64>,
    client: Arc<str>,
    environment: Environment,
    /// A post with the fields of an earlier one within this time is the same call; `None`: never.
    dedupe: Option<Duration>,
    /// Its last use, in seconds since 1970 UTC.
    last_used: AtomicI64,
    /// The last use that the database knows, likewise.
    recorded: AtomicI64,
}

impl Key {
    /// A published test key.
    fn published(client: &str) -> Arc<Self> {
        Arc::new(Self {
            id: None,
            client: client.into(),
            environment: Environment::Test,
            dedupe: None,
            last_used: AtomicI64::new(0),
            recorded: AtomicI64::new(0),
        })
    }

    fn of(row: &ApiKeyRow) -> Arc<Self> {
        let last_used = row.last_used_at.map_or(0, |at| at.timestamp());
        Arc::new(Self {
            id: Some(row.id),
            client: row.client.as_str().into(),
            environment: row.environment,
            dedupe: row.dedupe,
            last_used: AtomicI64::new(last_used),
            recorded: AtomicI64::new(last_used),
        })
    }

    /// The client that the key belongs to.
    #[must_use]
    pub fn client(&self) -> &Arc<str> {
        &self.client
    }

    /// The environment that the key is for.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// A post with the fields of an earlier one within this time, in whole seconds, is the same call; `None`: never.
    #[must_use]
    pub fn dedupe(&self) -> Option<Duration> {
        self.dedupe
    }

    /// Its id and last use, if the database does not know of that use.
    fn unrecorded_use(&self) -> Option<(i64, DateTime<Utc>)> {
        let last_used = self.last_used.load(Ordering::Relaxed);
        let news = last_used > self.recorded.load(Ordering::Relaxed);
        self.id.filter(|_| news).zip(DateTime::from_timestamp(last_used, 0))
    }
}

type Keys = HashMap<Digest, Arc<Key>>;

/// All accepted keys, by their digests.
#[derive(Debug)]
pub struct KeyRing {
    /// Replaced as a whole; never locked across an await.
    keys: RwLock<Arc<Keys>>,
    dev_keys: bool,
}

impl KeyRing {
    /// Reads the keys. With `dev_keys`, the published test keys are accepted too.
    ///
    /// # Errors
    /// [`StoreError`] when the keys can't be read.
    pub async fn load(store: &Store, dev_keys: bool) -> Result<Self, StoreError> {
        let ring = Self { keys: RwLock::default(), dev_keys };
        ring.refresh(store).await?;
        Ok(ring)
    }

    /// The accepted key with this text; notes its use at `now`.
    #[must_use]
    pub fn find(&self, key: &[u8], now: DateTime<Utc>) -> Option<Arc<Key>> {
        let found = Arc::clone(self.current().get(&Digest::of(key))?);
        found.last_used.fetch_max(now.timestamp(), Ordering::Relaxed);
        Some(found)
    }

    /// Reads the keys again and records their uses, every few seconds until `shutdown`. While the database is away, the
    /// last known keys stay.
    pub async fn keep_current(self: Arc<Self>, store: Store, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outdated = false;
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let synchronised = self.synchronise(&store).await;
            match &synchronised {
                Ok(()) if outdated => info!("the API keys are current again"),
                Err(error) if !outdated => {
                    warn!("the API keys can't be read, the last known ones stay: {}", Chain(error));
                }
                _ => {}
            }
            outdated = synchronised.is_err();
        }
        if let Err(error) = self.record_uses(&store).await {
            warn!("the last uses of API keys were not recorded: {}", Chain(&error));
        }
    }

    async fn synchronise(&self, store: &Store) -> Result<(), StoreError> {
        self.refresh(store).await?;
        self.record_uses(store).await
    }

    async fn record_uses(&self, store: &Store) -> Result<(), StoreError> {
        let keys = self.current();
        let used: Vec<_> = keys.values().filter_map(|key| Some((key, key.unrecorded_use()?))).collect();
        if used.is_empty() {
            return Ok(());
        }
        let uses: Vec<_> = used.iter().map(|(_key, id_and_time)| *id_and_time).collect();
        store.record_key_use(&uses).await?;
        for (key, (_id, at)) in used {
            key.recorded.store(at.timestamp(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let known = self.current();
        let mut keys = Keys::new();
        if self.dev_keys {
            for (key, client) in DEV_KEYS {
                let digest = Digest::of(key.as_bytes());
                keys.insert(digest, known.get(&digest).cloned().unwrap_or_else(|| Key::published(client)));
            }
        }
        for row in store.api_keys().await? {
            let digest = row.digest;
            if row.revoked_at.is_none() {
                // The known one stays: it may have uses that are not recorded yet.
                let key = known.get(&digest).filter(|key| key.id == Some(row.id)).cloned();
                keys.insert(digest, key.unwrap_or_else(|| Key::of(&row)));
            }
        }
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }
}
