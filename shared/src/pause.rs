//! A wait that ends early at the shutdown.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits for `duration`. `false`: the shutdown came first. Cancel-safe.
pub async fn pause(duration: Duration, shutdown: &CancellationToken) -> bool {
    shutdown.run_until_cancelled(tokio::time::sleep(duration)).await.is_some()
}
