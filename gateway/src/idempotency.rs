//! The `Idempotency-Key` of a request, and the end of the marks that such keys leave in the database.

use std::time::Duration;

use callvine_shared::error_chain::Chain;
use callvine_shared::idempotency::IdempotencyKey;
use callvine_shared::pause::pause;
use callvine_shared::store::{MARKS_STEP, Store, StoreError};
use chrono::Utc;
use http::HeaderMap;
use http::header::HeaderName;
use tokio_util::sync::CancellationToken;

use crate::rejection::Rejection;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says that the answer is that of an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// How often expired marks are looked for: an expired mark does no harm, so this only bounds how many there are.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The pause between two steps of a sweep, which leaves the database to others; a process still removes 20,000 marks a
/// second.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// The key that a request is sent with, if there is one. White space around it is no part of it (RFC 9110, section 5.5).
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey<'_>>, Rejection> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter().map(|value| value.as_bytes().trim_ascii());
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Rejection::IdempotencyKeyInvalid);
    }
    IdempotencyKey::parse(first).map(Some).ok_or(Rejection::IdempotencyKeyInvalid)
}

/// Removes expired marks now and then, in steps, until `shutdown`. Several processes may do it at once.
pub async fn sweep_marks(store: Store, shutdown: CancellationToken) {
    while pause(SWEEP_INTERVAL, &shutdown).await {
        if let Err(error) = sweep(&store, &shutdown).await {
            // The intake logs the same trouble louder.
            tracing::debug!(error = %Chain(&error), "expired idempotency marks can't be removed");
        }
    }
}

async fn sweep(store: &Store, shutdown: &CancellationToken) -> Result<(), StoreError> {
    while store.remove_expired_marks(Utc::now()).await? >= u64::from(MARKS_STEP) {
        if !pause(STEP_PAUSE, shutdown).await {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn sent(values: &[&str]) -> Result<Option<String>, Rejection> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        key(&headers).map(|key| key.map(|key| format!("{key:?}")))
    }

    #[test]
    fn a_key_is_sent_once_or_twice_alike() {
        let parsed =
            |text: &'static str| Some(format!("{:?}", IdempotencyKey::parse(text.as_bytes()).unwrap()));
        assert_eq!(sent(&[]), Ok(None));
        assert_eq!(sent(&["k"]), Ok(parsed("k")));
        assert_eq!(sent(&[" k\t"]), Ok(parsed("k")));
        assert_eq!(sent(&["k", "k"]), Ok(parsed("k")));
        for invalid in [&[""] as &[&str], &[" "], &["k", "l"], &["k", ""], &["a b"], &["é"]] {
            assert_eq!(sent(invalid), Err(Rejection::IdempotencyKeyInvalid), "{invalid:?}");
        }
    }
}
