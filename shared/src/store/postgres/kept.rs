//! A connection that one kind of work keeps between its statements, instead of giving it back to the pool each time.
//!
//! The pool asks a connection for a sign of life when it is taken and again when it is given back. For a statement that
//! takes a millisecond and is followed by the next at once, that would be three round trips for one; and since the pool
//! waits for the second sign in the background, the work would wander over several connections, each a process of the
//! server with caches of its own.

use std::time::Duration;

use parking_lot::Mutex;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;

use crate::store::StoreError;

/// A connection that was not used for this long is asked for a sign of life before it is used again.
const TRUSTED: Duration = Duration::from_secs(1);

/// Holds the connection between two statements; it is one connection beside those of the pool that it came from.
#[derive(Debug, Default)]
pub(in crate::store) struct Kept(Mutex<Option<Idle>>);

#[derive(Debug)]
struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Kept {
    /// Does the work on the kept connection, or on a new one of this pool's if there is none, and keeps it for the next
    /// time if the work succeeds. A caller that comes while it is in use gets one of the pool's too.
    ///
    /// Dropped half-way, the connection is closed.
    pub(in crate::store) async fn run<T>(
        &self,
        pool: &PgPool,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.take().await {
            Some(connection) => connection,
            None => pool.acquire().await?.detach(),
        };
        let done = work(&mut connection).await?;
        *self.0.lock() = Some(Idle { connection, since: Instant::now() });
        Ok(done)
    }

    /// Closes it in order, if it is there.
    pub(in crate::store) async fn close(&self) {
        let idle = self.0.lock().take();
        if let Some(Idle { connection, .. }) = idle
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "a connection to the database ended badly");
        }
    }

    async fn take(&self) -> Option<PgConnection> {
        let Idle { mut connection, since } = self.0.lock().take()?;
        (since.elapsed() < TRUSTED || connection.ping().await.is_ok()).then_some(connection)
    }
}
