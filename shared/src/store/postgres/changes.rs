//! Listens for a notification on a connection of its own, which belongs to no pool of the others: it is held all the time.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{ACQUIRE_TIMEOUT, DEADLINE};
use crate::store::StoreError;

/// A connection is replaced after this long: its other end may have vanished without a word, and then nothing would ever
/// come. Until then the listener's caller is as far behind as its poll allows.
const LISTENER_AGE_MAX: Duration = Duration::from_secs(300);

/// The connection that listens, once there is one.
#[derive(Default)]
pub(in crate::store) struct Changes(Mutex<Option<PgListener>>);

impl std::fmt::Debug for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changes")
    }
}

impl Changes {
    /// Returns at the next notification on this channel; and also when it has connected to the server of this pool,
    /// since it can't know of the time before.
    ///
    /// Cancel-safe: dropped half-way, the connection is closed, and the next call connects anew.
    pub(in crate::store) async fn next(&self, pool: &PgPool, channel: &str) -> Result<(), StoreError> {
        let mut kept = self.0.lock().await;
        if let Some(mut listener) = kept.take()
            // An error, the end of the connection and its age all come to the same.
            && let Ok(Ok(Some(_notification))) = timeout(LISTENER_AGE_MAX, listener.try_recv()).await
        {
            *kept = Some(listener);
            return Ok(());
        }
        let connecting = timeout(DEADLINE, connect(pool, channel)).await;
        *kept = Some(connecting.map_err(|_elapsed| sqlx::Error::PoolTimedOut)??);
        Ok(())
    }
}

async fn connect(pool: &PgPool, channel: &str) -> Result<PgListener, sqlx::Error> {
    // A listener wants a pool; it has one of one connection, as sqlx makes it for an URL.
    let own = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(pool.connect_options().as_ref().clone());
    let mut listener = PgListener::connect_with(&own).await?;
    // It is this module that connects again, so that its caller hears of it.
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}
