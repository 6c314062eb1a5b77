//! The API keys in memory: a request's key is judged without the database, and a new or revoked key counts within a few
//! seconds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use callvine_shared::api_key::{Digest, Environment, PUBLISHED_KEYS, Role, could_be_a_key};
use callvine_shared::error_chain::Chain;
use callvine_shared::pause::pause;
use callvine_shared::retry;
use callvine_shared::store::{ApiKeyRow, Store, StoreError};
use chrono::{DateTime, Utc};
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::rate::{Limited, Limiter, TooMany};

/// How often the keys are read again at the least. A new or revoked key must count everywhere within 5 s, and the database
/// takes some of that time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The shortest time between two readings: whoever may notify in the database can't keep this process busy.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// The base of the waits before the database is listened to again, and the number of failures from which on they grow no
/// longer than 16 times as much.
const LISTEN_BACKOFF: Duration = Duration::from_secs(1);
const LISTEN_FAILURES_MAX: u32 = 5;

/// A key that is neither revoked nor unreadable. It may have expired: that is judged at each request.
#[derive(Debug)]
pub struct Key {
    /// `None` for a published test key, which is in no database.
    id: Option<i64>,
    client: Arc<str>,
    environment: Environment,
    role: Role,
    /// Refused from then on, in seconds since 1970 UTC.
    expires_at: i64,
    /// A post with the fields of an earlier one within this time is the same call; `None`: never.
    dedupe: Option<Duration>,
    /// Kept when the keys are read again, as `posts` is.
    uses: Arc<Uses>,
    /// `None`: posts are not limited.
    posts: Option<Arc<Limiter>>,
}

/// When a key was used, in seconds since 1970 UTC.
#[derive(Debug, Default)]
struct Uses {
    last: AtomicI64,
    /// The last use that the database knows.
    recorded: AtomicI64,
}

impl Key {
    /// A published test key.
    fn published(client: &str) -> Self {
        Self {
            id: None,
            client: client.into(),
            environment: Environment::Test,
            role: Role::Provider,
            expires_at: i64::MAX,
            dedupe: None,
            uses: Arc::default(),
            posts: Limiter::new(Limited::Posts, None).map(Arc::new),
        }
    }

    /// The key of a row. Its uses and its rate go on as they are in `known`, the same key as it was read before.
    fn of(row: &ApiKeyRow, known: Option<&Self>) -> Self {
        let known = known.filter(|key| key.id == Some(row.id));
        let last_used = row.last_used_at.map_or(0, |at| at.timestamp());
        let new_uses = || Uses { last: last_used.into(), recorded: last_used.into() };
        let posts = known.and_then(|key| key.posts.clone());
        let posts = posts.filter(|limiter| Some(limiter.per_second()) == row.rate_per_second);
        Self {
            id: Some(row.id),
            client: row.client.as_str().into(),
            environment: row.environment,
            role: row.role,
            expires_at: row.expires_at.map_or(i64::MAX, |at| at.timestamp()),
            dedupe: row.dedupe,
            uses: known.map_or_else(|| Arc::new(new_uses()), |key| Arc::clone(&key.uses)),
            posts: posts.or_else(|| Limiter::new(Limited::Posts, row.rate_per_second).map(Arc::new)),
        }
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

    /// The rights of the key.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The client whose calls the key may read; `None`: every client's.
    pub(crate) fn sees(&self) -> Option<&str> {
        match self.role {
            Role::Provider => Some(&self.client),
            Role::Analyst => None,
        }
    }

    /// Whether everybody knows this key.
    pub(crate) fn is_published(&self) -> bool {
        self.id.is_none()
    }

    /// Counts a post against the key's rate.
    pub(crate) fn admit_post(&self) -> Result<(), TooMany> {
        self.posts.as_ref().map_or(Ok(()), |limiter| limiter.admit())
    }

    /// Its id and last use, if the database does not know of that use.
    fn unrecorded_use(&self) -> Option<(i64, DateTime<Utc>)> {
        let last_used = self.uses.last.load(Ordering::Relaxed);
        let news = last_used > self.uses.recorded.load(Ordering::Relaxed);
        self.id.filter(|_| news).zip(DateTime::from_timestamp(last_used, 0))
    }
}

/// The keys as they were last read.
#[derive(Debug)]
struct Keys {
    by_digest: HashMap<Digest, Arc<Key>>,
    /// Until then, in seconds since 1970 UTC, there is a key for live calls, and so no need for the published ones.
    live_until: i64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { by_digest: HashMap::new(), live_until: i64::MIN }
    }
}

impl Keys {
    /// The keys of these rows, beside the published ones if `published` says so. What has happened to the `known` ones stays.
    fn of(rows: &[ApiKeyRow], published: bool, known: &Self) -> Self {
        let mut keys = Self::default();
        if published {
            // A client that has had a key of its own may have calls that are not for everybody.
            let clients: HashSet<&str> = rows.iter().map(|row| row.client.as_str()).collect();
            for (key, client) in PUBLISHED_KEYS.iter().filter(|(_key, client)| !clients.contains(client)) {
                keys.by_digest.insert(Digest::of(key.as_bytes()), Arc::new(Key::published(client)));
            }
        }
        for row in rows.iter().filter(|row| row.revoked_at.is_none()) {
            let key = Key::of(row, known.by_digest.get(&row.digest).map(Arc::as_ref));
            if key.environment == Environment::Live {
                keys.live_until = keys.live_until.max(key.expires_at);
            }
            keys.by_digest.insert(row.digest, Arc::new(key));
        }
        keys
    }

    fn accept_published(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() >= self.live_until && self.by_digest.values().any(|key| key.is_published())
    }
}

/// All keys that are not revoked, by their digests.
#[derive(Debug)]
pub struct KeyRing {
    /// Replaced as a whole; never locked across an await.
    keys: RwLock<Arc<Keys>>,
    dev_keys: bool,
}

impl KeyRing {
    /// Reads the keys. With `dev_keys`, the published test keys are accepted too while there is no key for live calls.
    ///
    /// # Errors
    /// [`StoreError`] when the keys can't be read.
    pub async fn load(store: &Store, dev_keys: bool) -> Result<Self, StoreError> {
        let ring = Self { keys: RwLock::default(), dev_keys };
        ring.refresh(store).await?;
        if dev_keys {
            tell_of_published_keys(ring.current().accept_published(Utc::now()));
        }
        Ok(ring)
    }

    /// The key with this text, if it is accepted at `now`; notes its use. Neither the database is asked nor memory
    /// allocated.
    #[must_use]
    pub fn find(&self, text: &[u8], now: DateTime<Utc>) -> Option<Arc<Key>> {
        if !could_be_a_key(text) {
            return None;
        }
        let keys = self.current();
        let key = keys.by_digest.get(&Digest::of(text))?;
        let now = now.timestamp();
        let is_needed = !key.is_published() || now >= keys.live_until;
        if now >= key.expires_at || !is_needed {
            return None;
        }
        key.uses.last.fetch_max(now, Ordering::Relaxed);
        Some(Arc::clone(key))
    }

    /// Reads the keys again and records their uses until `shutdown`: when the database says that keys have changed, and
    /// every few seconds in any case. While the database is away, the last known keys stay.
    pub async fn keep_current(self: Arc<Self>, store: Store, shutdown: CancellationToken) {
        let changed = Notify::new();
        tokio::select! {
            () = listen(&store, &changed, &shutdown) => {}
            () = self.keep_reading(&store, &changed, &shutdown) => {}
        }
        if let Err(error) = self.record_uses(&store).await {
            warn!("the last uses of API keys were not recorded: {}", Chain(&error));
        }
    }

    async fn keep_reading(&self, store: &Store, changed: &Notify, shutdown: &CancellationToken) {
        let mut outdated = false;
        let mut told = self.current().accept_published(Utc::now());
        loop {
            let synchronised = self.synchronise(store).await;
            match &synchronised {
                Ok(()) if outdated => info!("the API keys are current again"),
                Err(error) if !outdated => {
                    warn!("the API keys can't be read, the last known ones stay: {}", Chain(error));
                }
                _ => {}
            }
            outdated = synchronised.is_err();
            let accept_published = self.current().accept_published(Utc::now());
            if accept_published != told {
                tell_of_published_keys(accept_published);
                told = accept_published;
            }
            if !pause(REFRESH_PAUSE, shutdown).await {
                return;
            }
            let waiting = timeout(REFRESH_INTERVAL - REFRESH_PAUSE, changed.notified());
            // Either way it is time to read them again.
            if shutdown.run_until_cancelled(waiting).await.is_none() {
                return;
            }
        }
    }

    async fn synchronise(&self, store: &Store) -> Result<(), StoreError> {
        self.refresh(store).await?;
        self.record_uses(store).await
    }

    async fn record_uses(&self, store: &Store) -> Result<(), StoreError> {
        let keys = self.current();
        let used: Vec<_> =
            keys.by_digest.values().filter_map(|key| Some((key, key.unrecorded_use()?))).collect();
        if used.is_empty() {
            return Ok(());
        }
        let uses: Vec<_> = used.iter().map(|(_key, id_and_time)| *id_and_time).collect();
        store.record_key_use(&uses).await?;
        for (key, (_id, at)) in used {
            key.uses.recorded.store(at.timestamp(), Ordering::Relaxed);
        }
        Ok(())
    }

    fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let rows = store.api_keys().await?;
        let keys = Keys::of(&rows, self.dev_keys, &self.current());
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }
}

/// Passes on what the database says of changed keys, until `shutdown`.
async fn listen(store: &Store, changed: &Notify, shutdown: &CancellationToken) {
    let mut failures = 0;
    loop {
        match store.api_keys_changed().await {
            Ok(()) => {
                failures = 0;
                changed.notify_one();
            }
            Err(error) => {
                failures = LISTEN_FAILURES_MAX.min(failures + 1);
                // The reading of the keys fails too, and says so louder.
                debug!("changes of API keys can't be listened to: {}", Chain(&error));
                if !pause(retry::backoff(LISTEN_BACKOFF, failures), shutdown).await {
                    return;
                }
            }
        }
    }
}

fn tell_of_published_keys(accepted: bool) {
    if accepted {
        info!("the published test keys are accepted until there is a key for live calls (CALLVINE_DEV_KEYS)");
    } else {
        info!("the published test keys are refused, since this database has keys of its own");
    }
}
