//! An API key in memory: its rights and limits, and when it was used.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use callvine_shared::api_key::{Environment, Role};
use callvine_shared::store::ApiKeyRow;
use chrono::{DateTime, Utc};

use crate::rate::{Limited, Limiter, TooMany};

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
    pub(crate) fn published(client: &str) -> Self {
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
    pub(crate) fn of(row: &ApiKeyRow, known: Option<&Self>) -> Self {
        let known = known.filter(|key| key.id == Some(row.id));
        let last_used = row.last_used_at.map_or(0, |at| at.timestamp());
        let new_uses = || Uses { last: last_used.into(), recorded: last_used.into() };
        let posts = known.and_then(|key| key.posts.clone());
        let posts = posts.filter(|limiter| limiter.is_for(row.rate_per_second));
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

    /// Refused from then on, in seconds since 1970 UTC.
    pub(crate) fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// Notes a use at `now`, in seconds since 1970 UTC.
    pub(crate) fn note_use(&self, now: i64) {
        self.uses.last.fetch_max(now, Ordering::Relaxed);
    }

    /// Notes that the database knows of the use at this time.
    pub(crate) fn note_recorded_use(&self, at: DateTime<Utc>) {
        self.uses.recorded.store(at.timestamp(), Ordering::Relaxed);
    }

    /// Its id and last use, if the database does not know of that use.
    pub(crate) fn unrecorded_use(&self) -> Option<(i64, DateTime<Utc>)> {
        let last_used = self.uses.last.load(Ordering::Relaxed);
        let news = last_used > self.uses.recorded.load(Ordering::Relaxed);
        self.id.filter(|_| news).zip(DateTime::from_timestamp(last_used, 0))
    }
}
