//! A recording belongs to one worker while its lease lasts; the lease is renewed while the work goes on.

use std::time::Duration;

use callvine_shared::call::CallId;
use callvine_shared::store::StoreError;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, interval_at};

/// How long a lease lasts unless it is renewed. Short, because the recordings of a killed worker wait for its end.
const LEASE: TimeDelta = TimeDelta::seconds(15);

/// Renewals are this often, so that a lease survives two that fail.
const RENEWAL: Duration = Duration::from_secs(5);

/// How long after the end of another worker's lease its work is looked at again.
const AFTER_LEASE: TimeDelta = TimeDelta::seconds(1);

/// When a lease that begins or is renewed at `now` ends.
pub(crate) fn end(now: DateTime<Utc>) -> DateTime<Utc> {
    now + LEASE
}

/// When to look again at what another worker has leased until `end`.
pub(crate) fn after(end: DateTime<Utc>) -> DateTime<Utc> {
    end + AFTER_LEASE
}

/// Does the work, and calls `renew` with the lease's new end every five seconds until it is done. A renewal that fails is
/// logged, and the work goes on: should the lease end, another worker does the same work, and one of them settles it.
pub(crate) async fn hold<T, F>(
    call_id: CallId,
    renew: impl Fn(DateTime<Utc>) -> F,
    work: impl Future<Output = T>,
) -> T
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut renewal = interval_at(Instant::now() + RENEWAL, RENEWAL);
    tokio::pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            _ = renewal.tick() => {
                if let Err(error) = renew(end(Utc::now())).await {
                    tracing::warn!(call.id = call_id.0, %error, "cannot renew the lease on call {call_id}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_renewed_twice_before_it_would_end_and_no_longer_than_the_work_lasts() {
        let renewals = AtomicU32::new(0);
        let renew = |_| {
            renewals.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        };
        let almost = LEASE.to_std().unwrap() - Duration::from_millis(1);
        let outcome = hold(CallId(1), renew, async {
            tokio::time::sleep(almost).await;
            "done"
        });
        assert_eq!(outcome.await, "done");
        assert_eq!(renewals.load(Ordering::SeqCst), 2);
    }
}
