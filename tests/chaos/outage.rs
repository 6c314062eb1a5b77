//! What providers see while the database is away, and how soon it is over.

use std::time::Duration;

use harness::{Provider, eventually};
use tokio::time::Instant;

use crate::cluster::PATIENCE;

/// A database that is out of reach is answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What was away is used again this long after its return.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// The database is away from now on: waits until `count` posts that have begun since are answered, and fails the test
/// unless each was answered 500 in time and may be tried again.
pub(crate) async fn assert_refused(provider: &Provider, count: usize) {
    let (began, before) = (Instant::now(), provider.attempts().len());
    let mut answered = Vec::new();
    eventually(PATIENCE, "posts are answered while the database is away", async || {
        answered = provider.attempts().split_off(before);
        answered.retain(|attempt| attempt.at > began);
        answered.len() >= count
    })
    .await;
    for attempt in &answered {
        assert_eq!(attempt.status, Some(500), "{attempt:?}");
        assert!(attempt.took < ANSWERED_WITHIN, "{attempt:?}");
        assert!(attempt.has_retry_after, "{attempt:?}");
    }
}

/// What was away is back from now on: calls are taken again soon.
pub(crate) async fn assert_recovers(provider: &Provider) {
    let (returned, acknowledged) = (Instant::now(), provider.acknowledged().len());
    eventually(RECOVERED_WITHIN, "calls are taken again", async || {
        provider.acknowledged().len() > acknowledged
    })
    .await;
    println!("  201 again after {:?}", returned.elapsed());
}
