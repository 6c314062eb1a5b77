//! A connection that one kind of work keeps between its statements, instead of giving it back to the pool each time.
//!
//! The pool asks a connection for a sign of life when it is taken and again when it is given back. For a statement that
//! takes a millisecond and is followed by the next at once, that would be three round trips for one; and since the
//! second sign is waited for in the background, the work would wander over several connections, each a process of the
//! server with caches of its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;

use super::StoreError;

/// A connection that was not used for so long is asked for a sign of life before it is used again.
const TRUSTED: Duration = Duration::from_secs(1);

/// Where the connection is between two statements; it is one connection beside those of the pool that it came from.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Idle>>);

#[derive(Debug)]
struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Kept {
    /// Does the work on the kept connection, or on a new one of this pool's if there is none, and keeps it for the next
    /// time if the work succeeds. Who comes while it is in use gets one of the pool's too.
    ///
    /// Dropped half-way, the connection is closed.
    pub(super) async fn run<T>(
        &self,
        pool: &PgPool,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.take().await {
            Some(connection) => connection,
            None => pool.acquire().await?.detach(),
        };
        let done = work(&mut connection).await?;
        *self.idle() = Some(Idle { connection, since: Instant::now() });
        Ok(done)
    }

    /// Closes it in peace, if it is there.
    pub(super) async fn close(&self) {
        let idle = self.idle().take();
        if let Some(Idle { connection, .. }) = idle
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "a connection to the database ended badly");
        }
    }

    async fn take(&self) -> Option<PgConnection> {
        let Idle { mut connection, since } = self.idle().take()?;
        (since.elapsed() < TRUSTED || connection.ping().await.is_ok()).then_some(connection)
    }

    /// What is in there is replaced as a whole, so a poisoned lock is as good as any.
    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
