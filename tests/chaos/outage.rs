//! What providers see while the database is away, and how soon it is over.

use std::time::Duration;

use harness::{Attempt, Provider, eventually};
use tokio::time::Instant;

use crate::cluster::PATIENCE;

/// Enough of the last posts to see what was wrong.
const ATTEMPTS_SHOWN: usize = 20;
/// A database that is out of reach is answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What was away is used again this long after its return.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
/// An answer that is given this soon waited for nothing but the commit, on a machine that does much else.
const UNNOTICED: Duration = Duration::from_secs(2);

/// The database is away from now on: waits until `count` posts that have begun since are answered, and fails the test
/// unless each was answered 500 in time and may be tried again.
pub(crate) async fn assert_refused(provider: &Provider, count: usize) {
    for attempt in answered_from_now(provider, count).await {
        assert_eq!(attempt.status, Some(500), "{attempt:?}");
        assert!(attempt.took < ANSWERED_WITHIN, "{attempt:?}");
        assert!(attempt.has_retry_after, "{attempt:?}");
    }
}

/// What was away is back from now on: calls are taken again soon.
pub(crate) async fn assert_recovers(provider: &Provider) {
    let took = taken_again(provider).await;
    assert!(took <= RECOVERED_WITHIN, "calls were taken again after {took:?}");
    println!("  201 again after {took:.1?}");
}

/// Waits until a post is answered 201 that begins now or later; returns how long that took.
pub(crate) async fn taken_again(provider: &Provider) -> Duration {
    let (began, before) = (Instant::now(), provider.attempts().len());
    let _account = Account { provider, began, before };
    eventually(PATIENCE, "calls are taken again", async || {
        let attempts = provider.attempts();
        attempts.iter().skip(before).any(|attempt| attempt.at > began && attempt.status == Some(201))
    })
    .await;
    began.elapsed()
}

/// Something is away that no provider should notice: waits until `count` posts that have begun since are answered, and
/// fails the test unless each was answered 201 at once.
pub(crate) async fn assert_unnoticed(provider: &Provider, count: usize) {
    for attempt in answered_from_now(provider, count).await {
        assert_eq!(attempt.status, Some(201), "{attempt:?}");
        assert!(attempt.took < UNNOTICED, "{attempt:?}");
    }
}

/// The posts that begin from now on, once `count` of them are answered.
async fn answered_from_now(provider: &Provider, count: usize) -> Vec<Attempt> {
    let (began, before) = (Instant::now(), provider.attempts().len());
    let mut answered = Vec::new();
    eventually(PATIENCE, "posts are answered", async || {
        answered = provider.attempts().split_off(before);
        answered.retain(|attempt| attempt.at > began);
        answered.len() >= count
    })
    .await;
    answered
}

/// Does harm, again and again, until it is noticed: until a post is answered 500.
pub(crate) async fn harm_until_refused(provider: &Provider, mut harm: impl FnMut()) {
    let before = provider.attempts().len();
    eventually(PATIENCE, "a post is refused", async || {
        harm();
        provider.attempts().iter().skip(before).any(|attempt| attempt.status == Some(500))
    })
    .await;
}

/// Everything was answered in time, 201 or 500, whatever happened.
pub(crate) fn assert_answered(provider: &Provider) {
    for attempt in provider.attempts() {
        assert!(matches!(attempt.status, Some(201 | 500)), "{attempt:?}");
        assert!(attempt.took < ANSWERED_WITHIN, "{attempt:?}");
    }
}

/// Says what the provider saw, should the test fail meanwhile.
struct Account<'a> {
    provider: &'a Provider,
    began: Instant,
    before: usize,
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let attempts = self.provider.attempts();
        let since = attempts.get(self.before..).unwrap_or_default();
        println!(
            "the last of {} posts that have ended in the last {:.1?}:",
            since.len(),
            self.began.elapsed()
        );
        for attempt in since.iter().rev().take(ATTEMPTS_SHOWN).rev() {
            let at = attempt.at.saturating_duration_since(self.began);
            println!("  after {at:.1?}: {:?} within {:.1?}", attempt.status, attempt.took);
        }
    }
}
