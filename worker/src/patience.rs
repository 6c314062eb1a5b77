//! Work that waits for a database which is away.

use std::time::Duration;

use callvine_shared::error_chain::Chain;
use callvine_shared::pause::pause;
use callvine_shared::retry::backoff;
use callvine_shared::store::StoreError;
use tokio_util::sync::CancellationToken;

/// Longest wait after the first attempt. It doubles with each attempt.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Waits grow up to this attempt, when they reach 6.4 s: work goes on within seconds of the database's return.
const LONGEST_WAIT_ATTEMPT: u32 = 6;

/// Repeats the operation while the database is unavailable, until the shutdown.
///
/// # Errors
/// Any other error of the operation, and [`StoreError::Unavailable`] at the shutdown.
pub(crate) async fn while_unavailable<T, F>(
    shutdown: &CancellationToken,
    operation: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut attempt = 0;
    loop {
        match operation().await {
            Err(error @ StoreError::Unavailable(_)) if !shutdown.is_cancelled() => {
                tracing::warn!(error = %Chain(&error), "waiting for the database");
                attempt = (attempt + 1).min(LONGEST_WAIT_ATTEMPT);
                // At the shutdown the operation is done once more, and its outcome is the last word.
                pause(backoff(FIRST_WAIT, attempt), shutdown).await;
            }
            settled => return settled,
        }
    }
}
