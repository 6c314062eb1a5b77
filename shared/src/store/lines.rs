//! The lines to PostgreSQL: a pool of connections, and a new one in its place when they have fallen silent.
//!
//! A connection whose other end has vanished without a word (a host that died, a firewall that forgot) looks open. A
//! statement on it never ends, and the pool waits for ever for it to be of use again (transact-rs/sqlx#4349), until all
//! its places are taken. So every operation has a deadline, and one that misses it condemns the whole pool: a new pool
//! costs a handshake, and its connections are alive or refused.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;

use super::StoreError;

/// No answer after this long is silence: the server itself ends a statement after 4 s.
const SILENCE: Duration = Duration::from_secs(5);

/// For an orderly end of a condemned pool's connections; those that are silent are dropped then.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A pool that is replaced when it falls silent. Cheap to clone; clones share the pool.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    current: Arc<RwLock<Line>>,
}

/// One of the pools that follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    number: u64,
    pub(super) pool: PgPool,
}

impl Lines {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { current: Arc::new(RwLock::new(Line { number: 0, pool })) }
    }

    /// The pool to use now.
    pub(super) fn current(&self) -> Line {
        // The pool is replaced as a whole, so a poisoned lock is as good as any.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Carries an operation on this line through, up to its deadline.
    pub(super) async fn watch<T>(
        &self,
        line: &Line,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match timeout(SILENCE, operation).await {
            Ok(Err(error)) => {
                // Nobody gave a connection back, or there was none to be had. Which of the two can't be told from here,
                // and a new pool does no harm.
                if matches!(error, StoreError::Unavailable(sqlx::Error::PoolTimedOut)) {
                    self.replace(line);
                }
                Err(error)
            }
            Ok(result) => result,
            Err(_elapsed) => {
                tracing::warn!("the database has not answered for {SILENCE:?}; connecting anew");
                self.replace(line);
                let silence = io::Error::new(io::ErrorKind::TimedOut, "the database does not answer");
                Err(StoreError::Unavailable(sqlx::Error::Io(silence)))
            }
        }
    }

    /// Ends the pool, after what is under way on it.
    pub(super) async fn close(&self) {
        self.current().pool.close().await;
    }

    /// Puts a new pool in this one's place, unless that was done already.
    fn replace(&self, condemned: &Line) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number != condemned.number || condemned.pool.is_closed() {
            return;
        }
        let old = current.pool.clone();
        let pool = old.options().clone().connect_lazy_with(old.connect_options().as_ref().clone());
        *current = Line { number: current.number + 1, pool };
        drop(current);
        tokio::spawn(async move {
            if timeout(CLOSE_TIMEOUT, old.close()).await.is_err() {
                tracing::debug!("connections to the database stay silent and are dropped");
            }
        });
    }
}
