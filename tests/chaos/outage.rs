//! The answers that providers get while a server is away, and how soon it is over.

use std::time::Duration;

use harness::{Attempt, PATIENCE, Provider, eventually};
use tokio::time::Instant;

/// Enough of the last posts to see what was wrong.
const ATTEMPTS_SHOWN: usize = 20;
/// A database that is out of reach is answered within this time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// A server is used again this long after its return.
const RECOVERED_WITHIN: Duration = Duration::from_secs(10);
/// An answer that waits for nothing but the commit is given within this time. Every deadline of the program is longer.
const UNNOTICED: Duration = Duration::from_secs(2);
/// A busy machine is busy for the whole of a test: each limit grows by so many usual answers of the same run.
const ALLOWANCE: u32 = 20;
/// A single post may be unlucky: the rule is judged by three of four.
const MOST_PERCENT: usize = 75;

/// The database is away from now on: waits until `count` posts that have begun since are answered, and fails the test
/// unless each was answered 500, most of them in time, and may be sent again.
pub(crate) async fn assert_refused(provider: &Provider, count: usize) {
    let limit = ANSWERED_WITHIN + allowance(provider);
    let answered = answered_from_now(provider, count).await;
    for attempt in &answered {
        assert_eq!(attempt.status, Some(500), "{attempt:?}");
        assert!(attempt.has_retry_after, "{attempt:?}");
    }
    let took = most(&answered);
    assert!(took < limit, "most were answered within {took:.1?}, and {limit:.1?} are allowed");
}

/// A server is back from now on: calls are taken again soon.
pub(crate) async fn assert_recovers(provider: &Provider) {
    let limit = RECOVERED_WITHIN + allowance(provider);
    let took = taken_again(provider).await;
    assert!(took <= limit, "calls were taken again after {took:.1?}, and {limit:.1?} are allowed");
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
/// fails the test unless each was answered 201, most of them at once. An answer that waited for the return of what is
/// away would never come.
pub(crate) async fn assert_unnoticed(provider: &Provider, count: usize) {
    let limit = UNNOTICED + allowance(provider);
    let answered = answered_from_now(provider, count).await;
    for attempt in &answered {
        assert_eq!(attempt.status, Some(201), "{attempt:?}");
    }
    let took = most(&answered);
    assert!(took < limit, "most were answered within {took:.1?}, and {limit:.1?} are allowed");
}

/// How much longer than on an idle machine anything may take: from the posts that were answered 201 so far.
fn allowance(provider: &Provider) -> Duration {
    let mut took: Vec<_> = provider
        .attempts()
        .iter()
        .filter(|attempt| attempt.status == Some(201))
        .map(|attempt| attempt.took)
        .collect();
    took.sort_unstable();
    took.get(took.len() / 2).map_or(Duration::ZERO, |median| *median * ALLOWANCE)
}

/// The time within which most of these were answered.
fn most(answered: &[Attempt]) -> Duration {
    let mut took: Vec<_> = answered.iter().map(|attempt| attempt.took).collect();
    took.sort_unstable();
    took.get(took.len() * MOST_PERCENT / 100).copied().expect("some posts were answered")
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

/// Everything was answered, 201 or 500, whatever happened; and nothing took twice as long as a refusal may.
pub(crate) fn assert_answered(provider: &Provider) {
    let limit = 2 * ANSWERED_WITHIN + allowance(provider);
    for attempt in provider.attempts() {
        assert!(matches!(attempt.status, Some(201 | 500)), "{attempt:?}");
        assert!(attempt.took < limit, "{attempt:?}, and {limit:.1?} are allowed");
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
