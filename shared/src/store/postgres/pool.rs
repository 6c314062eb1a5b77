//! A connection pool to PostgreSQL that is replaced when its connections have fallen silent.
//!
//! A connection whose other end has vanished without a word (a host that died, a firewall that forgot) looks open. A
//! statement on it never ends, and the pool waits for ever for it to be of use again (transact-rs/sqlx#4349), until all
//! its connections are taken. So every operation has a deadline, and one that misses it condemns the whole pool: a new
//! pool costs a handshake, and its connections are alive or refused.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::store::StoreError;

/// The connections of a condemned pool end in order within this time; those that are silent are dropped then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection pool that is replaced when it falls silent. Cheap to clone; clones share the pool.
#[derive(Clone, Debug)]
pub(crate) struct ReplaceablePool {
    current: Arc<RwLock<Generation>>,
    /// No answer after this long is silence: longer than the server lets a statement run.
    deadline: Duration,
    when_exhausted: WhenExhausted,
}

/// The verdict on a pool that had no connection for a caller in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenExhausted {
    /// Its connections are silent: no statement of this pool is slow enough to keep one for so long.
    Replace,
    /// Its connections are busy: its statements may take longer than a caller waits.
    Keep,
}

/// One of the pools that follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    number: u64,
    pub(in crate::store) pool: PgPool,
}

impl ReplaceablePool {
    pub(super) fn new(pool: PgPool, deadline: Duration, when_exhausted: WhenExhausted) -> Self {
        Self { current: Arc::new(RwLock::new(Generation { number: 0, pool })), deadline, when_exhausted }
    }

    /// The pool to use now.
    pub(in crate::store) fn current(&self) -> Generation {
        self.current.read().clone()
    }

    /// Carries an operation on this generation through, up to the deadline.
    pub(in crate::store) async fn watch<T>(
        &self,
        generation: &Generation,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout(self.deadline, operation).await {
            Ok(Err(error)) => {
                // Either no connection came back to the pool, or none could be made. The two can't be told apart here,
                // and a new pool does no harm.
                if self.when_exhausted == WhenExhausted::Replace
                    && matches!(error, StoreError::Unavailable(sqlx::Error::PoolTimedOut))
                {
                    self.replace(generation);
                }
                Err(error)
            }
            Ok(result) => result,
            Err(_elapsed) => {
                tracing::warn!("the database has not answered for {:?}; connecting anew", self.deadline);
                self.replace(generation);
                let silence = io::Error::new(io::ErrorKind::TimedOut, "the database does not answer");
                Err(StoreError::Unavailable(sqlx::Error::Io(silence)))
            }
        }
    }

    /// Closes the pool, after the statements that are under way on it.
    pub(in crate::store) async fn close(&self) {
        self.current().pool.close().await;
    }

    /// Puts a new pool in this one's place, unless that was done already.
    fn replace(&self, condemned: &Generation) {
        let mut current = self.current.write();
        if current.number != condemned.number || condemned.pool.is_closed() {
            return;
        }
        let old = current.pool.clone();
        let pool = old.options().clone().connect_lazy_with(old.connect_options().as_ref().clone());
        *current = Generation { number: current.number + 1, pool };
        drop(current);
        tokio::spawn(async move {
            if timeout(CLOSE_TIMEOUT, old.close()).await.is_err() {
                tracing::debug!("connections to the database stay silent and are dropped");
            }
        });
    }
}
